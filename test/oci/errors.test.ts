/** Errors: the table of codes, and the one shape that they are told in. Distribution spec, "Error Codes". */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ERRORS, type ErrorCode, HELP_PATH, helpPage, OciError } from '../../worker/oci/errors.ts';

/** The codes of the specification, with the status that its text or its endpoints give them. */
const SPECIFIED: [ErrorCode, number][] = [
  ['BLOB_UNKNOWN', 404],
  ['BLOB_UPLOAD_INVALID', 416],
  ['BLOB_UPLOAD_UNKNOWN', 404],
  ['DIGEST_INVALID', 400],
  ['MANIFEST_BLOB_UNKNOWN', 400],
  ['MANIFEST_INVALID', 400],
  ['MANIFEST_UNKNOWN', 404],
  ['NAME_INVALID', 400],
  ['NAME_UNKNOWN', 404],
  ['SIZE_INVALID', 400],
  ['UNAUTHORIZED', 401],
  ['DENIED', 403],
  ['UNSUPPORTED', 405],
  ['TOOMANYREQUESTS', 429],
];

describe('the table of errors', () => {
  for (const [code, status] of SPECIFIED) {
    it(`the table of errors has ${code}, with ${status}`, () => assert.equal(ERRORS[code].status, status));
  }

  for (const [code, { status, message }] of Object.entries(ERRORS)) {
    it(`the table of errors says ${code} in the way of the others`, () => {
      assert.match(code, /^[A-Z_]+$/);
      assert.ok(status >= 400 && status < 600);
      assert.match(message, /^[a-z].*[^.]$/);
    });
  }
});

describe('the help of errors', () => {
  const documentation = readFileSync(join(import.meta.dirname, '../..', HELP_PATH), 'utf8');

  for (const code of Object.keys(ERRORS)) {
    it(`the help of errors explains ${code} on the page that the error links to and in ${HELP_PATH}`, () => {
      assert.ok(helpPage().includes(`\n## ${code}\n`));
      assert.ok(documentation.includes(`\n## ${code}\n`));
    });
  }
});

describe('OciError', () => {
  it('OciError is written with code and message, and without a detail if it has no detail', () => {
    assert.deepEqual(JSON.parse(new OciError('NAME_UNKNOWN').body()), {
      errors: [{ code: 'NAME_UNKNOWN', message: ERRORS.NAME_UNKNOWN.message }],
    });
  });

  it('OciError takes message, status and headers from its options', () => {
    const error = new OciError('SIZE_INVALID', { message: 'too large', status: 413, headers: { A: 'b' } });
    assert.equal(error.message, 'too large');
    assert.equal(error.status, 413);
    assert.deepEqual(error.headers, { Link: '</docs/errors.md#size_invalid>; rel="help"', A: 'b' });
    assert.equal(new OciError('SIZE_INVALID').status, 400);
  });

  it('OciError tells any message and any detail as they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.jsonValue(), (message, detail) => {
        const [told] = JSON.parse(new OciError('UNKNOWN', { message, detail }).body()).errors;
        assert.deepEqual(told, JSON.parse(JSON.stringify({ code: 'UNKNOWN', message, detail })));
      }),
    );
  });
});
