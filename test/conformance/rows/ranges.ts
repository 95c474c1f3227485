// Pulling a part of a blob, which is how an interrupted pull goes on: Range as RFC 9110 has it.

import assert from 'node:assert/strict';
import { declineOn, expectBody, expectHeader, expectStatus } from '../answer.ts';
import { withBlob } from '../given.ts';
import { type Row, section } from '../row.ts';

const size = 2000;

const satisfiable = [
  { range: 'bytes=0-0', first: 0, last: 0, name: 'the first byte' },
  { range: 'bytes=500-1499', first: 500, last: 1499, name: 'a part in the middle' },
  { range: 'bytes=1999-1999', first: 1999, last: 1999, name: 'the last byte' },
  { range: 'bytes=500-', first: 500, last: 1999, name: 'from a byte to the end' },
  { range: 'bytes=0-', first: 0, last: 1999, name: 'everything, as a range' },
  { range: 'bytes=-500', first: 1500, last: 1999, name: 'the last bytes' },
  { range: 'bytes=-5000', first: 0, last: 1999, name: 'more last bytes than there are' },
  { range: 'bytes=1000-5000', first: 1000, last: 1999, name: 'a part that goes on past the end' },
];

const unsatisfiable = [
  { range: 'bytes=2000-', name: 'from just past the end' },
  { range: 'bytes=5000-10000', name: 'wholly past the end' },
  { range: 'bytes=-0', name: 'the last no bytes' },
];

const ignored = [
  { range: 'octets=0-9', name: 'an unknown unit' },
  { range: 'nonsense', name: 'no range at all' },
];

export const ranges: Row[] = section('Pulling blobs', [
  ...satisfiable.map(
    ({ range, first, last, name }): Omit<Row, 'section'> => ({
      level: 'SHOULD',
      end: 'end-2',
      what: `Range: ${range} (${name}) answers 206 with Content-Range and just those bytes`,
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry, size);
        const answer = await repository.getBlob(of, { Range: range });
        expectStatus(answer, 206);
        expectBody(answer, bytes.subarray(first, last + 1));
        expectHeader(answer, 'Content-Range', `bytes ${first}-${last}/${size}`);
        expectHeader(answer, 'Content-Length', String(last - first + 1));
      },
    }),
  ),
  ...unsatisfiable.map(
    ({ range, name }): Omit<Row, 'section'> => ({
      level: 'SHOULD',
      end: 'end-2',
      what: `Range: ${range} (${name}) answers 416 with the size in Content-Range`,
      run: async (registry) => {
        const { repository, of } = await withBlob(registry, size);
        const answer = await repository.getBlob(of, { Range: range });
        expectStatus(answer, 416);
        expectHeader(answer, 'Content-Range', `bytes */${size}`);
      },
    }),
  ),
  ...ignored.map(
    ({ range, name }): Omit<Row, 'section'> => ({
      level: 'SHOULD',
      end: 'end-2',
      what: `Range: ${range} (${name}) is ignored: 200 with the whole blob`,
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry, size);
        const answer = await repository.getBlob(of, { Range: range });
        expectStatus(answer, 200);
        expectBody(answer, bytes);
      },
    }),
  ),
  {
    level: 'SHOULD',
    end: 'end-2',
    what: 'Range: bytes=500-0 (backwards) is refused with 416 or ignored',
    run: async (registry) => {
      const { repository, of, bytes } = await withBlob(registry, size);
      const answer = await repository.getBlob(of, { Range: 'bytes=500-0' });
      expectStatus(answer, 416, 200);
      if (answer.status === 200) expectBody(answer, bytes);
    },
  },
  {
    level: 'SHOULD',
    end: 'end-2',
    what: 'two ranges are answered in parts, or with the whole blob, and never with something in between',
    run: async (registry) => {
      const { repository, of, bytes } = await withBlob(registry, size);
      const answer = await repository.getBlob(of, { Range: 'bytes=0-9,20-29' });
      expectStatus(answer, 206, 200, 416);
      if (answer.status === 200) expectBody(answer, bytes);
      if (answer.status === 206) {
        const type = expectHeader(answer, 'Content-Type');
        assert.match(type, /^multipart\/byteranges/, `${answer} has Content-Type: ${type}`);
      }
    },
  },
  {
    level: 'SHOULD',
    end: 'end-2',
    what: 'HEAD takes no notice of Range: 200 with the size of the whole',
    run: async (registry) => {
      const { repository, of } = await withBlob(registry, size);
      const answer = await repository.headBlob(of, { Range: 'bytes=0-9' });
      expectStatus(answer, 200);
      expectHeader(answer, 'Content-Length', String(size));
    },
  },
  {
    level: 'MAY',
    end: 'end-2',
    what: 'a blob is announced with Accept-Ranges: bytes',
    run: async (registry) => {
      const { repository, of } = await withBlob(registry, size);
      expectHeader(await repository.headBlob(of), 'Accept-Ranges', 'bytes');
    },
  },
  {
    level: 'SHOULD',
    end: 'end-2',
    what: 'a blob pulled in two halves is the blob',
    run: async (registry) => {
      const { repository, of, bytes } = await withBlob(registry, size);
      const halves = [];
      for (const range of ['bytes=0-999', 'bytes=1000-']) {
        const answer = await repository.getBlob(of, { Range: range });
        declineOn(answer, [200], 'Range');
        expectStatus(answer, 206);
        halves.push(answer.body);
      }
      assert.ok(Buffer.concat(halves).equals(bytes), 'the two halves are not the blob');
    },
  },
]);
