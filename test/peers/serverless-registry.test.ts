/**
 * The faults of another registry on the same platform, R2 without Durable Objects, as its users and its source tell of them:
 * a test for each, which that registry fails: here 1 to 6, how it stores. The rest, how it speaks, is in the file beside this.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GRACE_MS } from '../../durable-objects/graces.ts';
import { type Answer, assertRefused, Client, locationOf, rangeOf, withDigest } from '../faults/client.ts';
import { eachHome } from '../faults/homes.ts';
import { expectNoRemains, letTimePass, stored } from '../faults/remains.ts';
import {
  blob,
  digest as digestOf,
  imageManifest,
  type Manifest,
  repositoryName,
  unknownDigest,
} from '../support/fixtures.ts';

const MiB = 1024 * 1024;

eachHome((home) => {
  test('1. the collection of garbage during a push leaves what the push is about to reference', async () => {
    const [client, repository, image] = [new Client(home), repositoryName(), imageManifest({ layers: 2 })];
    for (const bytes of image.blobs) {
      await client.pushBlob(repository, bytes);
      await home.ring('REPOSITORY', repository);
      for (const digest of client.digests) await home.ring('BLOB_SHARD', digest.slice(7, 9));
    }
    assert.equal((await client.putManifest(repository, 'v1', image)).status, 201);
    await letTimePass(client);
    assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
  });

  test('2. a repository is not a prefix: x and x/blobs, a and a/manifestsx do not meet', async () => {
    const root = repositoryName();
    const names = [
      root,
      `${root}/blobs`,
      `${root}/blobs/uploads`,
      `${root}/manifests`,
      `${root}/manifestsx`,
      `${root}x`,
    ];
    const client = new Client(home);
    const images = new Map<string, Manifest>(names.map((name) => [name, imageManifest()]));
    for (const [at, [name, image]] of [...images].entries()) await client.pushManifest(name, `v${at}`, image);
    for (const [at, name] of names.entries()) {
      const { body } = await client.want(200, 'GET', `/v2/${name}/tags/list`);
      assert.deepEqual(JSON.parse(body.toString()), { name, tags: [`v${at}`] });
    }
    await client.want(202, 'DELETE', `/v2/${root}/manifests/${images.get(root)?.digest}`);
    await letTimePass(client);
    for (const [at, name] of names.entries()) {
      assert.equal(
        await client.pullManifest(name, `v${at}`),
        name === root ? null : images.get(name)?.digest,
      );
    }
  });

  test('3. a mounted blob has its own size and digest, and outlives its source', async () => {
    const [client, bytes] = [new Client(home), blob(100_000)];
    const [source, target, image] = [repositoryName(), repositoryName(), imageManifest({ layers: [bytes] })];
    await client.pushManifest(source, 'v1', image);
    for (const each of image.blobs) {
      await client.want(201, 'POST', `/v2/${target}/blobs/uploads/?mount=${digestOf(each)}&from=${source}`);
    }
    const head = await client.want(200, 'HEAD', `/v2/${target}/blobs/${digestOf(bytes)}`);
    assert.equal(head.headers['content-length'], String(bytes.length));
    assert.equal(head.headers['docker-content-digest'], digestOf(bytes));
    assert.equal((await client.putManifest(target, 'v1', image)).status, 201);
    await client.want(202, 'DELETE', `/v2/${source}/manifests/${image.digest}`);
    await letTimePass(client);
    assert.equal(await client.pullBlob(source, digestOf(bytes)), null);
    assert.equal(await client.pullManifest(target, 'v1'), image.digest);
  });

  test('4. no bytes are stored under a digest that is not theirs, and no key is made of what a client sends', async () => {
    const [client, image, before] = [new Client(home), imageManifest(), await stored(home)];
    const repository = repositoryName();
    const refusals: [Answer, string][] = [
      [await client.putManifest(repository, unknownDigest(), image), 'DIGEST_INVALID'],
      ...(await Promise.all(
        ['.tag', '-tag', 'a'.repeat(129), 'a%2Fb', 'a%20b'].map(
          async (tag): Promise<[Answer, string]> => [
            await client.putManifest(repository, tag, image),
            'TAG_INVALID',
          ],
        ),
      )),
    ];
    const location = await client.startUpload(repository);
    for (const digest of [
      '/../x',
      '%2F..%2Fx',
      'sha256:../../x',
      `sha256:${'A'.repeat(64)}`,
      'sha256:',
      '',
    ]) {
      refusals.push([
        await client.send('PUT', `${location}&digest=${digest}`, { body: blob() }),
        'DIGEST_INVALID',
      ]);
    }
    for (const [answer, code] of refusals) assertRefused(answer, 400, code);
    assert.deepEqual(await stored(home), before);
    assert.equal(await home.isEmpty('REPOSITORY', repository), true);
  });

  test('5. of two chunks at one offset one is taken; tag, manifest and referrer change together', async () => {
    const [client, repository] = [new Client(home), repositoryName()];
    const location = await client.startUpload(repository);
    const chunks = [blob(1000), blob(1000)];
    const answers = await Promise.all(
      chunks.map((body) => client.send('PATCH', location, { body, headers: rangeOf(0, body.length) })),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [202, 416]);

    const subject = imageManifest();
    await client.pushManifest(repository, 'subject', subject);
    const artifact = imageManifest({ subject: subject.descriptor });
    for (const bytes of artifact.blobs) await client.pushBlob(repository, bytes);
    // Whatever call fails or loses its answer: all three are there, or none.
    for (const how of ['before', 'after'] as const) {
      await home.reset({ at: 'REPOSITORY.putManifest', how });
      assert.equal((await client.putManifest(repository, 'v1', artifact)).status, 500);
      const written = how === 'after';
      assert.equal(await client.pullManifest(repository, 'v1'), written ? artifact.digest : null);
      assert.equal(await client.pullManifest(repository, artifact.digest), written ? artifact.digest : null);
      const { body } = await client.want(200, 'GET', `/v2/${repository}/referrers/${subject.digest}`);
      assert.equal(JSON.parse(body.toString()).manifests.length, written ? 1 : 0);
    }
  });

  test('6. a collection that dies blocks no push, and a failed upload leaves nothing', async () => {
    const [client, before, repository, image] = [
      new Client(home),
      await stored(home),
      repositoryName(),
      imageManifest(),
    ];
    const digest = await client.pushBlob(repository, blob());
    const patch = await client.want(202, 'PATCH', await client.startUpload(repository), {
      body: blob(8 * MiB),
    });
    assertRefused(
      await client.send('PUT', withDigest(locationOf(patch), unknownDigest())),
      400,
      'DIGEST_INVALID',
    );
    await client.want(202, 'PATCH', await client.startUpload(repository), { body: blob(8 * MiB) });
    await home.setClockAhead(GRACE_MS + 1000);
    await home.reset({ at: 'BLOB_SHARD.release', how: 'before' });
    await home.ringDue('REPOSITORY', repository);
    await home.setClockAhead(2 * GRACE_MS + 3600_000);
    await home.reset();
    await home.ringDue('REPOSITORY', repository);
    await home.setClockAhead(3 * GRACE_MS + 2 * 3600_000);
    await home.reset({ at: home.name === 'r2' ? 'R2.delete' : 'disk.DELETE', how: 'before' });
    await home.ringDue('BLOB_SHARD', digest.slice(7, 9));
    assert.equal(await home.reached(), home.name === 'r2' ? 'R2.delete' : 'disk.DELETE');
    await client.pushManifest(repository, 'v1', image);
    await home.setClockAhead(0);
    await letTimePass(client);
    assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
    await expectNoRemains(client, before);
  });
});
