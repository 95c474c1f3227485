/** Ranges of downloads and of chunks: tables, and any range against an array of bytes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { helpLink } from '../../worker/oci/errors.ts';
import { RANGES_MAX } from '../../worker/oci/limits.ts';
import {
  lengthOf,
  parseContentRange,
  parseRanges,
  type RangeRequest,
  resolveRanges,
} from '../../worker/oci/range.ts';
import { assertRefused, codeOf } from './refused.ts';

describe('parseRanges', () => {
  const taken: [header: string, want: RangeRequest[]][] = [
    ['bytes=0-0', [{ first: 0, last: 0 }]],
    ['bytes=500-1499', [{ first: 500, last: 1499 }]],
    ['bytes=500-', [{ first: 500 }]],
    ['bytes=-500', [{ suffix: 500 }]],
    ['bytes= 1-2 ', [{ first: 1, last: 2 }]],
    ['Bytes=1-2', [{ first: 1, last: 2 }]],
    ['bytes=5-4', [{ first: 5, last: 4 }]],
    ['bytes=007-010', [{ first: 7, last: 10 }]],
    ['bytes=0-99999999999999999999', [{ first: 0, last: 1e20 }]],
    [`bytes=${'9'.repeat(400)}-`, [{ first: Number.POSITIVE_INFINITY }]],
    [
      'bytes=1-2,4-5',
      [
        { first: 1, last: 2 },
        { first: 4, last: 5 },
      ],
    ],
    [
      'bytes=4-5 ,\t1-2',
      [
        { first: 4, last: 5 },
        { first: 1, last: 2 },
      ],
    ],
    ['bytes=0-0, 5-, -1', [{ first: 0, last: 0 }, { first: 5 }, { suffix: 1 }]],
  ];
  for (const [header, want] of taken) {
    it(`parseRanges reads ${header.slice(0, 40)}`, () => assert.deepEqual(parseRanges(header), want));
  }

  const ignored = [
    null,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1',
    'bytes=1-2,x',
    'bytes=1-2;4-5',
    'bytes=1-2,bytes=4-5',
    'bytes=1-2-3',
    'bytes=-1-2',
    'bytes=1.0-2',
    'bytes 1-2',
    'items=1-2',
    'bytes=1-2\nX',
    'bytes=\u0661-\u0662',
  ];
  for (const header of ignored) {
    it(`parseRanges ignores ${JSON.stringify(header)}`, () => assert.equal(parseRanges(header), null));
  }

  it('parseRanges never throws, whatever the text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseRanges(`bytes=${text}`)));
  });
});

describe('resolveRanges', () => {
  it('resolveRanges gives the bytes that an array gives', () => {
    const number = fc.nat({ max: 40 });
    const asked = fc.oneof(
      fc.record({ first: number }),
      fc.record({ first: number, last: number }),
      fc.record({ suffix: number }),
    );
    fc.assert(
      fc.property(asked, fc.nat({ max: 30 }), (request, size) => {
        const all = Array.from({ length: size }, (_, at) => at);
        const want = all.filter((at) =>
          'suffix' in request
            ? at >= size - request.suffix
            : at >= request.first && at <= ('last' in request ? request.last : size),
        );
        if (want.length === 0) {
          assert.equal(
            codeOf(() => resolveRanges([request], size)),
            'RANGE_INVALID',
          );
        } else {
          const ranges = resolveRanges([request], size);
          assert.deepEqual(ranges, [{ first: want[0], last: want.at(-1) }]);
          assert.deepEqual(ranges.map(lengthOf), [want.length]);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('resolveRanges clamps what is larger than any number', () => {
    assert.deepEqual(resolveRanges([{ first: 1, last: Number.POSITIVE_INFINITY }], 10), [
      { first: 1, last: 9 },
    ]);
    assert.deepEqual(resolveRanges([{ suffix: Number.POSITIVE_INFINITY }], 10), [{ first: 0, last: 9 }]);
  });

  it('resolveRanges says how large the content is where it refuses', () => {
    assert.throws(() => resolveRanges([{ first: 10 }], 10), {
      headers: { 'Content-Range': 'bytes */10', Link: helpLink('RANGE_INVALID') },
      status: 416,
    });
  });

  const several: [name: string, asked: RangeRequest[], want: [number, number][]][] = [
    [
      'in the order in which they were asked',
      [{ first: 8 }, { first: 0, last: 1 }],
      [
        [8, 9],
        [0, 1],
      ],
    ],
    [
      'clamped',
      [
        { first: 0, last: 1 },
        { first: 8, last: 99 },
      ],
      [
        [0, 1],
        [8, 9],
      ],
    ],
    ['without those outside', [{ first: 10 }, { first: 0, last: 1 }, { suffix: 0 }], [[0, 1]]],
    [
      'overlapping, while they are less than the whole',
      [
        { first: 0, last: 4 },
        { first: 3, last: 5 },
      ],
      [
        [0, 4],
        [3, 5],
      ],
    ],
    [
      'as much as the whole',
      [{ first: 5 }, { first: 0, last: 4 }],
      [
        [5, 9],
        [0, 4],
      ],
    ],
  ];
  for (const [name, asked, want] of several) {
    it(`resolveRanges gives several ranges ${name}`, () => {
      const ranges = want.map(([first, last]) => ({ first, last }));
      assert.deepEqual(resolveRanges(asked, 10), ranges);
    });
  }

  const single = (first: number) => ({ first, last: first });
  const many = Array.from({ length: RANGES_MAX }, (_, at) => single(2 * at));

  it(`resolveRanges gives ${RANGES_MAX} ranges, and refuses one more`, () => {
    assert.equal(resolveRanges(many, 1000).length, RANGES_MAX);
    assert.throws(() => resolveRanges([...many, single(999)], 1000), { code: 'RANGE_INVALID', status: 400 });
  });

  it('resolveRanges refuses ranges that ask for more than there is: the same bytes again and again', () => {
    const asked = [{ first: 0 }, single(0)];
    assert.throws(() => resolveRanges(asked, 10), { code: 'RANGE_INVALID', status: 400 });
  });

  it('resolveRanges refuses several ranges that all lie outside as it refuses one', () => {
    assert.throws(() => resolveRanges([{ first: 10 }, { suffix: 0 }], 10), { status: 416 });
    assert.throws(() => resolveRanges([{ first: 0 }, { suffix: 1 }], 0), { status: 416 });
  });
});

