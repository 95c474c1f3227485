/** The collection of blobs of which one cannot be deleted: the others of its batch are, and it follows when it can be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { Client } from './client.ts';
import { eachHome } from './homes.ts';
import { stored } from './remains.ts';

const DAY_MS = 24 * 3600 * 1000;
const BLOBS = 5;

eachHome((home) => {
  test('a blob that cannot be deleted does not keep the others of its batch', async () => {
    const [client, repository] = [new Client(home), repositoryName('stuck')];
    const before = await stored(home);
    const shard = (bytes: Buffer) => digestOf(bytes).slice(7, 9);
    const all: Buffer[] = [];
    // On Cloudflare a batch is of one shard, by the first byte of the digest.
    for (let n = 0; all.length < BLOBS; n++) {
      const bytes = Buffer.from(`${repository} ${n}`);
      if (home.name === 'disk' || all[0] === undefined || shard(bytes) === shard(all[0])) all.push(bytes);
    }
    for (const bytes of all) await client.pushBlob(repository, bytes);
    const [stuck = ''] = [...(await stored(home))]
      .filter((key) => !before.has(key))
      .sort()
      .slice(2);
    await home.makeUndeletable(stuck);
    const name = shard(all[0] ?? Buffer.alloc(0));
    const ring = async (days: number) => {
      await home.setClockAhead(days * DAY_MS);
      await home.ringDue('REPOSITORY', repository);
      await home.ringDue('BLOB_SHARD', name);
    };
    for (const days of [2, 3, 4, 5]) await ring(days);
    const left = async () => [...(await stored(home))].filter((key) => !before.has(key));
    assert.deepEqual(await left(), [stuck]);
    await home.reset();
    for (const days of [6, 7, 8, 9]) await ring(days);
    assert.ok(!(await left()).includes(stuck));
    await home.setClockAhead(0);
    assert.deepEqual(await home.violations(), []);
  });
});
