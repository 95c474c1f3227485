/** Digests: the table of those that are and are not, and any text against a grammar that is written down once more. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  ALGORITHMS,
  algorithmOf,
  digestFrom,
  digestOf,
  encodedOf,
  isDigest,
  parseAlgorithm,
  parseDigest,
} from '../../worker/oci/digest.ts';
import { assertRefused, codeOf } from './refused.ts';

const HEX = '0123456789abcdef'.repeat(4);
const EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

describe('parseDigest', () => {
  for (const text of [EMPTY, `sha256:${HEX}`, `sha512:${HEX}${HEX}`]) {
    it(`parseDigest takes ${text.slice(0, 20)}`, () => assert.equal(parseDigest(text), text));
  }

  const refused = [
    '',
    ':',
    'sha256',
    'sha256:',
    HEX,
    `:${HEX}`,
    `sha256:${HEX.slice(1)}`,
    `sha256:${HEX}0`,
    `sha256:${HEX.toUpperCase()}`,
    `SHA256:${HEX}`,
    `sha512:${HEX}`,
    `sha256:${HEX}${HEX}`,
    `sha384:${HEX}`,
    `sha256:${HEX}\n`,
    ` sha256:${HEX}`,
    `sha256:${HEX.slice(1)}g`,
    `sha256:${HEX.slice(1)}\u0661`,
  ];
  for (const text of refused) {
    it(`parseDigest refuses ${JSON.stringify(text).slice(0, 30)}`, () =>
      assertRefused(() => parseDigest(text), 'DIGEST_INVALID', text));
  }

  it('parseDigest takes what the grammar makes', () => {
    const hex = (length: number) =>
      fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: length, maxLength: length });
    const made = fc.oneof(
      hex(64).map((digits) => `sha256:${digits.join('')}`),
      hex(128).map((digits) => `sha512:${digits.join('')}`),
    );
    fc.assert(
      fc.property(made, (text) => {
        const digest = parseDigest(text);
        assert.equal(`${algorithmOf(digest)}:${encodedOf(digest)}`, text);
      }),
    );
  });

  it('parseDigest judges any text as the grammar does', () => {
    const near = fc
      .tuple(
        fc.constantFrom('sha256', 'sha512', 'sha1', 'SHA256', ''),
        fc.constantFrom(':', '::', '-', ''),
        fc.array(fc.constantFrom(...'0123456789abcdefgA\n'), { minLength: 62, maxLength: 66 }),
      )
      .map(([algorithm, colon, digits]) => algorithm + colon + digits.join(''));
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), (text) => {
        assert.equal(
          codeOf(() => parseDigest(text)),
          isByHand(text) ? null : 'DIGEST_INVALID',
        );
        assert.equal(isDigest(text), isByHand(text));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('parseAlgorithm', () => {
  for (const name of ALGORITHMS)
    it(`parseAlgorithm takes ${name}`, () => assert.equal(parseAlgorithm(name), name));
  for (const name of ['', 'sha384', 'SHA256', 'sha256 ', 'toString', '__proto__']) {
    it(`parseAlgorithm refuses "${name}"`, () =>
      assertRefused(() => parseAlgorithm(name), 'DIGEST_INVALID', name));
  }
});

describe('digests of content', () => {
  it('digests of content are those of node:crypto', async () => {
    const content = fc.uint8Array({ maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(content, fc.constantFrom(...ALGORITHMS), async (bytes, algorithm) => {
        const hash = createHash(algorithm).update(bytes).digest();
        assert.equal(digestFrom(algorithm, hash), `${algorithm}:${hash.toString('hex')}`);
        assert.equal(await digestOf(algorithm, bytes), `${algorithm}:${hash.toString('hex')}`);
      }),
    );
  });
});

/** Without a regular expression. */
function isByHand(text: string): boolean {
  const colon = text.indexOf(':');
  const lengths: Record<string, number> = { sha256: 64, sha512: 128 };
  const algorithm = text.slice(0, Math.max(0, colon));
  const digits = [...text.slice(colon + 1)];
  if (!Object.hasOwn(lengths, algorithm) || digits.length !== lengths[algorithm]) return false;
  return digits.every((digit) => '0123456789abcdef'.includes(digit));
}
