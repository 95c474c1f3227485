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
  /** Rows written for each tag that is deleted, at most. */
  rowsPerTag: number;
}

const SCALES: Scale[] = [
  { tags: 10_000, manifests: 10_000, kept: 1000, rowsPerTag: 9.5 },
  { tags: 100_000, manifests: 20_000, kept: 1000, rowsPerTag: 7 },
];

onHome('r2', (home) => {
  for (const { tags, manifests, kept, rowsPerTag } of SCALES) {
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
      let longest = 0;
      const ring = async () => {
        const from = performance.now();
        const isDue = await home.ringDue('REPOSITORY', client.name);
        longest = Math.max(longest, performance.now() - from);
        return isDue;
      };
      const planRows = await counted(async () => {
        while (await ring());
      });
      const judged = longest;
      longest = 0;
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
      let steps = 0;
      const rows = await counted(async () => {
        while (await ring()) steps++;
      });
      const { plan: applied } = await home.call<{ plan: Plan }>('REPOSITORY', client.name, 'plan', 0, 0);
      assert.deepEqual([applied.state, applied.deleted], ['applied', plan.tags]);
      assert.ok(rows / plan.tags < rowsPerTag, `${rows / plan.tags} rows a tag`);
      assert.ok(steps >= plan.tags / 80, `${steps} steps`);
      assert.deepEqual(await home.violations(), []);
      console.log(
        `${tags} tags: the plan wrote ${planRows} rows; ${plan.tags} tags were deleted in ${steps} steps with ${rows} rows, ${(rows / plan.tags).toFixed(1)} a tag; the longest steps took ${Math.round(judged)} and ${Math.round(longest)} ms`,
      );
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
