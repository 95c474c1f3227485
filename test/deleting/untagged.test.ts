/** Untagged manifests are deleted some days after they lost their last tag, if a policy says so, and never what something needs. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { artifact, imageIndex, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import { DAY_MS, eachHome, Kept } from './client.ts';

const AFTER_DAYS = 20;

eachHome((home) => {
  before(async () => {
    const policy = { kind: 'retention', repositories: 'untagged/*', keep: [{ matches: '**' }], after: 3650 };
    const body = JSON.stringify({ ...policy, untaggedAfter: AFTER_DAYS });
    const headers = { 'Content-Type': 'application/json' };
    const made = await fetch(`${home.url}/api/v1/lifecycle`, { method: 'POST', headers, body });
    assert.equal(made.status, 201, await made.text());
  });
  // The platform's clock is behind: no alarm rings but by these tests.
  const start = Math.ceil(Date.now() / DAY_MS + 1) * DAY_MS;
  const at = (day: number) => home.stopClock(start + day * DAY_MS);
  const passUntil = async (client: Kept, from: number, day: number) => {
    for (let now = from; now <= day; now++) {
      await at(now);
      await client.settle();
    }
  };
  const there = async (client: Kept, ...images: Manifest[]) => {
    const statuses: number[] = [];
    for (const { digest } of images) statuses.push(await client.statusOf(`manifests/${digest}`));
    return statuses.map((status) => status === 200);
  };

  test('an untagged manifest is deleted when its days are over, counted from its last tag', async () => {
    const client = new Kept(home, repositoryName('untagged'));
    await at(0);
    const [moved, never, kept] = [imageManifest(), imageManifest(), imageManifest()];
    await client.pushManifest(client.name, 'v1', moved);
    await client.pushManifest(client.name, never.digest, never);
    await passUntil(client, 1, 9);
    await at(10);
    await client.pushManifest(client.name, 'v1', kept);
    await passUntil(client, 11, 19);
    assert.deepEqual(await there(client, moved, never, kept), [true, true, true]);
    await passUntil(client, 20, 22);
    assert.deepEqual(await there(client, moved, never, kept), [true, false, true]);
    await passUntil(client, 23, 29);
    assert.deepEqual(await there(client, moved, kept), [true, true]);
    await passUntil(client, 30, 32);
    assert.deepEqual(await there(client, moved, kept), [false, true]);
    const deletions = await client.deletions();
    assert.deepEqual(
      deletions.map(({ why, names }) => [why, names]),
      [
        ['retention', [moved.digest]],
        ['retention', [never.digest]],
      ],
    );
    // Restored, it stays as long again.
    await client.restore({ deletion: deletions[0]?.id });
    await passUntil(client, 33, 50);
    assert.deepEqual(await there(client, moved, kept), [true, true]);
    await passUntil(client, 51, 54);
    assert.deepEqual(await there(client, moved, kept), [false, true]);
    await home.setClockAhead(0);
  });

  test('children of an index, referrers of what is there, and running images stay', async () => {
    const client = new Kept(home, repositoryName('untagged'));
    await at(0);
    const [child, deep, running, lone] = [1, 2, 3, 4].map(() => imageManifest()) as [
      Manifest,
      Manifest,
      Manifest,
      Manifest,
    ];
    const inner = imageIndex([deep]);
    const index = imageIndex([child, inner]);
    const referrer = artifact({ subject: child.descriptor });
    const orphanIndex = imageIndex([lone]);
    for (const one of [child, deep, inner, running, lone, orphanIndex, referrer])
      await client.pushManifest(client.name, one.digest, one);
    await client.pushManifest(client.name, 'all', index);
    const report = { source: 'cluster', images: [`registry.example/${client.name}@${running.digest}`] };
    for (let day = 1; day <= 23; day++) {
      await at(day);
      await fetch(`${home.url}/api/v1/running`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(report),
      }).then(async (answer) => assert.ok(answer.ok, await answer.text()));
      await client.settle();
    }
    assert.deepEqual(await there(client, index, inner, child, deep, referrer, running), Array(6).fill(true));
    assert.deepEqual(await there(client, orphanIndex, lone), [false, false]);
    const [deletion, ...others] = await client.deletions();
    assert.deepEqual([deletion?.manifests, others], [2, []]);
    await home.setClockAhead(0);
  });
});
