// Errors and warnings. The last rows judge every answer that the registry gave in this run.

import assert from 'node:assert/strict';
import { blob, imageManifest, manifestFrom, mediaTypes, unknownDigest } from '../../support/fixtures.ts';
import { type Answer, declineOn, expectHeader, expectRefused } from '../answer.ts';
import type { Registry } from '../registry.ts';
import { Declined, type Row, section } from '../row.ts';

const known = [
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
];

/** Codes of schema 1 manifests, which the specification lets live on. */
const legacy = ['TAG_INVALID', 'MANIFEST_UNVERIFIED'];

/** Codes that the registry which the specification grew out of has added, and that clients know. */
const ofDistribution = ['RANGE_INVALID', 'PAGINATION_NUMBER_INVALID'];

const provoked: { what: string; codes: string[]; run: (registry: Registry) => Promise<Answer> }[] = [
  {
    what: 'a blob that is not there',
    codes: ['BLOB_UNKNOWN'],
    run: async (registry) => (await withBlob(registry)).getBlob(unknownDigest()),
  },
  {
    what: 'a manifest that is not there',
    codes: ['MANIFEST_UNKNOWN'],
    run: async (registry) => (await withBlob(registry)).getManifest('missing'),
  },
  {
    what: 'the tags of a repository that is not there',
    codes: ['NAME_UNKNOWN'],
    run: (registry) => registry.repository().tags(),
  },
  {
    what: 'an upload to a malformed name',
    codes: ['NAME_INVALID'],
    run: (registry) => registry.named('Upper').postUpload(),
  },
  {
    what: 'a blob by a malformed digest',
    codes: ['DIGEST_INVALID'],
    run: async (registry) => (await withBlob(registry)).getBlob('sha256:abc'),
  },
  {
    what: 'an upload closed with the digest of other content',
    codes: ['DIGEST_INVALID'],
    run: async (registry) => {
      const repository = registry.repository();
      return repository.putUpload(await repository.startUpload(), unknownDigest(), blob());
    },
  },
  {
    what: 'a manifest by the digest of another',
    codes: ['DIGEST_INVALID'],
    run: async (registry) => {
      const repository = registry.repository();
      const manifest = imageManifest();
      await repository.pushBlobs(manifest);
      return repository.putManifest(unknownDigest(), manifest);
    },
  },
  {
    what: 'a manifest that is no JSON',
    codes: ['MANIFEST_INVALID'],
    run: async (registry) => {
      const manifest = manifestFrom(mediaTypes.imageManifest, Buffer.from('not json'));
      return (await withBlob(registry)).putManifest('latest', manifest);
    },
  },
  {
    what: 'an upload that was cancelled or never begun',
    codes: ['BLOB_UPLOAD_UNKNOWN', 'BLOB_UPLOAD_INVALID'],
    run: async (registry) => {
      const location = await registry.repository().startUpload();
      const answer = await registry.send('DELETE', location);
      declineOn(answer, [405], 'cancelling');
      return registry.get(location);
    },
  },
];

