/**
 * An upload that has ended is not its client's any more: no cancel and no repetition of the final PUT may take bytes away
 * that were published, from any repository.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { assertRefused, Client, locationOf, withDigest } from './client.ts';
import { eachHome } from './homes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const MiB = 1024 * 1024;
/** One that fits the session, and one that is finished in pieces or parts. */
const SIZES = { disk: [1000, 3 * MiB], r2: [1000, 9 * MiB] };

eachHome((home) => {
  for (const size of SIZES[home.name]) {
    test(`a cancel after the 201 of ${size} bytes is refused, and every repository keeps them`, async () => {
      const [client, bytes, before] = [new Client(home), blob(size), await stored(home)];
      const [one, other, digest] = [repositoryName('one'), repositoryName('other'), digestOf(bytes)];
      const location = await patched(client, one, bytes);
      await client.want(201, 'PUT', withDigest(location, digest));
      await client.pushBlob(other, bytes);
      assertRefused(await client.send('DELETE', location), 404, 'BLOB_UPLOAD_UNKNOWN');
      for (const name of [one, other]) assert.ok((await client.pullBlob(name, digest))?.equals(bytes));
      await client.want(201, 'PUT', withDigest(location, digest));
      await letTimePass(client);
      await expectNoRemains(client, before);
    });

    test(`a cancel during the final PUT of ${size} bytes is refused, and the blob is there`, async () => {
      for (const call of ['BLOB_SHARD.link', 'REPOSITORY.linkBlob']) {
        const [client, bytes] = [new Client(home), blob(size)];
        const [repository, digest] = [repositoryName(), digestOf(bytes)];
        const location = await patched(client, repository, bytes);
        await home.reset({ at: call, how: 'wait' });
        const put = client.send('PUT', withDigest(location, digest));
        assert.equal(await home.reached(), call);
        assertRefused(await client.send('DELETE', location), 404, 'BLOB_UPLOAD_UNKNOWN');
        await home.goOn();
        assert.equal((await put).status, 201);
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
      }
    });

    test(`a final PUT of ${size} bytes that is repeated while another repository pushes them leaves both with their bytes`, async () => {
      const [client, bytes, before] = [new Client(home), blob(size), await stored(home)];
      const [one, other, digest] = [repositoryName('one'), repositoryName('other'), digestOf(bytes)];
      const location = await patched(client, one, bytes);
      await home.reset({ at: finishing(home, size), how: 'wait' });
      const slow = client.send('PUT', withDigest(location, digest));
      await home.reached();
      await client.pushBlob(other, bytes);
      const there = await home.storedKeys();
      await client.want(201, 'PUT', withDigest(location, digest));
      const after = new Set(await home.storedKeys());
      const discarded = there.filter((key) => !after.has(key));
      assert.deepEqual(discarded, [], 'the slow PUT is about to link this');
      await home.goOn();
      assert.equal((await slow).status, 201);
      for (const name of [one, other]) assert.ok((await client.pullBlob(name, digest))?.equals(bytes));
      await letTimePass(client, 2);
      await expectNothingLost(client, digest, bytes);
      await letTimePass(client);
      await expectNoRemains(client, before);
    });
  }

  test('an upload whose bytes another repository has already leaves its own only until its session ends', async () => {
    const [client, before, bytes] = [new Client(home), await stored(home), blob(3 * MiB)];
    const [one, other] = [repositoryName('one'), repositoryName('other')];
    await client.pushBlob(one, bytes);
    const location = await patched(client, other, bytes);
    await client.want(201, 'PUT', withDigest(location, digestOf(bytes)));
    await expectNothingLost(client, digestOf(bytes), bytes);
    await letTimePass(client);
    await expectNoRemains(client, before);
  });
});

/** Sends all bytes in one PATCH, and gives where the upload goes on. */
async function patched(client: Client, repository: string, bytes: Buffer): Promise<string> {
  const location = await client.startUpload(repository);
  return locationOf(await client.want(202, 'PATCH', location, { body: bytes, chunked: true }));
}

/** The call by which the final PUT makes content of what has come. */
function finishing(home: Home, size: number): string {
  if (home.name === 'disk') return size < MiB ? 'disk.PUT' : 'BLOB_SHARD.link';
  return size < 7 * MiB ? 'R2.put' : 'R2.complete';
}

async function expectNothingLost(client: Client, digest: string, bytes: Buffer): Promise<void> {
  for (const name of client.repositories) {
    const pulled = await client.pullBlob(name, digest);
    assert.ok(pulled === null || pulled.equals(bytes), `${name} has lost its bytes`);
  }
}
