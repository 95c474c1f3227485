/**
 * Operations that meet: the same blob pushed from two sides, manifests racing for a tag, deletes racing pushes. Whatever
 * the order turns out to be, nothing dangles and nothing that was confirmed is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blob, digest as digestOf, imageIndex, imageManifest, repositoryName } from '../support/fixtures.ts';
import { type Answer, Client, locationOf, withDigest } from './client.ts';
import { eachHome } from './homes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const ROUNDS = 12;
const KiB = 1024;
const MiB = 1024 * KiB;

eachHome((home) => {
  for (const size of [10 * KiB, 1.5 * MiB]) {
    test(`the same ${size} bytes pushed to two repositories, and twice to each, at the same moment`, async () => {
      const before = await stored(home);
      const client = new Client(home);
      for (let round = 0; round < ROUNDS; round++) {
        const bytes = blob(size);
        const image = imageManifest({ layers: [bytes], config: Buffer.from('{}') });
        const repositories = [repositoryName('one'), repositoryName('two')];
        await Promise.all(
          repositories.flatMap((repository) => [
            client.pushBlob(repository, bytes),
            streamBlob(client, repository, bytes),
            client.pushBlob(repository, Buffer.from('{}')),
          ]),
        );
        for (const repository of repositories) {
          assert.ok((await client.pullBlob(repository, digestOf(bytes)))?.equals(bytes));
          assert.equal((await client.putManifest(repository, 'v1', image)).status, 201);
        }
      }
      await letTimePass(client);
      for (const repository of client.repositories)
        assert.ok((await client.pullManifest(repository, 'v1')) !== null);
      await expectNoRemains(client, before);
    });
  }

  test('manifests that race for a tag: it ends at one of them, and each has its place in the history', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const [client, repository] = [new Client(home), repositoryName('tag')];
      const images = Array.from({ length: 6 }, () => imageManifest());
      for (const image of images) for (const bytes of image.blobs) await client.pushBlob(repository, bytes);
      const answers = await Promise.all(
        images.map((image) => client.putManifest(repository, 'latest', image)),
      );
      assert.deepEqual(
        answers.map(({ status }) => status),
        images.map(() => 201),
      );
      const history = await home.rows(
        'REPOSITORY',
        repository,
        'SELECT digest FROM tag_history ORDER BY tag, seq',
      );
      const digests = history.map((row) => row.digest);
      assert.deepEqual(digests.toSorted(), images.map((image) => image.digest).sort());
      assert.equal(await client.pullManifest(repository, 'latest'), digests.at(-1));
      for (const { digest } of images) assert.equal(await client.pullManifest(repository, digest), digest);
    }
  });

  test('a delete of a blob that races a push of a manifest which references it', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const [client, repository, image] = [
        new Client(home),
        repositoryName('delete'),
        imageManifest({ layers: 2 }),
      ];
      const [, layer] = image.blobs;
      assert.ok(layer !== undefined);
      for (const bytes of image.blobs) await client.pushBlob(repository, bytes);
      const target = `/v2/${repository}/blobs/${digestOf(layer)}`;
      const put = () => client.putManifest(repository, 'v1', image);
      const remove = () => client.send('DELETE', target);
      const [pushed, deleted] = await eitherFirst(round, put, remove);
      await letTimePass(client);
      if (pushed.status === 201) {
        assert.equal(deleted.status, 405, 'a blob that a manifest needs was deleted');
        assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
      } else {
        assert.deepEqual([pushed.status, deleted.status], [400, 202], pushed.body.toString());
        assert.equal(await client.pullManifest(repository, 'v1'), null);
      }
    }
  });

  test('a delete of a manifest that races a push of an index which references it', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const [client, repository, image] = [new Client(home), repositoryName('delete'), imageManifest()];
      const index = imageIndex([image]);
      await client.pushManifest(repository, 'v1', image);
      const put = () => client.putManifest(repository, 'all', index);
      const remove = () => client.send('DELETE', `/v2/${repository}/manifests/${image.digest}`);
      const [pushed, deleted] = await eitherFirst(round, put, remove);
      assert.equal(deleted.status, 202);
      assert.equal(await client.pullManifest(repository, 'v1'), null);
      // An index may outlive what it names, if that is deleted after it (distribution spec, "Deleting Manifests").
      const there = await client.send('GET', `/v2/${repository}/manifests/all`);
      assert.equal(there.status, pushed.status === 201 ? 200 : 404);
      assert.ok(pushed.status === 201 || pushed.status === 400, pushed.body.toString());
    }
  });

  test('a delete of one manifest that races a push of another with the same layers', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const [client, repository, shared] = [new Client(home), repositoryName('shared'), blob(10 * KiB)];
      const [old, fresh] = [imageManifest({ layers: [shared] }), imageManifest({ layers: [shared] })];
      await client.pushManifest(repository, 'old', old);
      for (const bytes of fresh.blobs) await client.pushBlob(repository, bytes);
      const put = () => client.putManifest(repository, 'fresh', fresh);
      const remove = () => client.send('DELETE', `/v2/${repository}/manifests/${old.digest}`);
      const [pushed, deleted] = await eitherFirst(round, put, remove);
      assert.deepEqual([pushed.status, deleted.status], [201, 202]);
      await letTimePass(client);
      assert.equal(await client.pullManifest(repository, 'fresh'), fresh.digest);
      assert.equal(await client.pullManifest(repository, 'old'), null);
    }
  });
});

/** Pushes a blob with one PATCH and a PUT. */
async function streamBlob(client: Client, repository: string, bytes: Buffer): Promise<void> {
  const location = await client.startUpload(repository);
  const patch = await client.want(202, 'PATCH', location, { body: bytes, chunked: true });
  await client.want(201, 'PUT', withDigest(locationOf(patch), digestOf(bytes)));
}

/** Both at the same moment, and in turn each of them sent first. */
async function eitherFirst(
  round: number,
  one: () => Promise<Answer>,
  other: () => Promise<Answer>,
): Promise<[Answer, Answer]> {
  if (round % 2 === 0) return Promise.all([one(), other()]);
  const [second, first] = await Promise.all([other(), one()]);
  return [first, second];
}
