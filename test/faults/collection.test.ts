/**
 * The collection of garbage racing pushes: what a push was told is there stays, what is being deleted is stored again, and a
 * push that stood still for too long fails cleanly.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GRACE_MS, LINK_CONFIRM_MS } from '../../durable-objects/graces.ts';
import {
  blob,
  digest as digestOf,
  imageManifest,
  type Manifest,
  repositoryName,
} from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { type Answer, Client, withDigest } from './client.ts';
import { eachHome } from './homes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const ROUNDS = 12;
const KiB = 1024;

eachHome((home) => {
  test('the collection of garbage that races a push: what a push was told is there stays', async () => {
    const before = await stored(home);
    const client = new Client(home);
    const grace = GRACE_MS + 1000;
    for (let round = 0; round < ROUNDS; round++) {
      const [repository, other, image] = [repositoryName('gc'), repositoryName('other'), imageManifest()];
      for (const bytes of image.blobs) await client.pushBlob(repository, bytes);
      const shards = image.blobs.map((bytes) => digestOf(bytes).slice(7, 9));
      // One day on, the repository lets the blobs go; another, and the shards delete them: while they are pushed again.
      await home.setClockAhead(grace);
      if (round % 2 === 0) await home.ringDue('REPOSITORY', repository);
      await home.setClockAhead(2 * grace);
      const collecting = [
        home.ringDue('REPOSITORY', repository),
        ...shards.map((shard) => home.ringDue('BLOB_SHARD', shard)),
      ];
      const pushes = await Promise.all([
        ...[repository, other].map((name) => pushWhatIsMissing(client, name, image)),
        ...collecting,
      ]);
      for (const shard of shards) await home.ringDue('BLOB_SHARD', shard);
      await home.setClockAhead(0);
      for (const [at, name] of [repository, other].entries()) {
        const answer = pushes[at] as Answer;
        assert.ok(answer.status === 201 || answer.status === 400, answer.body.toString());
        assert.equal(await client.pullManifest(name, 'v1'), answer.status === 201 ? image.digest : null);
        if (answer.status === 400) await client.pushManifest(name, 'v1', image);
      }
    }
    await letTimePass(client);
    for (const name of client.repositories) assert.ok((await client.pullManifest(name, 'v1')) !== null);
    await expectNoRemains(client, before);
  });

  test('a blob that waits to be deleted, and is pushed again, stays', async () => {
    const [client, repository, other] = [new Client(home), repositoryName('gone'), repositoryName('other')];
    const image = imageManifest();
    await pushAndLetGo(client, repository, image);
    await client.pushManifest(other, 'v1', image);
    await home.setClockAhead(0);
    await letTimePass(client);
    assert.equal(await client.pullManifest(other, 'v1'), image.digest);
  });

  test('a blob whose bytes are being deleted, and that is pushed again, is stored again', async () => {
    const [client, repository, bytes] = [new Client(home), repositoryName('gone'), blob(10 * KiB)];
    const [digest, image] = [digestOf(bytes), imageManifest({ layers: [bytes] })];
    const shard = digest.slice(7, 9);
    await pushAndLetGo(client, repository, image);
    await home.setClockAhead(LINK_CONFIRM_MS + 2 * GRACE_MS + 3000);
    const call = home.name === 'r2' ? 'R2.delete' : 'disk.DELETE';
    const due = () => home.ringDue('BLOB_SHARD', shard);
    assert.equal(await slowly(home, call, due, () => client.pushManifest(repository, 'v2', image)), true);
    await home.setClockAhead(0);
    await letTimePass(client);
    assert.equal(await client.pullManifest(repository, 'v2'), image.digest);
  });

  test('a blob that a repository lets go is not said to be there', async () => {
    const [client, repository, bytes] = [new Client(home), repositoryName('gone'), blob()];
    const digest = await client.pushBlob(repository, bytes);
    assert.ok((await client.pullBlob(repository, digest)) !== null);
    await letTimePass(client);
    assert.equal(await client.pullBlob(repository, digest), null);
    assert.ok((await client.pullBlob(repository, await client.pushBlob(repository, bytes)))?.equals(bytes));
  });

  for (const way of ['push', 'mount'] as const) {
    test(`the settling of a link that races a slow ${way}: it fails cleanly, or the blob is there`, async () => {
      const [client, before, bytes] = [new Client(home), await stored(home), blob(10 * KiB)];
      const [source, repository, digest] = [
        repositoryName('source'),
        repositoryName('slow'),
        digestOf(bytes),
      ];
      const image = imageManifest({ layers: [bytes] });
      if (way === 'mount') await client.pushManifest(source, 'v1', image);
      const location = await client.startUpload(repository);
      // The link is in the shard, and the repository is not asked yet: the push stands still for days.
      const answer = await slowly(
        home,
        'BLOB_SHARD.link',
        async () => {
          return way === 'push'
            ? client.send('PUT', withDigest(location, digest), { body: bytes })
            : client.send('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${source}`);
        },
        async () => {
          await home.setClockAhead(LINK_CONFIRM_MS + 1000);
          assert.equal(await home.ringDue('BLOB_SHARD', digest.slice(7, 9)), true);
          await home.setClockAhead(0);
        },
      );
      assert.equal(answer.status, way === 'push' ? 404 : 202, answer.body.toString());
      assert.equal(await client.pullBlob(repository, digest), null);
      await letTimePass(client);
      await expectNoRemains(client, before);
      assert.equal(await client.pullBlob(repository, digest), null);
      if (way === 'mount') assert.equal(await client.pullManifest(source, 'v1'), image.digest);
      await client.pushManifest(repository, 'v1', image);
      await letTimePass(client);
      assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
    });
  }
});

/** Pushes an image, which is settled and then deleted: its blobs are let go, and wait to be deleted. */
async function pushAndLetGo(client: Client, repository: string, image: Manifest): Promise<void> {
  const { home } = client;
  await client.pushManifest(repository, 'v1', image);
  // From here on the shards know that the bytes are there.
  await home.setClockAhead(LINK_CONFIRM_MS + 1000);
  for (const bytes of image.blobs) await home.ringDue('BLOB_SHARD', digestOf(bytes).slice(7, 9));
  await client.want(202, 'DELETE', `/v2/${repository}/manifests/${image.digest}`);
  await home.setClockAhead(LINK_CONFIRM_MS + GRACE_MS + 2000);
  assert.equal(await home.ringDue('REPOSITORY', repository), true);
}

/** As clients do: a blob that HEAD finds is not sent. */
async function pushWhatIsMissing(client: Client, name: string, image: Manifest): Promise<Answer> {
  for (const bytes of image.blobs) {
    const head = await client.send('HEAD', `/v2/${name}/blobs/${digestOf(bytes)}`);
    if (head.status !== 200) await client.pushBlob(name, bytes);
  }
  return client.putManifest(name, 'v1', image);
}

/** Sends a request that stands still behind a call, while something else is done. */
async function slowly<T>(
  home: Home,
  call: string,
  send: () => Promise<T>,
  meanwhile: () => Promise<void>,
): Promise<T> {
  await home.reset({ at: call, how: 'wait' });
  const sent = send();
  assert.equal(await home.reached(), call);
  await meanwhile();
  await home.goOn();
  return sent;
}