describe('parseContentRange', () => {
  const taken: [header: string | null, want: [number, number] | null][] = [
    [null, null],
    ['0-0', [0, 0]],
    ['10-14', [10, 14]],
    [' 10-14 ', [10, 14]],
    ['bytes 10-14/15', [10, 14]],
    ['bytes 10-14/*', [10, 14]],
    ['10-14/100', [10, 14]],
  ];
  for (const [header, want] of taken) {
    it(`parseContentRange reads ${JSON.stringify(header)}`, () => {
      const range = want === null ? null : { first: want[0], last: want[1] };
      assert.deepEqual(parseContentRange(header), range);
    });
  }

  const refused = [
    '',
    '-',
    '5',
    '5-',
    '-5',
    '5-4',
    'a-b',
    '0x1-0x2',
    '1-2,3-4',
    'bytes=1-2',
    'bytes */5',
    '1-2/2',
    '1-2/x',
    `1-${'9'.repeat(16)}`,
  ];
  for (const header of refused) {
    it(`parseContentRange refuses ${JSON.stringify(header)}`, () => {
      assertRefused(() => parseContentRange(header), 'BLOB_UPLOAD_INVALID', header);
      assert.throws(() => parseContentRange(header), { status: 400 });
    });
  }

  it('parseContentRange reads back any range that is written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.constantFrom('', 'bytes '), (first, more, unit) => {
        const range = { first, last: first + more };
        assert.deepEqual(parseContentRange(`${unit}${range.first}-${range.last}`), range);
      }),
    );
  });

  it('parseContentRange throws nothing but its own error, and gives no empty range', () => {
    const near = fc.array(fc.constantFrom(...'0123456789-/* bytes=,'), { maxLength: 20 });
    const text = fc.oneof(
      near.map((characters) => characters.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(text, (header) => {
        if (codeOf(() => parseContentRange(header)) !== null) return;
        const range = parseContentRange(header);
        assert.ok(range !== null && range.first <= range.last && Number.isSafeInteger(range.last));
      }),
      { numRuns: 2000 },
    );
  });
});
