/** Patterns: what they match, against a reference that is too simple to be wrong, and what a match may cost. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide, type Identity } from '../../worker/access/decide.ts';
import type { Grant } from '../../worker/access/model.ts';
import { parseScopes, SCOPE_NAMES_MAX_LENGTH } from '../../worker/access/scope.ts';
import { GRANTS_MAX } from '../../worker/management/schemas.ts';
import { NAME_MAX_LENGTH } from '../../worker/oci/limits.ts';
import {
  hasFewStars,
  isPattern,
  matches,
  matching,
  PATTERN_MAX_LENGTH,
  PATTERN_STARS_MAX,
  PATTERNS_COMPILED,
  type Pattern,
} from '../../worker/oci/pattern.ts';

const SEED = 20_261_124;

const rows: { pattern: string; matched: string[]; others: string[] }[] = [
  { pattern: 'team-a/api', matched: ['team-a/api'], others: ['team-a/api2', 'team-a/ap', ''] },
  { pattern: '*', matched: ['', 'a', 'a.b'], others: ['a/b', '/'] },
  { pattern: '**', matched: ['', 'a', 'a/b', 'a\nb'], others: [] },
  {
    pattern: 'team-a/*',
    matched: ['team-a/api', 'team-a/'],
    others: ['team-a', 'team-a/api/v1', 'team-ab/x'],
  },
  { pattern: 'team-a/**', matched: ['team-a/api', 'team-a/api/v1'], others: ['team-a', 'team-b/api'] },
  { pattern: '*/cache', matched: ['a/cache'], others: ['a/b/cache', 'cache', 'a/cache2'] },
  { pattern: '**/cache', matched: ['a/cache', 'a/b/cache', '/cache'], others: ['cache'] },
  { pattern: 'a*a*b', matched: ['aab', 'aaab', 'axaxb'], others: ['ab', 'aa/b', 'a/ab'] },
  { pattern: '**a*b**', matched: ['ab', 'x/axb/y', 'a/ab', 'aa/b/ab'], others: ['a/b', 'ba'] },
  { pattern: 'pr-*', matched: ['pr-1', 'pr-'], others: ['v1.0', 'PR-1', 'xpr-1'] },
  // Kept from an earlier release as a condition, where any number of stars was taken.
  { pattern: 'a***b', matched: ['ab', 'a/b'], others: ['a'] },
];

describe('a pattern', () => {
  for (const { pattern, matched, others } of rows) {
    it(`the pattern ${pattern} matches ${matched.map((name) => JSON.stringify(name)).join(', ')} and not ${others.map((name) => JSON.stringify(name)).join(', ') || 'nothing'}`, () => {
      for (const name of matched) assert.equal(matches(pattern as Pattern, name), true, name);
      for (const name of others) assert.equal(matches(pattern as Pattern, name), false, name);
    });
  }

  it('a pattern matches what a regular expression of the same meaning matches', () => {
    const part = fc.constantFrom('*', '**', 'a', 'b', 'ab', '/', '-');
    const pattern = fc
      .array(part, { maxLength: 40 })
      .map((parts) => parts.join('').replace(/\*{3,}/g, '**'))
      .filter(isPattern);
    const name = fc.array(fc.constantFrom('a', 'b', 'ab', '/', '-', 'aaaa'), { maxLength: 12 });
    fc.assert(
      fc.property(pattern, name, (pattern, parts) => {
        const text = parts.join('');
        assert.equal(matches(pattern, text), reference(pattern).test(text), `${pattern} and ${text}`);
      }),
      { seed: SEED, numRuns: 3000 },
    );
  });

  it('a pattern matches every name that it was made of', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '/'), maxLength: 60 });
    const pieces = fc.array(fc.tuple(text, fc.boolean(), text), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(pieces, (pieces) => {
        const pattern = pieces.map(([literal, deep]) => `${literal}${deep ? '**' : '*'}`).join('x');
        const name = pieces
          .map(([literal, deep, inside]) => `${literal}${deep ? inside : inside.replaceAll('/', '')}`)
          .join('x');
        assert.equal(matches(pattern as Pattern, name), true, `${pattern} and ${name}`);
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });

  it('a pattern is matched in at most eight steps for each character of the name, whatever the pattern', () => {
    const name = `${'a'.repeat(NAME_MAX_LENGTH - 1)}c`;
    for (const piece of ['a*', 'a**', 'aa*', 'a*a**', 'a/*']) {
      const pattern = `*${piece.repeat(PATTERN_MAX_LENGTH)}`.slice(0, PATTERN_MAX_LENGTH - 1);
      assert.ok(isPattern(`${pattern}b`));
      assert.ok(stepsOf(() => matches(`${pattern}b` as Pattern, name)) <= 8 * name.length, pattern);
    }
  });

  it('a pattern is matched the same after more patterns than an isolate keeps', () => {
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i <= PATTERNS_COMPILED; i++) assert.ok(matches(`a${i}/*` as Pattern, `a${i}/x`));
    }
  });

  it('a pattern has few stars where it is new', () => {
    assert.equal(hasFewStars('a**'.repeat(PATTERN_STARS_MAX)), true);
    assert.equal(hasFewStars('a*'.repeat(PATTERN_STARS_MAX + 1)), false);
  });
});

describe('a request for a token', () => {
  it('a request for a token matches every name once against every grant of a token and every rule', async () => {
    const pattern = `*${'a*'.repeat(126)}b` as Pattern;
    const grants: Grant[] = Array.from({ length: GRANTS_MAX }, () => {
      return { role: 'reader', repositories: pattern, tags: null };
    });
    const identity: Identity = {
      subject: 'user:mallory',
      rules: [],
      limits: grants,
      policies: [],
      revision: 0,
    };
    const scopes = parseScopes([
      Array.from({ length: 50 }, (_, i) => `repository:${'a'.repeat(250)}${i}:pull,push,delete`).join(' '),
    ]);
    let steps = 0;
    for (const scope of scopes) {
      const before = matching.steps;
      await decide(identity, scope, () => Promise.resolve(false));
      steps += matching.steps - before;
    }
    assert.ok(steps > 0);
    assert.ok(steps <= 8 * GRANTS_MAX * SCOPE_NAMES_MAX_LENGTH, `${steps} steps`);
  });

  it('a request for a token is answered for as many names as have 4,096 characters together', () => {
    const long = Array.from({ length: 50 }, (_, i) => `repository:${'a'.repeat(250)}${i}:pull`);
    assert.equal(parseScopes(long).length, Math.floor(SCOPE_NAMES_MAX_LENGTH / 252));
    const usual = Array.from({ length: 50 }, (_, i) => `repository:team-a/service-${i}:pull,push`);
    assert.equal(parseScopes(usual).length, 50);
  });
});

function stepsOf(run: () => unknown): number {
  const before = matching.steps;
  run();
  return matching.steps - before;
}

function reference(pattern: string): RegExp {
  const body = pattern.replace(/\*\*|\*|[^*]/g, (part) => {
    if (part === '**') return '[^]*';
    return part === '*' ? '[^/]*' : part.replace(/[.\-/]/, '\\$&');
  });
  return new RegExp(`^${body}$`);
}
