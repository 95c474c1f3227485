/** The objects of uploads as release 0.1.0 wrote them, one for each upload: their alarms clear them away, and touch no blob. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../faults/client.ts';
import { onHome } from '../faults/homes.ts';
import { blob, repositoryName } from '../support/fixtures.ts';

const TABLES = `
  CREATE TABLE session (id INTEGER PRIMARY KEY CHECK (id = 1), draft TEXT NOT NULL, multipart TEXT, offset INTEGER NOT NULL,
    next_part INTEGER NOT NULL, hash TEXT, hash_state BLOB, sealed TEXT, cancelled INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE parts (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL);
  CREATE TABLE tail (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);`;

onHome('r2', (home) => {
  /** Writes an object as release 0.1.0 left it, under a name that no upload has. */
  const leave = async (name: string, draft: string, sealed: string | null, cancelled: 0 | 1) => {
    await home.rows('UPLOAD_SESSION', name, TABLES);
    const digest = sealed === null ? 'NULL' : `'${sealed}'`;
    await home.rows(
      'UPLOAD_SESSION',
      name,
      `INSERT INTO session (id, draft, offset, next_part, sealed, cancelled)
       VALUES (1, '${draft}', 1000, 1, ${digest}, ${cancelled})`,
    );
  };

  test('an upload that was under way is discarded, and its object is empty', async () => {
    const draft = crypto.randomUUID();
    await home.tamper(`blobs/${draft}`, blob(1000));
    await leave('xa', draft, null, 0);
    await home.ring('UPLOAD_SESSION', 'xa');
    assert.equal(await home.storedBytes(`blobs/${draft}`), null);
    assert.equal(await home.isEmpty('UPLOAD_SESSION', 'xa'), true);
    assert.equal(await home.alarmAt('UPLOAD_SESSION', 'xa'), null);
  });

  for (const [name, cancelled] of [
    ['xb', 0],
    ['xc', 1],
  ] as const) {
    test(`an upload that was published${cancelled ? ' and then cancelled' : ''} leaves its blob`, async () => {
      const [client, bytes, repository] = [new Client(home), blob(1000), repositoryName()];
      const digest = await client.pushBlob(repository, bytes);
      const [row] = await home.rows('REPOSITORY', repository, 'SELECT key FROM blobs');
      await leave(name, String(row?.key).replace('blobs/', ''), digest, cancelled);
      await home.ring('UPLOAD_SESSION', name);
      assert.equal(await home.isEmpty('UPLOAD_SESSION', name), true);
      await home.setClockAhead(2 * 24 * 3600 * 1000);
      await home.ring('BLOB_SHARD', digest.slice(7, 9));
      await home.setClockAhead(0);
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
    });
  }
});
