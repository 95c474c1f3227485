/**
 * What the registry keeps of what a test did: the alarms are rung as time passes, and then the store has to hold the bytes
 * of the blobs that repositories hold, and not a file more.
 */
import assert from 'node:assert/strict';
import { GRACE_MS, LINK_CONFIRM_MS, UPLOAD_ABORT_DELAY_MS } from '../../durable-objects/graces.ts';
import { UPLOAD_LIFETIME_MS } from '../../worker/oci/limits.ts';
import type { Binding, Home } from '../support/homes.ts';
import type { Client } from './client.ts';

const DAY = 24 * 3600 * 1000;
/** Past an upload's life, a link's settling, and the two graces that follow each other. */
const DAYS = Math.ceil((UPLOAD_LIFETIME_MS + UPLOAD_ABORT_DELAY_MS + LINK_CONFIRM_MS + 3 * GRACE_MS) / DAY);

/** Lets time pass, day by day, and rings the alarms that are due on the way. */
export async function letTimePass(
  { home, repositories, uploads, digests }: Client,
  days = DAYS + 1,
): Promise<void> {
  // On one machine there is one shard, whatever a test calls it.
  const names = [...digests].map((digest) => digest.split(':')[1]?.slice(0, 2) ?? '');
  const shards = new Set(home.name === 'disk' ? names.slice(0, 1) : names);
  await home.passDays(days, [
    ...[...uploads].map((upload): [Binding, string] => ['UPLOAD_SESSION', upload]),
    ...[...repositories].map((repository): [Binding, string] => ['REPOSITORY', repository]),
    ...[...shards].map((shard): [Binding, string] => ['BLOB_SHARD', shard]),
  ]);
}

/** The files of all blobs that these repositories hold; small ones are no files on one machine. */
async function heldFiles(home: Home, repositories: Iterable<string>): Promise<Set<string>> {
  const files = new Set<string>();
  for (const repository of repositories) {
    if (await home.isEmpty('REPOSITORY', repository)) continue;
    for (const { key } of await home.rows(
      'REPOSITORY',
      repository,
      'SELECT key FROM blobs WHERE bytes IS NULL',
    )) {
      const path = String(key);
      files.add(path);
      if (!path.endsWith('/parts')) continue;
      for (const piece of await home.pieces(path)) files.add(path.replace(/parts$/, String(piece)));
    }
  }
  return files;
}

/** What is in the store, to compare with later. */
export async function stored(home: Home): Promise<Set<string>> {
  return new Set([
    ...(await home.storedKeys()),
    ...(await home.openMultiparts()).map((key) => `multipart ${key}`),
  ]);
}

/**
 * Asserts that beside what was `before` the store has what the client's repositories hold, and nothing else, except this number of
 * multipart uploads.
 */
export async function expectNoRemains(
  { home, repositories }: Client,
  before: Set<string>,
  multiparts = 0,
): Promise<void> {
  assert.deepEqual(await home.violations(), [], 'production would have refused a call');
  const now = [...(await stored(home))].filter((key) => !before.has(key)).sort();
  const held = [...(await heldFiles(home, repositories))].filter((key) => !before.has(key)).sort();
  const extra = now.filter((key) => !held.includes(key));
  assert.deepEqual(
    held.filter((key) => !now.includes(key)),
    [],
    'bytes that a repository holds are gone',
  );
  const open = extra.filter((key) => key.startsWith('multipart '));
  assert.deepEqual(
    extra.filter((key) => !open.includes(key)),
    [],
    'the store has keys that no repository holds',
  );
  assert.ok(open.length <= multiparts, `multipart uploads are open: ${open.join(', ')}`);
}
