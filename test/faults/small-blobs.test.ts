/**
 * Small blobs on one machine are beside their links, in the repository: they are pushed, read, mounted, deleted and collected as
 * others are, and leave nothing in the store.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { INLINE_MAX_BYTES } from '../../worker/blob-store.ts';
import {
  blob,
  digest as digestOf,
  imageManifest,
  repositoryName,
  unknownDigest,
} from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { assertRefused, Client, withDigest } from './client.ts';
import { letTimePass } from './remains.ts';

onHome('disk', (home) => {
  let client: Client;
  let repository: string;
  const files = () => home.storedKeys();

  before(() => {
    client = new Client(home);
    repository = repositoryName('small');
  });

  for (const { size, files: want } of [
    { size: 1, files: 0 },
    { size: INLINE_MAX_BYTES, files: 0 },
    { size: INLINE_MAX_BYTES + 1, files: 1 },
  ]) {
    test(`a blob of ${size} bytes makes ${want} files and is read back, whole and in ranges`, async () => {
      const had = await files();
      const bytes = blob(size);
      const digest = await client.pushBlob(repository, bytes);
      assert.equal((await files()).length - had.length, want);
      assert.deepEqual(await client.pullBlob(repository, digest), bytes);
      const target = `/v2/${repository}/blobs/${digest}`;
      const last = await client.send('GET', target, { headers: { Range: 'bytes=-1' } });
      assert.equal(last.status, 206);
      assert.deepEqual(last.body, bytes.subarray(size - 1));
      await home.evict('REPOSITORY', repository);
      assert.deepEqual(await client.pullBlob(repository, digest), bytes);
    });
  }

  test('a small blob is one call to a Durable Object', async () => {
    await client.pushBlob(repository, blob(1000));
    await home.reset();
    await client.pushBlob(repository, blob(1000));
    assert.deepEqual((await home.counts()).calls, ['REPOSITORY.linkBlob']);
  });

  test('a small blob of another digest than announced is refused, and nothing is written', async () => {
    const [digest, other] = [unknownDigest(), repositoryName('refused')];
    const location = await client.startUpload(other);
    assertRefused(
      await client.send('PUT', withDigest(location, digest), { body: blob(100) }),
      400,
      'DIGEST_INVALID',
    );
    assert.equal(await client.pullBlob(other, digest), null);
    assert.ok(await home.isEmpty('REPOSITORY', other));
  });

  test('a small blob that comes after its upload was cancelled is not there', async () => {
    const bytes = blob(100);
    const location = await client.startUpload(repository);
    await client.want(204, 'DELETE', location);
    const late = await client.send('PUT', withDigest(location, digestOf(bytes)), { body: bytes });
    assertRefused(late, 404, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal(await client.pullBlob(repository, digestOf(bytes)), null);
  });

  test('a small blob that was mounted stays when the repository that it came from deletes it', async () => {
    const [bytes, target] = [blob(500), repositoryName('target')];
    const digest = await client.pushBlob(repository, bytes);
    await client.want(201, 'POST', `/v2/${target}/blobs/uploads/?mount=${digest}&from=${repository}`);
    await client.want(202, 'DELETE', `/v2/${repository}/blobs/${digest}`);
    assert.equal(await client.pullBlob(repository, digest), null);
    assert.deepEqual(await client.pullBlob(target, digest), bytes);
  });

  for (const sizes of [[0], [100], [1000, 20_000]]) {
    test(`a small blob in chunks of ${sizes.join(' and ')} bytes makes no files`, async () => {
      const had = await files();
      const bytes = blob(sizes.reduce((sum, size) => sum + size));
      let location = await client.startUpload(repository);
      let at = 0;
      for (const size of sizes) {
        const sent = await client.want(202, 'PATCH', location, { body: bytes.subarray(at, at + size) });
        location = String(sent.headers.location);
        at += size;
      }
      await client.want(201, 'PUT', withDigest(location, digestOf(bytes)));
      await client.want(201, 'PUT', withDigest(location, digestOf(bytes)));
      assert.deepEqual(await client.pullBlob(repository, digestOf(bytes)), bytes);
      assert.deepEqual(await files(), had);
    });
  }

  test('a small blob that was pushed twice, and then in pieces, is there once', async () => {
    const bytes = blob(2000);
    const digest = await client.pushBlob(repository, bytes);
    await client.pushBlob(repository, bytes);
    const location = await client.startUpload(repository);
    const sent = await client.want(202, 'PATCH', location, { body: bytes });
    await client.want(201, 'PUT', withDigest(String(sent.headers.location), digest));
    assert.deepEqual(await client.pullBlob(repository, digest), bytes);
  });

  test('small blobs that a manifest names stay, also through a crash, and others are collected', async () => {
    const own = new Client(home);
    const name = repositoryName('collected');
    const manifest = imageManifest({ layers: [blob(3000)] });
    await own.pushManifest(name, 'v1', manifest);
    const loose = await own.pushBlob(name, blob(3000));
    await home.crash();
    assert.equal(await own.pullManifest(name, 'v1'), manifest.digest);
    await letTimePass(own);
    assert.equal(await own.pullManifest(name, 'v1'), manifest.digest);
    assert.equal(await own.pullBlob(name, loose), null);
    const rows = await home.rows('REPOSITORY', name, 'SELECT digest FROM blobs');
    assert.equal(rows.length, manifest.blobs.length);
    assert.deepEqual(await home.rows('REPOSITORY', name, 'SELECT link FROM released_links'), []);
  });
});
