/**
 * Alarms that fail, and alarms that the platform dropped: what is due is done in the end. The platform repeats an alarm six
 * times, so a fault must not leave it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GRACE_MS } from '../../durable-objects/graces.ts';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { type Binding, eachHome, type Home } from '../support/homes.ts';

const HOUR_MS = 3600_000;
const DAY_MS = 24 * HOUR_MS;
/** More than the platform repeats. */
const FAILURES = 8;

interface Due {
  what: string;
  binding: Binding;
  /** Makes something due, and names the object that it is due in. */
  given(home: Home): Promise<string>;
  /** A table without which the alarm fails. */
  table: string;
  /** Counts what is left to do. */
  left: string;
}

const DUE: Due[] = [
  {
    what: 'a repository lets an unreferenced blob go',
    binding: 'REPOSITORY',
    given: async (home) => (await push(home)).repository,
    table: 'refusals',
    left: 'SELECT COUNT(*) AS count FROM blobs',
  },
  {
    what: 'a shard settles a link',
    binding: 'BLOB_SHARD',
    given: async (home) => (await push(home)).shard,
    table: 'objects',
    left: 'SELECT COUNT(*) AS count FROM links WHERE confirm_at IS NOT NULL',
  },
];

/** Small blobs have links in a shard on one machine too: the alarms of shards are tested here. */
const WITHOUT_INLINE = { vars: { INLINE_BLOB_BYTES: '0' } };

eachHome((home) => {
  for (const { what, binding, given, table, left } of DUE) {
    test(`${what} although the alarm failed ${FAILURES} times`, async () => {
      const name = await given(home);
      await home.rows(binding, name, `ALTER TABLE ${table} RENAME TO hidden`);
      for (let failures = 1; failures <= FAILURES; failures++) {
        await home.setClockAhead(5 * DAY_MS + failures * HOUR_MS);
        assert.equal(await home.ringDue(binding, name), true);
      }
      await home.rows(binding, name, `ALTER TABLE hidden RENAME TO ${table}`);
      await home.setClockAhead(5 * DAY_MS + (FAILURES + 1) * HOUR_MS);
      assert.equal(await home.ringDue(binding, name), true);
      assert.deepEqual(await home.rows(binding, name, left), [{ count: 0 }]);
      await home.setClockAhead(0);
    });

    test(`${what} although the platform dropped the alarm`, async () => {
      const name = await given(home);
      await home.dropAlarm(binding, name);
      await home.evict(binding, name);
      await home.alarmSet(binding, name);
      await home.setClockAhead(5 * DAY_MS);
      assert.equal(await home.ringDue(binding, name), true);
      assert.deepEqual(await home.rows(binding, name, left), [{ count: 0 }]);
      await home.setClockAhead(0);
    });
  }

  test('an alarm that fails is repeated at most an hour later', async () => {
    const { repository } = await push(home);
    await home.rows('REPOSITORY', repository, 'ALTER TABLE refusals RENAME TO hidden');
    const start = Date.now() + 2 * GRACE_MS;
    await home.stopClock(start);
    const delays: number[] = [];
    for (let now = start; delays.length < FAILURES; now = start + delays.reduce((sum, ms) => sum + ms, 0)) {
      await home.stopClock(now);
      await home.ringDue('REPOSITORY', repository);
      delays.push(((await home.alarmAt('REPOSITORY', repository)) ?? 0) - now);
    }
    assert.deepEqual(
      delays.map((ms) => ms / 1000),
      [30, 60, 120, 240, 480, 960, 1920, 3600],
    );
    await home.setClockAhead(0);
  });

  test('an object whose alarm is set does not set it again when it starts', async () => {
    const { repository } = await push(home);
    const at = await home.alarmAt('REPOSITORY', repository);
    await home.evict('REPOSITORY', repository);
    await home.alarmSet('REPOSITORY', repository);
    assert.equal(await home.alarmAt('REPOSITORY', repository), at);
  });
}, WITHOUT_INLINE);

/** An index of nothing. A repository that holds it is not empty, and keeps its tables. */
const EMPTY_INDEX = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [],
});

/** Pushes a blob that no manifest references. */
async function push(home: Home): Promise<{ repository: string; shard: string }> {
  const [repository, bytes] = [repositoryName('alarm'), blob()];
  const url = `${home.url}/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`;
  assert.equal((await fetch(url, { method: 'POST', body: bytes })).status, 201);
  const manifest = await fetch(`${home.url}/v2/${repository}/manifests/latest`, {
    method: 'PUT',
    body: EMPTY_INDEX,
    headers: { 'Content-Type': 'application/vnd.oci.image.index.v1+json' },
  });
  assert.equal(manifest.status, 201);
  return { repository, shard: digestOf(bytes).slice(7, 9) };
}
