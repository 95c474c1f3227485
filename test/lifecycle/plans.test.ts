/** Runs of the retention policies: a plan first, with exact bytes, and deletions only of what no rule keeps when it is applied. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Plan, PlannedTag } from '../../worker/lifecycle/plan.ts';
import type { KeepRule, RetentionPolicy } from '../../worker/lifecycle/policy.ts';
import type { Pattern } from '../../worker/oci/pattern.ts';
import { bytesInStore, DAY_MS, eachHome, Kept } from '../deleting/client.ts';
import { AHEAD } from '../durable-objects/calls.ts';
import { letTimePass } from '../faults/remains.ts';
import { blob, imageIndex, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { retention } from './policies.ts';

const HOUR_MS = 3600 * 1000;

/** A repository whose clock stands, with a policy. */
class Ruled extends Kept {
  #revision = 0;
  /** The time of the test. The platform rings no alarm before it. */
  base = AHEAD;

  async rule(keep: KeepRule[], more: Partial<Omit<RetentionPolicy, 'kind'>> = {}): Promise<void> {
    const policies = [retention({ id: String(++this.#revision), keep, after: 30, ...more })];
    await this.home.call('REPOSITORY', this.name, 'setPolicies', { revision: this.#revision, policies });
  }

  async pushed(tag: string, daysAgo: number, image: Manifest = imageManifest()): Promise<Manifest> {
    await this.home.stopClock(this.base - daysAgo * DAY_MS);
    await this.pushManifest(this.name, tag, image);
    await this.home.stopClock(this.base);
    return image;
  }

  /** Tags that keep a plan from waiting for a person. */
  async pushOthers(count = 8): Promise<void> {
    for (let at = 0; at < count; at++) await this.pushed(`other-${at}`, 2);
  }

  async plan(): Promise<Plan | null> {
    return (await this.answer()).plan;
  }

  answer(after = 0, count = 1000): Promise<{ plan: Plan | null; tags: PlannedTag[] }> {
    return this.home.call('REPOSITORY', this.name, 'plan', after, count);
  }

  act(action: string, id: string | null = null): Promise<Plan | null> {
    const by = { actor: 'user:bob', address: '', maintains: [] };
    return this.home.call('REPOSITORY', this.name, 'actOnPlan', action, id, by);
  }

  /** Stops the clock later, and does what is due then. */
  async at(ms: number): Promise<void> {
    await this.home.stopClock(this.base + ms);
    await this.settle();
  }
}

eachHome((home: Home) => {
  const ruled = () => new Ruled(home, repositoryName('planned'));

  test('a plan is stored with its rules and bytes, waits a day, and is applied as one deletion that can be undone', async () => {
    const client = ruled();
    await client.pushOthers();
    const old = await client.pushed('old', 60, imageManifest({ layers: [blob(3000), blob(500)] }));
    await client.pushed('kept', 61);
    await client.rule([{ matches: 'kept' as Pattern }, { youngerThan: 30 }]);
    await client.settle();
    const { plan, tags } = await client.answer();
    assert.deepEqual(
      [plan?.state, plan?.tags, plan?.of, plan?.manifests, plan?.approval, plan?.applyAt],
      ['waiting', 1, 10, 1, null, AHEAD + DAY_MS],
    );
    assert.equal(
      plan?.bytes,
      old.blobs.reduce((sum, { length }) => sum + length, 0),
    );
    assert.deepEqual(
      tags.map(({ tag, digest, policy }) => [tag, digest, policy]),
      [['old', old.digest, '1']],
    );
    assert.match(tags[0]?.why ?? '', /^expired on .*: no rule keeps it, and it was pushed 60 days ago$/);
    await client.at(DAY_MS - 1);
    assert.equal(await client.statusOf('manifests/old'), 200);
    await client.at(DAY_MS);
    assert.equal(await client.statusOf('manifests/old'), 404);
    assert.equal(await client.statusOf(`manifests/${old.digest}`), 404);
    assert.equal(await client.statusOf('manifests/kept'), 200);
    const applied = await client.plan();
    assert.deepEqual([applied?.state, applied?.deleted, applied?.kept], ['applied', 1, 0]);
    const [deletion] = await client.deletions();
    assert.deepEqual([deletion?.id, deletion?.why, deletion?.tags], [applied?.deletion, 'retention', 1]);
    await client.restore({ deletion: applied?.deletion });
    await client.settle();
    assert.equal(await client.pullManifest(client.name, 'old'), old.digest);
  });

  test('the bytes of a plan are what the store frees: of shared blobs, indexes, referrers and signatures', async () => {
    const client = ruled();
    // `letTimePass` begins at the real time.
    client.base = Date.now() + 60_000;
    const [shared, both] = [blob(4000), blob(2000)];
    await client.pushOthers(12);
    await client.pushed('stays', 2, imageManifest({ layers: [shared] }));
    await client.pushed('one', 60, imageManifest({ layers: [shared, both] }));
    const two = await client.pushed('two', 60, imageManifest({ layers: [both, blob(100)] }));
    const child = imageManifest({ layers: [blob(300)] });
    await client.pushed(child.digest, 60, child);
    await client.pushed('index', 60, imageIndex([child]));
    const referrer = imageManifest({ layers: [blob(700)], subject: two.descriptor, artifactType: 'a/b' });
    await client.pushed(referrer.digest, 59, referrer);
    const signature = imageManifest({ layers: [blob(900)] });
    await client.pushed(`${two.digest.replace(':', '-')}.sig`, 1, signature);
    await client.rule([]);
    await client.settle();
    const { plan, tags } = await client.answer();
    assert.deepEqual(
      tags.map(({ tag }) => tag),
      ['index', 'one', 'two'],
    );
    assert.equal(plan?.manifests, 6);
    const before = await bytesInStore(client);
    await client.act('run');
    await client.settle();
    assert.deepEqual((await client.plan())?.state, 'applied');
    assert.equal(await client.statusOf(`manifests/${two.digest.replace(':', '-')}.sig`), 404);
    await letTimePass(client, 20);
    assert.equal(before - (await bytesInStore(client)), plan?.bytes);
  });

  test('what is pushed, pulled or kept by a new rule before the plan is applied stays', async () => {
    const client = ruled();
    await client.pushOthers(10);
    for (const tag of ['deleted', 'pulled', 'pushed']) await client.pushed(tag, 60);
    await client.rule([{ pulledWithin: 30 }]);
    await client.settle();
    assert.equal((await client.plan())?.tags, 3);
    await home.stopClock(AHEAD + HOUR_MS);
    await client.pullManifest(client.name, 'pulled');
    await client.pushManifest(client.name, 'pushed', imageManifest());
    await home.settled();
    await client.at(DAY_MS);
    const plan = await client.plan();
    assert.deepEqual([plan?.state, plan?.deleted, plan?.kept], ['applied', 1, 2]);
    assert.deepEqual(
      await Promise.all(['deleted', 'pulled', 'pushed'].map((tag) => client.statusOf(`manifests/${tag}`))),
      [404, 200, 200],
    );
  });

  test('a tag that has moved since the plan is not deleted, although it has expired again', async () => {
    const client = ruled();
    await client.pushOthers();
    await client.pushed('old', 60);
    await client.rule([{ matches: 'other-*' as Pattern }], { after: 0 });
    await client.settle();
    const other = await client.pushed('old', 0);
    await client.act('run');
    await client.settle();
    const plan = await client.plan();
    assert.deepEqual([plan?.state, plan?.deleted, plan?.kept], ['applied', 0, 1]);
    assert.equal(await client.pullManifest(client.name, 'old'), other.digest);
    assert.deepEqual(await client.deletions(), []);
  });

  test('a push that takes the place of an old tag is judged within a day', async () => {
    const client = ruled();
    for (const tag of ['a', 'b', 'c', 'd']) await client.pushed(tag, 60 - tag.charCodeAt(0) / 10);
    await client.rule([{ lastPushed: 4 }]);
    await client.settle();
    assert.equal(await client.plan(), null);
    await client.pushed('e', 0);
    await client.at(DAY_MS - 1);
    assert.equal(await client.plan(), null);
    await client.at(DAY_MS);
    const { plan, tags } = await client.answer();
    assert.deepEqual([plan?.tags, tags[0]?.tag], [1, 'a']);
  });

  test('a cancelled plan deletes nothing, and the next one comes 7 days later', async () => {
    const client = ruled();
    await client.pushOthers();
    await client.pushed('old', 60);
    // Without the cancel, this one would be judged in 3 days.
    await client.pushed('soon', 27);
    await client.rule([{ youngerThan: 30 }]);
    await client.settle();
    assert.equal(await client.act('cancel', 'another'), null);
    const cancelled = await client.act('cancel', (await client.plan())?.id);
    assert.deepEqual([cancelled?.state, cancelled?.actor], ['cancelled', 'user:bob']);
    assert.equal(await client.act('cancel'), null);
    await client.at(6 * DAY_MS);
    assert.equal((await client.plan())?.id, cancelled?.id);
    assert.ok((await client.tagsOf())?.includes('old'));
    await client.at(7 * DAY_MS);
    const next = await client.plan();
    assert.deepEqual([next?.state, next?.tags], ['waiting', 2]);
  });

  test('a plan of more than 30 % waits for a person, who may approve or run it', async () => {
    const client = ruled();
    await client.pushOthers(2);
    await client.pushed('old', 60);
    await client.rule([{ youngerThan: 30 }]);
    await client.settle();
    const waiting = await client.plan();
    assert.deepEqual(
      [waiting?.state, waiting?.approval],
      ['approval', 'it deletes 1 of 3 tags, which is more than 30 %'],
    );
    await client.at(2 * DAY_MS);
    assert.equal(await client.statusOf('manifests/old'), 200);
    await client.act('approve');
    await client.settle();
    assert.equal(await client.statusOf('manifests/old'), 404, 'its day has passed');
    const [deletion] = await client.deletions();
    assert.equal(deletion?.actor, 'user:bob');
  });

  test('a plan waits for a person because of a tag that was pulled lately, and is made anew after 7 days', async () => {
    const client = ruled();
    await client.pushOthers();
    await client.pushed('old', 60);
    await home.stopClock(AHEAD - 6 * DAY_MS);
    await client.pullManifest(client.name, 'old');
    await home.settled();
    await home.stopClock(AHEAD);
    await client.rule([{ youngerThan: 30 }]);
    await client.settle();
    const waiting = await client.plan();
    assert.equal(waiting?.approval, 'the tag old was pulled within the last 7 days');
    await client.at(7 * DAY_MS);
    const next = await client.plan();
    assert.notEqual(next?.id, waiting?.id);
    assert.deepEqual([next?.state, next?.approval], ['waiting', null]);
  });

  test('a plan is run at once if a person asks for it', async () => {
    const client = ruled();
    await client.pushOthers();
    await client.pushed('old', 60);
    await client.rule([{ youngerThan: 30 }]);
    await client.settle();
    await client.act('run');
    await client.settle();
    assert.equal(await client.statusOf('manifests/old'), 404);
  });

  test('a change of the policies replaces a plan', async () => {
    const client = ruled();
    await client.pushOthers();
    await client.pushed('old', 60);
    await client.rule([{ youngerThan: 30 }]);
    await client.settle();
    await client.rule([{ youngerThan: 90 }]);
    await client.settle();
    assert.equal((await client.plan())?.state, 'replaced');
    await client.at(3 * DAY_MS);
    assert.equal(await client.statusOf('manifests/old'), 200);
  });

  test('a run of many tags is cut off at every step, and goes on', async () => {
    const client = ruled();
    await client.pushOthers();
    const image = await client.pushed('t', 60);
    await home.rows(
      'REPOSITORY',
      client.name,
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
       INSERT INTO tags (name, digest, updated_at, generation)
         SELECT printf('t%04d', i), digest, ${AHEAD} - 60 * 86400000, generation FROM n, manifests
         WHERE digest = '${image.digest}'`,
    );
    await client.rule([{ youngerThan: 30 }]);
    const ringCut = async () => {
      await home.evict('REPOSITORY', client.name);
      await home.alarmSet('REPOSITORY', client.name);
      return home.ringDue('REPOSITORY', client.name);
    };
    while (await ringCut());
    const plan = await client.plan();
    assert.deepEqual([plan?.state, plan?.tags, plan?.manifests], ['approval', 701, 1]);
    assert.equal((await client.answer(500, 10)).tags.length, 10);
    assert.equal((await client.answer(700, 10)).tags.length, 1);
    await client.act('run');
    let steps = 0;
    while (await ringCut()) steps++;
    assert.ok(steps >= 9, `${steps} steps`);
    const applied = await client.plan();
    assert.deepEqual([applied?.state, applied?.deleted], ['applied', 701]);
    assert.equal((await client.tagsOf())?.length, 8);
    assert.equal((await client.deletions()).length, 1);
    assert.deepEqual(await home.violations(), []);
  });
});
