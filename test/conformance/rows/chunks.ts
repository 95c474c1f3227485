// Pushing a blob in chunks: what each is answered with, and their order.

import assert from 'node:assert/strict';
import { blob, digest } from '../../support/fixtures.ts';
import { expectBody, expectHeader, expectStatus } from '../answer.ts';
import { neverBegun } from '../repository.ts';
import { type Row, section } from '../row.ts';
import { beginUpload, closeUpload, patchAll } from '../upload.ts';

const end5 = { level: 'MUST', end: 'end-5' } as const;
const end6 = { level: 'MUST', end: 'end-6' } as const;

const malformedRanges = ['bytes=0-99', '0-', '-99', '99', 'a-b', '99-0', '0-98', '0-100'];

export const chunks: Row[] = section('Pushing a blob in chunks', [
  {
    level: 'MUST',
    end: 'end-4a',
    what: 'POST with Content-Length: 0 answers 202 with the Location of an upload',
    run: async (registry) => {
      const answer = await registry
        .repository()
        .postUpload('', undefined, { headers: { 'Content-Length': '0' } });
      expectStatus(answer, 202);
      answer.location();
    },
  },
  {
    level: 'SHOULD',
    end: 'end-4a',
    what: 'OCI-Chunk-Min-Length, where it is sent, is a number of bytes',
    run: async (registry) => {
      const length = (await registry.repository().postUpload()).header('OCI-Chunk-Min-Length');
      assert.match(length ?? '0', /^[0-9]+$/);
    },
  },
  {
    ...end5,
    what: 'PATCH with a chunk answers 202 with Location, and Range from 0 to its last byte',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const chunk = chunkOf(1);
      const answer = await repository.patchUpload(location, chunk, 0);
      expectStatus(answer, 202);
      answer.location();
      expectHeader(answer, 'Range', `0-${chunk.byteLength - 1}`);
    },
  },
  {
    ...end5,
    what: 'PATCH with the next chunk answers with the Range of both',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const [one, two] = [chunkOf(1), chunkOf(2)];
      const first = await repository.patchUpload(location, one, 0);
      expectStatus(first, 202);
      const second = await repository.patchUpload(first.location(), two, one.byteLength);
      expectStatus(second, 202);
      expectHeader(second, 'Range', `0-${one.byteLength + two.byteLength - 1}`);
    },
  },
  {
    ...end6,
    what: 'PUT without a body closes the upload: 201, and the Location serves the chunks joined',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const parts = [chunkOf(1), chunkOf(3), chunkOf(2)];
      const after = await patchAll(repository, location, parts);
      await closeUpload(repository, after, Buffer.concat(parts));
    },
  },
  {
    ...end6,
    what: 'PUT may bring the last chunk, of any length, with its Content-Range',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const [one, last] = [chunkOf(1), blob(1)];
      const after = await patchAll(repository, location, [one]);
      const bytes = Buffer.concat([one, last]);
      const answer = await repository.putUpload(after, digest(bytes), last, one.byteLength);
      expectStatus(answer, 201);
      const pulled = await registry.get(answer.location());
      expectBody(pulled, bytes);
    },
  },
  {
    ...end6,
    what: 'PATCH may bring the last chunk, of any length',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const parts = [chunkOf(1), blob(1)];
      const after = await patchAll(repository, location, parts);
      await closeUpload(repository, after, Buffer.concat(parts));
    },
  },
  {
    ...end6,
    what: 'a blob of several megabytes can be pushed in uneven chunks',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const parts = [chunkOf(1), blob(5 * 1024 * 1024 + 1), chunkOf(3), blob(6 * 1024 * 1024), chunkOf(1)];
      const after = await patchAll(repository, location, parts);
      await closeUpload(repository, after, Buffer.concat(parts));
    },
  },
  {
    ...end6,
    what: 'two uploads at the same time stay apart',
    run: async (registry) => {
      const { repository, location: one, chunkOf } = await beginUpload(registry);
      const two = await repository.startUpload();
      const [a, b, c, d] = [chunkOf(1), chunkOf(2), chunkOf(2), chunkOf(1)];
      const oneNext = await patchAll(repository, one, [a]);
      const twoNext = await patchAll(repository, two, [c]);
      const oneLast = await patchAll(repository, oneNext, [b], a.byteLength);
      const twoLast = await patchAll(repository, twoNext, [d], c.byteLength);
      await closeUpload(repository, oneLast, Buffer.concat([a, b]));
      await closeUpload(repository, twoLast, Buffer.concat([c, d]));
    },
  },
  {
    ...end5,
    what: 'a chunk that leaves a gap is refused with 416',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const one = chunkOf(1);
      const after = await patchAll(repository, location, [one]);
      expectStatus(await repository.patchUpload(after, chunkOf(1), one.byteLength + 1), 416);
    },
  },
  {
    ...end5,
    what: 'a chunk that was sent already is refused with 416',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const one = chunkOf(1);
      const after = await patchAll(repository, location, [one]);
      expectStatus(await repository.patchUpload(after, one, 0), 416);
    },
  },
  {
    ...end5,
    what: 'a chunk that overlaps the last one is refused with 416',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const one = chunkOf(1);
      const after = await patchAll(repository, location, [one]);
      expectStatus(await repository.patchUpload(after, chunkOf(1), one.byteLength - 1), 416);
    },
  },
  {
    ...end5,
    what: 'a first chunk that does not begin at 0 is refused with 416',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      expectStatus(await repository.patchUpload(location, chunkOf(1), 1), 416);
    },
  },
  {
    ...end6,
    since: 'main',
    what: 'a last chunk in the PUT that is out of order is refused with 416',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const [one, two] = [chunkOf(1), chunkOf(1)];
      const after = await patchAll(repository, location, [one]);
      const of = digest(Buffer.concat([one, two]));
      expectStatus(await repository.putUpload(after, of, two, one.byteLength + 1), 416);
      expectStatus(await repository.headBlob(of), 404);
    },
  },
  {
    ...end5,
    what: 'after a 416 the upload goes on from where it was',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const [one, two] = [chunkOf(1), chunkOf(1)];
      const after = await patchAll(repository, location, [one]);
      expectStatus(await repository.patchUpload(after, two, 2 * one.byteLength), 416);
      const status = await registry.get(after);
      expectStatus(status, 204);
      expectHeader(status, 'Range', `0-${one.byteLength - 1}`);
      const last = await patchAll(repository, status.location(), [two], one.byteLength);
      await closeUpload(repository, last, Buffer.concat([one, two]));
    },
  },
  ...malformedRanges.map(
    (range): Omit<Row, 'section'> => ({
      level: 'SHOULD',
      end: 'end-5',
      what: `a chunk of 100 bytes with Content-Range: ${range} is refused with 416 or 400`,
      run: async (registry) => {
        const { repository, location } = await beginUpload(registry);
        const headers = { 'Content-Range': range };
        expectStatus(await repository.patchUpload(location, blob(100), undefined, { headers }), 416, 400);
      },
    }),
  ),
  {
    ...end6,
    level: 'SHOULD',
    since: 'main',
    what: 'closing with the digest of the last chunk alone is refused with 400',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const [one, two] = [chunkOf(1), chunkOf(1)];
      const after = await patchAll(repository, location, [one]);
      expectStatus(await repository.putUpload(after, digest(two), two, one.byteLength), 400);
      expectStatus(await repository.headBlob(digest(two)), 404);
    },
  },
  {
    level: 'SHOULD',
    end: 'end-5',
    what: 'PATCH to an upload that was never begun answers 404',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const unknown = neverBegun(location);
      expectStatus(await repository.patchUpload(unknown, chunkOf(1), 0), 404, 400);
    },
  },
  {
    level: 'MAY',
    end: 'end-5',
    what: 'PATCH without Content-Range and without a length streams a whole blob, as Docker does it',
    run: async (registry) => {
      const { repository, location } = await beginUpload(registry);
      const bytes = blob(100_000);
      const answer = await repository.patchUpload(location, bytes, undefined, { chunked: true });
      expectStatus(answer, 202);
      expectHeader(answer, 'Range', `0-${bytes.byteLength - 1}`);
      await closeUpload(repository, answer.location(), bytes);
    },
  },
  {
    level: 'MAY',
    end: 'end-5',
    what: 'PATCH without Content-Range goes on where the last one ended',
    run: async (registry) => {
      const { repository, location, chunkOf } = await beginUpload(registry);
      const [one, two] = [chunkOf(1), chunkOf(2)];
      const after = await patchAll(repository, location, [one]);
      const answer = await repository.patchUpload(after, two);
      expectStatus(answer, 202);
      await closeUpload(repository, answer.location(), Buffer.concat([one, two]));
    },
  },
  {
    level: 'MAY',
    end: 'end-5',
    what: 'an empty PATCH and a PUT push a blob of no bytes',
    run: async (registry) => {
      const { repository, location } = await beginUpload(registry);
      const answer = await repository.patchUpload(location, Buffer.alloc(0));
      expectStatus(answer, 202);
      await closeUpload(repository, answer.location(), Buffer.alloc(0));
    },
  },
]);
