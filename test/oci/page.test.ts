/** Pages: `n` and `last` as clients send them, and the Link that a client follows. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PAGE_DEFAULT, PAGE_MAX } from '../../worker/oci/limits.ts';
import { linkHeader, type Page, parsePage } from '../../worker/oci/page.ts';
import { assertRefused, codeOf } from './refused.ts';

const parse = (query: string) => parsePage(new URLSearchParams(query));

describe('parsePage', () => {
  const taken: [query: string, want: Page][] = [
    ['', { count: PAGE_DEFAULT, last: null }],
    ['n=0', { count: 0, last: null }],
    ['n=5', { count: 5, last: null }],
    ['n=005', { count: 5, last: null }],
    ['n=5&last=v1', { count: 5, last: 'v1' }],
    ['last=', { count: PAGE_DEFAULT, last: '' }],
    [`n=${PAGE_MAX + 1}`, { count: PAGE_MAX, last: null }],
    [`n=${'9'.repeat(400)}`, { count: PAGE_MAX, last: null }],
  ];
  for (const [query, want] of taken) {
    it(`parsePage reads the query "${query.slice(0, 30)}"`, () => assert.deepEqual(parse(query), want));
  }

  for (const n of [
    '',
    '-1',
    '+1',
    '%2B1',
    '1.5',
    '1e3',
    '0x1',
    'a',
    '%201',
    '1%0A',
    'NaN',
    'Infinity',
    '%D9%A1',
  ]) {
    it(`parsePage refuses n=${n}`, () =>
      assertRefused(() => parse(`n=${n}`), 'PAGINATION_NUMBER_INVALID', n));
  }

  it('parsePage judges any n by whether it is digits, and never passes the maximum', () => {
    const near = fc.array(fc.constantFrom(...'0123456789-+.e '), { maxLength: 8 });
    const text = fc.oneof(
      near.map((characters) => characters.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(text, (n) => {
        const query = new URLSearchParams({ n });
        const given = query.get('n') ?? '';
        const isNumber = given !== '' && [...given].every((digit) => '0123456789'.includes(digit));
        assert.equal(
          codeOf(() => parsePage(query)),
          isNumber ? null : 'PAGINATION_NUMBER_INVALID',
        );
        if (isNumber) assert.equal(parsePage(query).count, Math.min(Number(given), PAGE_MAX));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('linkHeader', () => {
  it('linkHeader is followed to the query that it was made of', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string({ unit: 'grapheme' }), (n, last) => {
        const header = linkHeader('/v2/a/tags/list', { n: String(n), last });
        const [, target = ''] = /^<([^<>\s]+)>; rel="next"$/.exec(header) ?? [];
        const url = new URL(target, 'http://localhost');
        assert.equal(url.pathname, '/v2/a/tags/list');
        assert.equal(url.searchParams.get('n'), String(n));
        assert.equal(url.searchParams.get('last'), last);
      }),
    );
  });
});
