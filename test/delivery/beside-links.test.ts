/**
 * Small blobs that one machine keeps beside their links, in every mode of delivery: the registry answers them itself, up to the size
 * from which on a blob is redirected to the blob host.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INLINE_MAX_BYTES } from '../../worker/blob-store.ts';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { type Answer, GUARDED, pushBlob, type Sent, send } from './client.ts';

const MODES = [
  { name: 'streamed', vars: { BLOB_DELIVERY: 'stream' }, size: 5000 },
  { name: 'small, where others are redirected', vars: { BLOB_DELIVERY: 'redirect' }, size: 5000 },
  {
    name: 'as large as may be, where larger ones are redirected',
    vars: { BLOB_DELIVERY: 'redirect' },
    size: INLINE_MAX_BYTES,
  },
];

for (const { name, vars, size } of MODES) {
  describe(`a blob beside its link, ${name}`, () => {
    onHome(
      'disk',
      (home) => {
        // No answer is a redirect: it would not be 200.
        const read = (path: string, sent: Sent = {}): Promise<Answer> => send(home.url, path, sent);
        const ranged = (path: string, headers: Record<string, string>) =>
          read(path, { headers: { Range: 'bytes=10-19', ...headers } });

        test(`a blob beside its link, ${name} is given whole, by HEAD, in ranges and by If-Range`, async () => {
          const files = await home.storedKeys();
          const { path, bytes, digest } = await pushBlob(home, blob(size));
          assert.deepEqual(await home.storedKeys(), files);
          const whole = await read(path);
          assert.equal(whole.status, 200);
          assert.ok(whole.body.equals(bytes));
          const head = await send(home.url, path, { method: 'HEAD' });
          assert.equal(head.status, 200);
          assert.equal(head.headers['content-length'], String(size));
          assert.equal(head.headers['docker-content-digest'], digest);
          const etag = String(whole.headers.etag);
          for (const headers of [{}, { 'If-Range': etag }]) {
            const answer = await ranged(path, headers);
            assert.equal(answer.status, 206);
            assert.equal(answer.headers['content-range'], `bytes 10-19/${size}`);
            assert.ok(answer.body.equals(bytes.subarray(10, 20)));
          }
          const other = await ranged(path, { 'If-Range': '"another"' });
          assert.equal(other.status, 200);
          assert.ok(other.body.equals(bytes));
          assert.equal((await read(path, { headers: { Range: `bytes=${size}-` } })).status, 416);
          assert.equal((await read(path, { headers: { 'If-None-Match': etag } })).status, 304);
        });

        test(`a blob beside its link, ${name} is mounted, deleted and pushed again`, async () => {
          const { path, bytes, repository } = await pushBlob(home, blob(size));
          const target = repositoryName('target');
          const mount = `/v2/${target}/blobs/uploads/?mount=${digestOf(bytes)}&from=${repository}`;
          assert.equal((await send(home.url, mount, { method: 'POST' })).status, 201);
          assert.equal((await send(home.url, path, { method: 'DELETE' })).status, 202);
          assert.equal((await read(path)).status, 404);
          assert.equal((await send(home.url, path, { method: 'HEAD' })).status, 404);
          const mounted = await read(`/v2/${target}/blobs/${digestOf(bytes)}`);
          assert.ok(mounted.body.equals(bytes));
          await pushBlob(home, bytes, repository);
          assert.ok((await read(path)).body.equals(bytes));
        });
      },
      { vars: { ...GUARDED, ...vars } },
    );
  });
}
