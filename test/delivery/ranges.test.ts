/**
 * Ranges and conditions (RFC 9110, sections 13 and 14) on every path by which content leaves: streamed by the registry,
 * answered by it because it is small, by its own blob host, and manifests.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { RANGES_MAX } from '../../worker/oci/limits.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { type Answer, errorOf, follow, pushBlob, send } from './client.ts';
import { type Content, paths } from './contents.ts';
import { partsOf } from './multipart.ts';

/** Which bytes of content of a size a Range gives; null for all of them, which is no range. */
const single: {
  name: string;
  range(size: number): string;
  want(size: number): [first: number, last: number] | null;
}[] = [
  { name: 'the first byte', range: () => 'bytes=0-0', want: () => [0, 0] },
  { name: 'some in the middle', range: () => 'bytes=100-299', want: () => [100, 299] },
  {
    name: 'the last byte',
    range: (size) => `bytes=${size - 1}-${size - 1}`,
    want: (size) => [size - 1, size - 1],
  },
  { name: 'from a byte on', range: () => 'bytes=77-', want: (size) => [77, size - 1] },
  { name: 'all', range: () => 'bytes=0-', want: (size) => [0, size - 1] },
  { name: 'the last bytes', range: () => 'bytes=-33', want: (size) => [size - 33, size - 1] },
  {
    name: 'more last bytes than there are',
    range: (size) => `bytes=-${size + 1}`,
    want: (size) => [0, size - 1],
  },
  { name: 'bytes past the end', range: (size) => `bytes=50-${size + 50}`, want: (size) => [50, size - 1] },
  {
    name: 'a number past all numbers',
    range: () => `bytes=50-${'9'.repeat(40)}`,
    want: (size) => [50, size - 1],
  },
  {
    name: 'one range of several that lie outside',
    range: (size) => `bytes=${size}-,1-2,-0`,
    want: () => [1, 2],
  },
  { name: 'an unknown unit', range: () => 'octets=0-1', want: () => null },
  { name: 'nonsense', range: () => 'bytes=a-b', want: () => null },
];

const unsatisfiable: { name: string; range(size: number): string }[] = [
  { name: 'from the end on', range: (size) => `bytes=${size}-` },
  { name: 'wholly past the end', range: (size) => `bytes=${size + 5}-${size + 9}` },
  { name: 'the last no bytes', range: () => 'bytes=-0' },
  { name: 'several past the end', range: (size) => `bytes=${size}-,${size + 1}-` },
];

const several: { name: string; range(size: number): string; want(size: number): [number, number][] }[] = [
  {
    name: 'two',
    range: () => 'bytes=0-9,20-29',
    want: () => [
      [0, 9],
      [20, 29],
    ],
  },
  {
    name: 'two that are not in order',
    range: () => 'bytes=90-99, 5-6',
    want: () => [
      [90, 99],
      [5, 6],
    ],
  },
  {
    name: 'of every kind',
    range: (size) => `bytes=0-0,${size - 9}-,-3`,
    want: (size) => [
      [0, 0],
      [size - 9, size - 1],
      [size - 3, size - 1],
    ],
  },
  {
    name: 'clamped, and without one outside',
    range: (size) => `bytes=1-1,${size}-,${size - 2}-${size * 2}`,
    want: (size) => [
      [1, 1],
      [size - 2, size - 1],
    ],
  },
  {
    name: `${RANGES_MAX}`,
    range: () => `bytes=${Array.from({ length: RANGES_MAX }, (_, at) => `${3 * at}-${3 * at}`)}`,
    want: () => Array.from({ length: RANGES_MAX }, (_, at) => [3 * at, 3 * at]),
  },
];

const tooMuch: { name: string; range: string }[] = [
  {
    name: 'one range too many',
    range: `bytes=${Array.from({ length: RANGES_MAX + 1 }, (_, at) => `${at}-${at}`)}`,
  },
  { name: 'the whole twice', range: 'bytes=0-,0-' },
  { name: 'ranges that overlap to more than the whole', range: 'bytes=0-,5-6' },
];

/** `Range: bytes=5-9` with a condition is honoured, or not. */
const ifRange: { name: string; value(digest: string): string; honoured: boolean }[] = [
  { name: 'its ETag', value: (digest) => `"${digest}"`, honoured: true },
  { name: 'another ETag', value: () => '"sha256:0"', honoured: false },
  { name: 'its ETag, but weak', value: (digest) => `W/"${digest}"`, honoured: false },
  { name: 'its digest without quotes', value: (digest) => digest, honoured: false },
  { name: 'a date', value: () => 'Sat, 21 Nov 2026 00:00:00 GMT', honoured: false },
];

const ifNoneMatch: { name: string; value(digest: string): string; has: boolean }[] = [
  { name: 'its ETag', value: (digest) => `"${digest}"`, has: true },
  { name: 'its ETag, weak', value: (digest) => `W/"${digest}"`, has: true },
  { name: 'a list with it', value: (digest) => `"x", "${digest}"`, has: true },
  { name: 'anything', value: () => '*', has: true },
  { name: 'another', value: () => '"sha256:0"', has: false },
];

eachHome(
  (home) => {
    for (const { name, push } of paths) describe(name, () => define(() => push(home)));
    describe('a blob of no bytes', () => empty(home));
  },
  { vars: { BLOB_DELIVERY: 'redirect' } },
);

