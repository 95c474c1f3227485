/** Names, tags and references: tables, and any text against a parser that is written by hand from the specification. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { NAME_MAX_LENGTH } from '../../worker/oci/limits.ts';
import { parseReference, parseRepositoryName, parseTag } from '../../worker/oci/reference.ts';
import { assertRefused, codeOf } from './refused.ts';

const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
const HEX = '0123456789abcdef'.repeat(4);

describe('parseRepositoryName', () => {
  const taken = [
    'a',
    '0',
    'library/app',
    'a.b',
    'a_b',
    'a__b',
    'a-b',
    'a-----b',
    'a/b/c/d/e',
    'manifests',
    'blobs/uploads',
    'tags/list',
    'x/manifests/latest',
    '127.0.0.1/app',
    'a'.repeat(NAME_MAX_LENGTH),
  ];
  for (const name of taken) {
    it(`parseRepositoryName takes ${name.slice(0, 30)}`, () => assert.equal(parseRepositoryName(name), name));
  }

  const refused = [
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    'A',
    'a..b',
    'a.-b',
    'a._b',
    'a_.b',
    'a___b',
    '-a',
    'a-',
    '.a',
    'a.',
    '_a',
    'a_',
    'a/-b',
    'a/../b',
    'a b',
    'a:b',
    'a@b',
    'a%2fb',
    'a\n',
    'a\0',
    'é',
    '_catalog',
    'a'.repeat(NAME_MAX_LENGTH + 1),
  ];
  for (const name of refused) {
    it(`parseRepositoryName refuses ${JSON.stringify(name).slice(0, 30)}`, () =>
      assertRefused(() => parseRepositoryName(name), 'NAME_INVALID', name));
  }

  it('parseRepositoryName takes what the grammar makes', () => {
    const word = fc.array(fc.constantFrom(...LOWER, ...DIGITS), { minLength: 1, maxLength: 4 });
    const joint = fc.oneof(
      fc.constantFrom('.', '_', '__'),
      fc.integer({ min: 1, max: 5 }).map((n) => '-'.repeat(n)),
    );
    const component = fc
      .tuple(word, fc.array(fc.tuple(joint, word), { maxLength: 3 }))
      .map(([first, more]) => first.join('') + more.map(([by, next]) => by + next.join('')).join(''));
    const name = fc
      .array(component, { minLength: 1, maxLength: 6 })
      .map((components) => components.join('/'));
    fc.assert(
      fc.property(name, (text) => {
        fc.pre(text.length <= NAME_MAX_LENGTH);
        assert.equal(parseRepositoryName(text), text);
        assert.ok(isNameByHand(text));
      }),
      { numRuns: 500 },
    );
  });

  it('parseRepositoryName judges any text as a parser by hand does', () => {
    const near = fc.array(fc.constantFrom('a', 'b', '0', '.', '_', '-', '/', 'A', ' ', '\n'), {
      maxLength: 12,
    });
    const text = fc.oneof(
      near.map((characters) => characters.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(text, (name) => {
        assert.equal(
          codeOf(() => parseRepositoryName(name)),
          isNameByHand(name) ? null : 'NAME_INVALID',
        );
      }),
      { numRuns: 5000 },
    );
  });

  it('parseRepositoryName takes as long for a hostile name as for any other: it is cut at the limit before it is read', () => {
    for (const joint of ['-', '_', '.', 'a', 'a-', 'a/']) {
      assertRefused(() => parseRepositoryName(`a${joint.repeat(1_000_000)}!`), 'NAME_INVALID', joint);
      assertRefused(() => parseRepositoryName(`a${joint.repeat(100)}!`), 'NAME_INVALID', joint);
    }
  });
});

describe('parseTag', () => {
  for (const tag of ['latest', '_', 'v1.0', '1', 'A-b_c.d', 'sha256-abc', 't'.repeat(128)]) {
    it(`parseTag takes ${tag.slice(0, 30)}`, () => assert.equal(parseTag(tag), tag));
  }
  for (const tag of ['', '.a', '-a', 'a b', 'a/b', 'a:b', 'a@b', 'a+b', 'a\n', 'a\0', 'é', 't'.repeat(129)]) {
    it(`parseTag refuses ${JSON.stringify(tag).slice(0, 30)}`, () =>
      assertRefused(() => parseTag(tag), 'TAG_INVALID', tag));
  }

  it('parseTag judges any text as a parser by hand does', () => {
    const near = fc.array(fc.constantFrom(...'aZ09_.-+/ \n'), { maxLength: 130 });
    const text = fc.oneof(
      near.map((characters) => characters.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(text, (tag) => {
        assert.equal(
          codeOf(() => parseTag(tag)),
          isTagByHand(tag) ? null : 'TAG_INVALID',
        );
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseReference', () => {
  it('parseReference takes a tag', () =>
    assert.deepEqual(parseReference('latest'), { kind: 'tag', tag: 'latest' }));
  it('parseReference takes a digest', () => {
    const digest = `sha256:${HEX}`;
    assert.deepEqual(parseReference(digest), { kind: 'digest', digest });
  });
  it('parseReference means a digest by anything with a colon', () =>
    assertRefused(() => parseReference('latest:1'), 'DIGEST_INVALID', 'latest:1'));
  it('parseReference means a tag by anything else', () =>
    assertRefused(() => parseReference('-'), 'TAG_INVALID', '-'));
});

/** Character by character: words of letters and digits, and between two words one joint. */
function isNameByHand(name: string): boolean {
  if (name.length > NAME_MAX_LENGTH) return false;
  return name.split('/').every((component) => {
    const characters = [...component];
    const isWord = (at: number) => (LOWER + DIGITS).includes(characters[at] ?? '/');
    if (characters.length === 0 || !isWord(0) || !isWord(characters.length - 1)) return false;
    for (let at = 0; at < characters.length; at++) {
      if (isWord(at)) continue;
      const from = at;
      while (!isWord(at + 1)) at++;
      const joint = characters.slice(from, at + 1);
      const dashes = joint.every((character) => character === '-');
      if (!dashes && !['.', '_', '__'].includes(joint.join(''))) return false;
    }
    return true;
  });
}

function isTagByHand(tag: string): boolean {
  const allowed = `${LOWER}${LOWER.toUpperCase()}${DIGITS}_`;
  const characters = [...tag];
  if (characters.length < 1 || characters.length > 128) return false;
  return characters.every(
    (character, at) => allowed.includes(character) || (at > 0 && '.-'.includes(character)),
  );
}