export const errors: Row[] = [
  ...section('Error Codes', [
    ...provoked.map(
      ({ what, run }): Omit<Row, 'section'> => ({
        level: 'MUST',
        what: `the error for ${what}, where its body is JSON, has the specified shape`,
        run: async (registry) => {
          const answer = await run(registry);
          expectRefused(answer);
          if (!answer.isJson) throw new Declined(`${answer} has a body that is not JSON`);
          isErrorBody(answer);
        },
      }),
    ),
    ...provoked.map(
      ({ what, codes, run }): Omit<Row, 'section'> => ({
        level: 'MAY',
        what: `the error for ${what} has the code ${codes.join(' or ')}`,
        run: async (registry) => {
          const answer = await run(registry);
          expectRefused(answer);
          const got = errorCodes(answer);
          assert.ok(
            got.some((code) => codes.includes(code)),
            `${answer} has [${got}], wanted ${codes}`,
          );
        },
      }),
    ),
    {
      level: 'MUST',
      what: 'every error of this run, where its body is JSON, has the specified shape',
      run: async (registry) => {
        for (const answer of refusals(registry)) if (answer.isJson) isErrorBody(answer);
      },
    },
    {
      level: 'MUST',
      what: 'every code of this run is one that the specification knows, or one of its ancestors',
      run: async (registry) => {
        const strangers = new Map<string, Answer>();
        for (const answer of refusals(registry)) {
          for (const code of errorCodes(answer)) {
            const isKnown = [...known, ...legacy, ...ofDistribution, ...strangers.keys()].includes(code);
            // The catalog is an extension, and those may have codes of their own.
            if (!isKnown && !answer.url.includes('/v2/_')) strangers.set(code, answer);
          }
        }
        const where = [...strangers].map(([code, answer]) => `${code} in ${answer}`).join('; ');
        assert.ok(strangers.size === 0, `there are codes of its own: ${where}`);
      },
    },
    {
      level: 'SHOULD',
      what: 'every message of this run is text',
      run: async (registry) => {
        for (const answer of refusals(registry)) {
          for (const error of answer.isJson ? errorsOf(answer) : []) {
            const fine = error.message === undefined || typeof error.message === 'string';
            assert.ok(fine, `${answer} has a message that is no text`);
          }
        }
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'every 429 of this run says when to come back, in Retry-After',
      run: async (registry) => {
        for (const answer of registry.answers) {
          if (answer.status === 429) expectHeader(answer, 'Retry-After');
        }
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'no request of this run was answered with a failure of the registry (5xx)',
      run: async (registry) => {
        const broken = registry.answers.filter(({ status }) => status >= 500);
        assert.ok(broken.length === 0, `there were ${broken.length}, the first of them ${broken[0]}`);
      },
    },
  ]),

  ...section('Warnings', [
    {
      level: 'MUST',
      what: 'every Warning of this run has the code 299, the agent - and no date',
      run: async (registry) => {
        for (const answer of registry.answers) {
          for (const warning of warnings(answer)) {
            assert.match(warning, /^299 - "([^"\\]|\\.)*"$/, `${answer} has Warning: ${warning}`);
          }
        }
      },
    },
    {
      level: 'MUST',
      what: 'no answer of this run has more than 4096 bytes of warnings',
      run: async (registry) => {
        for (const answer of registry.answers) {
          const bytes = Buffer.byteLength(answer.headerLines('Warning').join(''));
          assert.ok(bytes <= 4096, `${answer} has ${bytes} bytes of warnings`);
        }
      },
    },
  ]),
];

interface ErrorEntry {
  code?: unknown;
  message?: unknown;
}

/** The codes in an error's body, or none where the body is in another format. */
export function errorCodes(answer: Answer): string[] {
  return answer.isJson && answer.body.byteLength > 0
    ? errorsOf(answer).map((error) => String(error.code))
    : [];
}

async function withBlob(registry: Registry) {
  const repository = registry.repository();
  await repository.pushBlob(blob());
  return repository;
}

/** The errors of this run that say something. */
function refusals(registry: Registry): Answer[] {
  const found = registry.answers.filter(
    ({ status, body }) => status >= 400 && status < 500 && body.byteLength > 0,
  );
  if (found.length === 0) throw new Declined('no error of this run has a body to judge');
  return found;
}

function isErrorBody(answer: Answer): void {
  const errors = errorsOf(answer);
  assert.ok(errors.length > 0, `${answer} has an empty list of errors`);
  for (const error of errors) {
    assert.match(String(error.code), /^[A-Z_]+$/, `${answer} has the code ${error.code}`);
  }
}

function errorsOf(answer: Answer): ErrorEntry[] {
  const body = answer.json();
  assert.ok(typeof body === 'object' && body !== null && 'errors' in body, `${answer} has no errors in it`);
  assert.ok(Array.isArray(body.errors), `${answer} has errors that are not a list`);
  return body.errors.filter((error) => typeof error === 'object' && error !== null);
}

/** Each warning of an answer; one header line may hold several, with commas between. */
function warnings(answer: Answer): string[] {
  return answer
    .headerLines('Warning')
    .flatMap((header) => header.split(/,\s*(?=\d{3} )/))
    .map((warning) => warning.trim());
}