function define(push: () => Promise<Content>): void {
  let content: Content;
  before(async () => {
    content = await push();
  });
  const ask = (headers: Record<string, string> = {}, method = 'GET') =>
    follow(content.url, { method, headers: { ...content.headers, ...headers } });

  it('a blob comes whole without a Range', async () => whole(content, await ask()));

  for (const { name, range, want } of single) {
    it(`a blob answers a Range: ${name}`, async () => {
      const size = content.bytes.length;
      const answer = await ask({ Range: range(size) });
      const wanted = want(size);
      if (wanted === null) return whole(content, answer);
      part(content, answer, wanted);
    });
  }

  for (const { name, range } of unsatisfiable) {
    it(`a blob answers 416 with the size: ${name}`, async () => {
      const answer = await ask({ Range: range(content.bytes.length) });
      assert.equal(answer.status, 416);
      assert.equal(answer.headers['content-range'], `bytes */${content.bytes.length}`);
      assert.equal(errorOf(answer).code, 'RANGE_INVALID');
    });
  }

  for (const { name, range, want } of several) {
    it(`a blob answers several ranges: ${name}`, async () => {
      const size = content.bytes.length;
      const answer = await ask({ Range: range(size) });
      assert.equal(answer.status, 206, answer.body.toString('latin1').slice(0, 200));
      common(content, answer);
      assert.equal(answer.headers['content-range'], undefined);
      assert.equal(answer.headers['content-length'], String(answer.body.length));
      const wanted = want(size).map(([first, last]) => ({
        contentType: content.mediaType,
        first,
        last,
        size,
        bytes: content.bytes.subarray(first, last + 1),
      }));
      assert.deepEqual(partsOf(answer), wanted);
    });
  }

  for (const { name, range } of tooMuch) {
    it(`a blob answers 400, from which a client falls back to the whole: ${name}`, async () => {
      const answer = await ask({ Range: range });
      assert.equal(answer.status, 400);
      assert.match(errorOf(answer).message, /ask for all of it$/);
    });
  }

  for (const { name, value, honoured } of ifRange) {
    it(`a blob answers If-Range: ${name}`, async () => {
      const answer = await ask({ Range: 'bytes=5-9', 'If-Range': value(content.digest) });
      if (honoured) part(content, answer, [5, 9]);
      else whole(content, answer);
    });
  }

  for (const { name, value, has } of ifNoneMatch) {
    for (const method of ['GET', 'HEAD']) {
      it(`a blob answers ${method} with If-None-Match: ${name}`, async () => {
        const answer = await ask({ 'If-None-Match': value(content.digest), Range: 'bytes=0-1' }, method);
        assert.equal(answer.status, has ? 304 : method === 'GET' ? 206 : 200);
        common(content, answer);
        if (has) assert.equal(answer.body.length, 0);
      });
    }
  }

  for (const range of ['bytes=0-1', 'bytes=0-1,3-4', 'bytes=999999999-']) {
    it(`the HEAD of a blob takes no notice of ${range}`, async () => {
      const answer = await ask({ Range: range }, 'HEAD');
      assert.equal(answer.status, 200);
      common(content, answer);
      assert.equal(answer.headers['content-length'], String(content.bytes.length));
      assert.equal(answer.headers['content-range'], undefined);
    });
  }
}

/** Nothing is in it, so no range lies inside. */
function empty(home: Home): void {
  for (const range of ['bytes=0-', 'bytes=-1', 'bytes=0-0', 'bytes=0-0,1-1']) {
    it(`a blob of no bytes answers 416 to ${range}`, async () => {
      const { path } = await pushBlob(home, Buffer.alloc(0));
      const answer = await send(home.url, path, { headers: { Range: range } });
      assert.equal(answer.status, 416);
      assert.equal(answer.headers['content-range'], 'bytes */0');
    });
  }

  for (const method of ['GET', 'HEAD']) {
    it(`a blob of no bytes answers ${method} with 200 and nothing`, async () => {
      const { path, digest } = await pushBlob(home, Buffer.alloc(0));
      const answer = await send(home.url, path, { method });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-length'], '0');
      assert.equal(answer.headers.etag, `"${digest}"`);
    });
  }
}

function common({ digest, cacheControl }: Content, { headers }: Answer): void {
  assert.equal(headers.etag, `"${digest}"`);
  assert.equal(headers['docker-content-digest'], digest);
  assert.equal(headers['accept-ranges'], 'bytes');
  assert.equal(headers['cache-control'], cacheControl);
}

function whole(content: Content, answer: Answer): void {
  assert.equal(answer.status, 200);
  common(content, answer);
  assert.equal(answer.headers['content-type'], content.mediaType);
  assert.equal(answer.headers['content-range'], undefined);
  assert.equal(answer.headers['content-length'], String(content.bytes.length));
  assert.ok(answer.body.equals(content.bytes));
}

function part(content: Content, answer: Answer, [first, last]: [number, number]): void {
  assert.equal(answer.status, 206);
  common(content, answer);
  assert.equal(answer.headers['content-type'], content.mediaType);
  assert.equal(answer.headers['content-range'], `bytes ${first}-${last}/${content.bytes.length}`);
  assert.equal(answer.headers['content-length'], String(last - first + 1));
  assert.ok(answer.body.equals(content.bytes.subarray(first, last + 1)));
}
