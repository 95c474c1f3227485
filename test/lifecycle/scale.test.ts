/** Retention of very many tags: rows are counted, and no step passes a limit of production. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Plan } from '../../worker/lifecycle/plan.ts';
import { DAY_MS, Kept } from '../deleting/client.ts';
import { AHEAD } from '../durable-objects/calls.ts';
import { imageManifest, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { retention } from './policies.ts';

interface Scale {
  tags: number;
  manifests: number;
  /** Tags that the policy keeps. */
  kept: number;
  /** Steps that delete, of as many as there are: they are all alike. */
  steps: number;
}

/** Of one step: 80 tags with about 9 rows each. */
const STEP_ROWS = 1000;
/** Of a tag with its own manifest. */
const ROWS_PER_TAG = 9.5;

const SCALES: Scale[] = [
  { tags: 10_000, manifests: 10_000, kept: 1000, steps: 1000 },
  { tags: 100_000, manifests: 20_000, kept: 1000, steps: 50 },
];

onHome('r2', (home) => {
  for (const { tags, manifests, kept, steps } of SCALES) {
    test(`${tags} tags of ${manifests} manifests are judged, planned and deleted in steps`, async () => {
      const client = new Kept(home, repositoryName('scale'));
      await home.stopClock(AHEAD - 60 * DAY_MS);
      await client.pushManifest(client.name, 'first', imageManifest());
      await fill(client, manifests, tags);
      await home.stopClock(AHEAD);
      const policies = [
        retention({ keep: [{ lastPushed: Math.floor((kept * manifests) / tags) }], after: 30 }),
      ];
      await home.call('REPOSITORY', client.name, 'setPolicies', { revision: 1, policies });

      const counted = async (work: () => Promise<void>) => {
        await home.reset();
        await work();
        await home.settled();
        const { statements } = await home.counts();
        // Shards that no test has used yet make their tables.
        const own = Object.entries(statements).filter(([statement]) => statement.startsWith('Repository:'));
        return own.reduce((sum, [, { written }]) => sum + written, 0);
      };
      const planRows = await counted(async () => void (await client.settle()));
      const { plan } = await home.call<{ plan: Plan }>('REPOSITORY', client.name, 'plan', 0, 0);
      assert.equal(plan.of, tags + 1);
      assert.ok(plan.tags >= tags - kept && plan.tags <= tags, `${plan.tags} tags`);
      assert.equal(plan.state, 'approval');
      assert.ok(planRows < plan.tags / 400 + 30, `the plan wrote ${planRows} rows`);
      // Each manifest has two blobs of its own: one of 1,000 bytes, and one of 24.
      const going = plan.manifests - 1;
      assert.ok(plan.bytes >= 1024 * going && plan.bytes < 1024 * (going + 1) + 1000, `${plan.bytes} bytes`);

      await home.call('REPOSITORY', client.name, 'actOnPlan', 'run', null, {
        actor: '',
        address: '',
        maintains: [],
      });
      let total = 0;
      let isDue = true;
      for (let step = 0; isDue && step < steps; step++) {
        const rows = await counted(async () => {
          isDue = await home.ringDue('REPOSITORY', client.name);
        });
        assert.ok(rows <= STEP_ROWS, `${rows} rows in a step`);
        total += rows;
      }
      const { plan: applied } = await home.call<{ plan: Plan }>('REPOSITORY', client.name, 'plan', 0, 0);
      if (!isDue) assert.deepEqual([applied.state, applied.deleted], ['applied', plan.tags]);
      assert.ok(applied.deleted >= Math.min(80 * steps, plan.tags), `${applied.deleted} tags`);
      assert.ok(total / applied.deleted < ROWS_PER_TAG, `${total / applied.deleted} rows a tag`);
      assert.deepEqual(await home.violations(), []);
    });
  }
});

/** Rows as pushes of an image an hour would have written them, each with two blobs of its own. */
async function fill({ home, name }: Kept, manifests: number, tags: number): Promise<void> {
  const sql = (query: string) => home.rows('REPOSITORY', name, query);
  const series = (count: number) =>
    `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${count - 1})`;
  const digest = (kind: number, i: string) =>
    `'sha256:' || printf('%02x', ${i} % 256) || printf('%062x', ${i} * 4 + ${kind})`;
  await sql(`${series(manifests)} INSERT INTO manifests (digest, media_type, size, pushed_at, generation)
    SELECT ${digest(1, 'i')}, 'application/vnd.oci.image.manifest.v1+json', 500, ${AHEAD} - 60 * 86400000, 1000 + i FROM n`);
  await sql(`${series(manifests)} INSERT INTO manifest_names (manifest, digests)
    SELECT ${digest(1, 'i')}, json_array(${digest(2, 'i')}, ${digest(3, 'i')}) FROM n`);
  for (const kind of [2, 3]) {
    await sql(`${series(manifests)} INSERT INTO named_by (digest, manifest)
      SELECT ${digest(kind, 'i')}, ${digest(1, 'i')} FROM n`);
    await sql(`${series(manifests)} INSERT INTO blobs (digest, key, size, link)
      SELECT ${digest(kind, 'i')}, 'blobs/' || i || '-${kind}', ${kind === 2 ? 1000 : 24}, 'link-' || i || '-${kind}' FROM n`);
  }
  await sql(`${series(tags)} INSERT INTO tags (name, digest, updated_at, generation)
    SELECT printf('t%06d', i), ${digest(1, `(i % ${manifests})`)}, ${AHEAD} - 60 * 86400000 + (i % ${manifests}) * 1000, 1000 + i % ${manifests} FROM n`);
  await sql(`${series(tags)} INSERT INTO tag_history (tag, seq, digest, at, actor, address, why)
    SELECT printf('t%06d', i), 1, ${digest(1, `(i % ${manifests})`)}, ${AHEAD} - 60 * 86400000, '', '', 'push' FROM n`);
}
