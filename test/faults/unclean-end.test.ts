/**
 * A disk that loses bytes which it had confirmed, when the power fails: after an unclean end, what was stored last is compared with
 * its digests, without a client that reads it. What is wrong is dropped, so that a push stores it again.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UPLOAD_LIFETIME_MS } from '../../worker/oci/limits.ts';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { assertRefused, Client, locationOf, rangeOf, withDigest } from './client.ts';
import { onHome } from './homes.ts';

const MiB = 1024 * 1024;
const SIZE = 100_000;
const LIMIT_MS = 20_000;

const DAMAGES = [
  { name: 'other bytes of the same size', left: (bytes: Buffer) => blob(bytes.length) },
  { name: 'a part', left: (bytes: Buffer) => bytes.subarray(0, bytes.length / 2) },
  { name: 'nothing', left: () => null },
];

onHome('disk', (home) => {
  for (const { name, left } of DAMAGES) {
    test(`a blob of which an unclean end left ${name} is dropped before it is read, and a push stores it again`, async () => {
      const [client, bytes, good] = [new Client(home), blob(SIZE), blob(SIZE)];
      const [one, other] = [repositoryName('one'), repositoryName('other')];
      for (const repository of [one, other])
        for (const content of [bytes, good]) await client.pushBlob(repository, content);
      const digest = digestOf(bytes);
      await home.tamper(String(await keyOf(home, one, digest)), left(bytes));

      await home.crash();
      for (const repository of [one, other]) {
        await until(async () => (await keyOf(home, repository, digest)) === null);
        const target = `/v2/${repository}/blobs/${digest}`;
        assertRefused(await client.send('GET', target), 404, 'BLOB_UNKNOWN');
        await client.pushBlob(repository, bytes);
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
        assert.ok((await client.pullBlob(repository, digestOf(good)))?.equals(good));
      }
      await until(async () => (await unverified(home)) === 0);
    });
  }

  test('a piece with other bytes of the same size is found after an unclean end', async () => {
    const [client, bytes, repository] = [new Client(home), blob(6 * MiB), repositoryName()];
    let location = await client.startUpload(repository);
    for (let at = 0; at < bytes.length; at += 2 * MiB) {
      const body = bytes.subarray(at, at + 2 * MiB);
      location = locationOf(await client.want(202, 'PATCH', location, { body }));
    }
    await client.want(201, 'PUT', withDigest(location, digestOf(bytes)));
    const key = await keyOf(home, repository, digestOf(bytes));
    await home.tamper(String(key).replace(/parts$/, '2'), blob(2 * MiB));
    await home.crash();
    await until(async () => (await keyOf(home, repository, digestOf(bytes))) === null);
  });

  test('an upload whose piece was damaged by an unclean end is never published', async () => {
    const [client, bytes, repository] = [new Client(home), blob(4 * MiB), repositoryName()];
    let location = await client.startUpload(repository);
    const had = new Set(await home.storedKeys());
    for (const at of [0, 2 * MiB]) {
      const body = bytes.subarray(at, at + 2 * MiB);
      const headers = rangeOf(at, body.length);
      location = locationOf(await client.want(202, 'PATCH', location, { body, headers }));
    }
    const [piece] = (await home.storedKeys()).filter((key) => !had.has(key));
    await home.tamper(String(piece), blob(2 * MiB));
    await home.crash();
    const final = await client.send('PUT', withDigest(location, digestOf(bytes)));
    assertRefused(final, 400, 'DIGEST_INVALID');
    assert.equal(await client.pullBlob(repository, digestOf(bytes)), null);
  });

  test('a push that an unclean end interrupted before its bytes were there can go on', async () => {
    const [client, bytes, repository] = [new Client(home), blob(4 * MiB), repositoryName()];
    let location = await client.startUpload(repository);
    for (const at of [0, 2 * MiB]) {
      const sent = { body: bytes.subarray(at, at + 2 * MiB), headers: rangeOf(at, 2 * MiB) };
      location = locationOf(await client.want(202, 'PATCH', location, sent));
    }
    // Its link is in the shard, and the list of its pieces is not written.
    const put = () => client.send('PUT', withDigest(location, digestOf(bytes)));
    await home.reset({ at: 'BLOB_SHARD.link', how: 'hang' });
    const lost = put().catch(() => null);
    await home.reached();
    await home.crash();
    await lost;
    await until(async () => (await unverified(home)) === 0);
    assert.equal((await put()).status, 201);
    assert.ok((await client.pullBlob(repository, digestOf(bytes)))?.equals(bytes));
  });

  test('only what was linked in the hour before an unclean end is read', async () => {
    const [client, old, latest, repository] = [new Client(home), blob(SIZE), blob(SIZE), repositoryName()];
    await client.pushBlob(repository, old);
    await home.setClockAhead(UPLOAD_LIFETIME_MS / 2);
    await client.pushBlob(repository, latest);
    for (const bytes of [old, latest])
      await home.tamper(String(await keyOf(home, repository, digestOf(bytes))), blob(SIZE));
    await home.call('BLOB_SHARD', 'all', 'verifyRecent');
    await home.ring('BLOB_SHARD', 'all');
    assert.equal(await unverified(home), 0);
    assert.ok(await isDropped(home, latest));
    assert.ok(!(await isDropped(home, old)));
    await home.setClockAhead(0);
  });

  test('nothing is read after an end in order', async () => {
    const [client, bytes, repository] = [new Client(home), blob(SIZE), repositoryName()];
    await client.pushBlob(repository, bytes);
    await home.tamper(String(await keyOf(home, repository, digestOf(bytes))), blob(SIZE));
    await home.restart();
    await until(async () => (await unverified(home)) === 0);
    assert.ok(!(await isDropped(home, bytes)));
  });
});

/** Where the repository has a blob; null where it has none. */
async function keyOf(home: Home, repository: string, digest: string): Promise<string | null> {
  if (await home.isEmpty('REPOSITORY', repository)) return null;
  const [row] = await home.rows('REPOSITORY', repository, `SELECT key FROM blobs WHERE digest = '${digest}'`);
  return row === undefined ? null : String(row.key);
}

/** What is verified leaves the list after it is dropped. */
async function isDropped(home: Home, bytes: Buffer): Promise<boolean> {
  const query = `SELECT key FROM objects WHERE digest = '${digestOf(bytes)}' AND deleting = 0`;
  return (await home.rows('BLOB_SHARD', 'all', query)).length === 0;
}

async function unverified(home: Home): Promise<number> {
  return (await home.rows('BLOB_SHARD', 'all', 'SELECT digest FROM unverified')).length;
}

/** Nothing says when an alarm has rung: this looks again and again. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const began = Date.now(); !(await isSo()); await new Promise((resolve) => setTimeout(resolve, 20)))
    assert.ok(Date.now() - began < LIMIT_MS, 'what the test waits for does not come');
}
