/**
 * Bytes that the store has lost, or of which it has only a part: the registry says that the blob is not there, so that clients
 * push it again, and a push stores it anew. A store that only does not answer has lost nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blob, digest as digestOf, imageManifest, repositoryName } from '../support/fixtures.ts';
import * as homes from '../support/homes.ts';
import { assertRefused, Client, locationOf, withDigest } from './client.ts';
import { eachHome } from './homes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const MiB = 1024 * 1024;
/** More than what one machine keeps beside a link. */
const SIZE = 100_000;
const LOSSES = [
  { name: 'nothing is left', left: () => null },
  { name: 'a part is left', left: (bytes: Buffer) => bytes.subarray(0, bytes.length / 2) },
];

eachHome((home) => {
  for (const { name, left } of LOSSES) {
    for (const range of [undefined, 'bytes=0-9', 'bytes=90000-90009', 'bytes=0-1,900-909']) {
      test(`a blob of which ${name} is not there for a GET${range ? ` of ${range}` : ''}, and a push repairs it`, async () => {
        const [client, before, bytes] = [new Client(home), await stored(home), blob(SIZE)];
        const [one, other, image] = [
          repositoryName('one'),
          repositoryName('other'),
          imageManifest({ layers: [bytes] }),
        ];
        for (const repository of [one, other]) await client.pushManifest(repository, 'v1', image);
        const target = (repository: string) => `/v2/${repository}/blobs/${digestOf(bytes)}`;
        for (const repository of [one, other]) await client.want(200, 'HEAD', target(repository));
        await home.tamper(await keyOf(home, one, digestOf(bytes)), left(bytes));

        const headers = range === undefined ? {} : { Range: range };
        assertRefused(await client.send('GET', target(one), { headers }), 404, 'BLOB_UNKNOWN');
        assert.equal((await client.send('HEAD', target(one))).status, 404);
        // The alarm of the shard tells the other repositories.
        await home.ring('BLOB_SHARD', digestOf(bytes).slice(7, 9));
        assert.equal((await client.send('HEAD', target(other))).status, 404);
        for (const repository of [one, other]) {
          await client.pushBlob(repository, bytes);
          assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
        }
        await letTimePass(client);
        for (const repository of [one, other])
          assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
        await expectNoRemains(client, before);
      });
    }

    for (const way of ['one PUT', 'a PATCH'] as const) {
      test(`a push in ${way} to another repository repairs a blob of which ${name} before a client reads it`, async () => {
        const [client, bytes] = [new Client(home), blob(SIZE)];
        const [one, other, digest] = [repositoryName('one'), repositoryName('other'), digestOf(bytes)];
        await client.pushBlob(one, bytes);
        await home.tamper(await keyOf(home, one, digest), left(bytes));
        for (const repository of [other, one]) {
          await push(client, repository, bytes, way);
          assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
        }
      });
    }
  }

  for (const lost of [1, 2, 3, 4]) {
    test(`a push of a digest whose bytes the store has lost ${lost} times never ends with a link to what is lost`, async () => {
      const [client, bytes, repository] = [new Client(home), blob(SIZE), repositoryName()];
      const digest = digestOf(bytes);
      for (let count = 0; count < lost; count++) {
        const insert = `INSERT INTO objects (digest, key, size, stored) VALUES ('${digest}', 'blobs/${crypto.randomUUID()}', ${SIZE}, 1)`;
        await home.rows('BLOB_SHARD', digest.slice(7, 9), insert);
      }
      const push = async () => {
        const location = await client.startUpload(repository);
        return client.send('PUT', withDigest(location, digest), { body: bytes });
      };
      const answer = await push();
      if (lost >= 3) {
        assertRefused(answer, 503, 'UNAVAILABLE');
        assert.equal(answer.headers['retry-after'], '1');
        assert.equal((await client.send('HEAD', `/v2/${repository}/blobs/${digest}`)).status, 404);
        assert.equal((await push()).status, 201);
      } else assert.equal(answer.status, 201);
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
    });
  }

  test('a push of a blob that the registry has is answered 503 while the store does not answer', async () => {
    const [client, bytes] = [new Client(home), blob(SIZE)];
    const [one, other] = [repositoryName('one'), repositoryName('other')];
    const digest = await client.pushBlob(one, bytes);
    const location = await client.startUpload(other);
    await home.reset({ at: home.name === 'r2' ? 'R2.head' : 'disk.HEAD', how: 'before' });
    assertRefused(
      await client.send('PUT', withDigest(location, digest), { body: bytes }),
      503,
      'UNAVAILABLE',
    );
    assert.equal((await client.send('HEAD', `/v2/${other}/blobs/${digest}`)).status, 404);
    await client.want(201, 'PUT', withDigest(location, digest), { body: bytes });
    assert.ok((await client.pullBlob(other, digest))?.equals(bytes));
  });

  test('a store that does not answer is answered 503, and nothing is dropped', async () => {
    const [client, bytes, repository] = [new Client(home), blob(SIZE), repositoryName()];
    const digest = await client.pushBlob(repository, bytes);
    await home.reset({ at: home.name === 'r2' ? 'R2.get' : 'disk.GET', how: 'before' });
    const answer = await client.send('GET', `/v2/${repository}/blobs/${digest}`);
    assertRefused(answer, 503, 'UNAVAILABLE');
    assert.equal(answer.headers['retry-after'], '1');
    assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
  });

  test('a piece or part that is lost is seen before the answer begins', async () => {
    const [client, bytes, repository] = [new Client(home), blob(9 * MiB), repositoryName()];
    const digest = await pushInPieces(client, repository, bytes);
    const key = await keyOf(home, repository, digest);
    await home.tamper(home.name === 'r2' ? key : key.replace(/parts$/, '2'), Buffer.from('short'));
    assertRefused(await client.send('GET', `/v2/${repository}/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
    await pushInPieces(client, repository, bytes);
    assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
  });
});

homes.eachHome(
  (home) => {
    test('the blob host says that lost bytes are not there, and the repositories are told', async () => {
      const [client, bytes, repository] = [new Client(home), blob(SIZE), repositoryName()];
      const digest = await client.pushBlob(repository, bytes);
      const target = `/v2/${repository}/blobs/${digest}`;
      const redirect = await client.send('GET', target);
      if (redirect.status !== 307) return; // One machine streams.
      await home.tamper(await keyOf(home, repository, digest), null);
      assertRefused(await client.send('GET', locationOf(redirect)), 404, 'BLOB_UNKNOWN');
      await home.ring('BLOB_SHARD', digest.slice(7, 9));
      assert.equal((await client.send('HEAD', target)).status, 404);
      await client.pushBlob(repository, bytes);
      const again = await client.send('GET', target);
      assert.ok((await client.want(200, 'GET', locationOf(again))).body.equals(bytes));
    });
  },
  { vars: { CACHE_LIFETIME: '0' } },
);

async function keyOf(home: homes.Home, repository: string, digest: string): Promise<string> {
  const [row] = await home.rows('REPOSITORY', repository, `SELECT key FROM blobs WHERE digest = '${digest}'`);
  return String(row?.key);
}

async function push(client: Client, repository: string, bytes: Buffer, way: 'one PUT' | 'a PATCH') {
  if (way === 'one PUT') return client.pushBlob(repository, bytes);
  const location = await client.startUpload(repository);
  const patch = await client.want(202, 'PATCH', location, { body: bytes, chunked: true });
  return client.want(201, 'PUT', withDigest(locationOf(patch), digestOf(bytes)));
}

/** Pushes in three chunks, and gives the digest. */
async function pushInPieces(client: Client, repository: string, bytes: Buffer): Promise<string> {
  let location = await client.startUpload(repository);
  for (let at = 0; at < bytes.length; at += 3 * MiB) {
    const body = bytes.subarray(at, at + 3 * MiB);
    location = locationOf(await client.want(202, 'PATCH', location, { body, chunked: true }));
  }
  await client.want(201, 'PUT', withDigest(location, digestOf(bytes)));
  return digestOf(bytes);
}
