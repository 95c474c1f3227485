/**
 * What a repository says that it uses is what a count of its rows finds, after each of many random changes. A failure prints the seed and
 * the smallest list of changes that shows it.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { DAY_MS, eachHome, Kept } from '../deleting/client.ts';
import {
  artifact,
  blob,
  digest,
  imageIndex,
  imageManifest,
  type Manifest,
  repositoryName,
} from '../support/fixtures.ts';
import { countersOf } from './counters.ts';

const SEED = 20_261_130;
const RUNS = 60;
const TAGS = ['v1', 'v2', 'v3'];
/** Above this, referrers are deleted in steps. */
const REFERRERS = 205;
/** Manifests that share a blob. One step of a deletion moves about 150. */
const SHARING = 2000;

/** Sizes are such that a wrong sum names its blobs. */
const blobs = [1001, 2002, 4004, 8008, 16_016].map((size) => blob(size));
const images = [
  [0, 1],
  [0, 2],
  [1, 2, 3],
  [3, 4],
].map((layers) =>
  imageManifest({ config: blobs[0] as Buffer, layers: layers.map((at) => blobs[at] as Buffer) }),
);
const [first, second] = images as [Manifest, Manifest];
const manifests = [
  ...images,
  imageIndex([first, second]),
  imageManifest({ layers: [blobs[4] as Buffer], config: blobs[3] as Buffer, subject: first.descriptor }),
];

type Step =
  | { kind: 'push'; manifest: number; tag: number }
  | { kind: 'push-blob' | 'delete-blob' | 'lose-blob'; blob: number }
  | { kind: 'delete-tag' | 'remove-tag' | 'restore-tag'; tag: number }
  | { kind: 'delete-manifest'; manifest: number }
  | { kind: 'restore' | 'purge'; deletion: number; force: boolean }
  | { kind: 'remove-all' | 'alarm' | 'evict' | 'weeks' }
  | { kind: 'recount'; to: number };

const oneOf = (list: readonly unknown[]) => fc.nat({ max: list.length - 1 });
const steps = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('push' as const),
      manifest: oneOf(manifests),
      tag: oneOf(TAGS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('push-blob', 'delete-blob', 'lose-blob'),
      blob: oneOf(blobs),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('delete-tag', 'remove-tag', 'restore-tag'),
      tag: oneOf(TAGS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('delete-manifest' as const), manifest: oneOf(manifests) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('restore', 'restore', 'purge'),
      deletion: fc.nat({ max: 2 }),
      force: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('remove-all', 'alarm', 'alarm', 'evict', 'weeks') }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('recount' as const), to: oneOf(manifests) }) },
) as fc.Arbitrary<Step>;

for (const undoDays of ['14', '0']) {
  eachHome(
    (home) => {
      let ahead = DAY_MS;
      before(() => home.setClockAhead(ahead)); // No alarm rings but by this test.

      /** As in a repository of an earlier release of which the alarm has counted some manifests. */
      const forgetCounts = async (client: Kept, to: string) => {
        if ((await countersOf(home, client.name)) === null) return;
        const set = (text: string) => home.rows('REPOSITORY', client.name, `UPDATE repository SET ${text}`);
        await set(`count_after = '${to}'`);
        const { wanted } = (await countersOf(home, client.name)) ?? assert.fail('there are counters');
        await set(
          `used_bytes = ${wanted.bytes}, trashed_bytes = ${wanted.trashedBytes}, tag_count = ${wanted.tags}, manifest_count = ${wanted.manifests}`,
        );
        await home.evict('REPOSITORY', client.name);
      };

      const take = async (client: Kept, step: Step): Promise<void> => {
        const { name } = client;
        switch (step.kind) {
          case 'push': {
            const manifest = manifests[step.manifest] as Manifest;
            await client.want(201, 'PUT', `/v2/${name}/manifests/${TAGS[step.tag]}`, {
              body: manifest.bytes,
              headers: { 'Content-Type': manifest.mediaType },
            });
            return;
          }
          case 'push-blob':
            await client.pushBlob(name, blobs[step.blob] as Buffer);
            return;
          case 'delete-blob':
            await client.send('DELETE', `/v2/${name}/blobs/${digest(blobs[step.blob] as Buffer)}`);
            return;
          case 'lose-blob': {
            if (await home.isEmpty('REPOSITORY', name)) return;
            const lost = digest(blobs[step.blob] as Buffer);
            const [row] = await home.rows(
              'REPOSITORY',
              name,
              `SELECT key FROM blobs WHERE digest = '${lost}'`,
            );
            if (row !== undefined) await home.call('REPOSITORY', name, 'dropLostBlob', lost, row.key);
            return;
          }
          case 'delete-tag':
            await client.send('DELETE', `/v2/${name}/manifests/${TAGS[step.tag]}`);
            return;
          case 'remove-tag':
            await client.delete({ tags: [TAGS[step.tag]] });
            return;
          case 'restore-tag':
            await client.restore({ tag: TAGS[step.tag], at: null, digest: null });
            return;
          case 'delete-manifest':
            await client.send('DELETE', `/v2/${name}/manifests/${manifests[step.manifest]?.digest}`);
            return;
          case 'restore':
          case 'purge': {
            const found = (await client.deletions())[step.deletion];
            if (found === undefined) return;
            if (step.kind === 'purge') await home.call('REPOSITORY', name, 'purge', found.id, false);
            else await client.restore({ deletion: found.id }, { force: step.force });
            return;
          }
          case 'remove-all':
            await client.delete({ all: true });
            return;
          case 'alarm':
            await home.ringDue('REPOSITORY', name);
            return;
          case 'evict':
            await home.evict('REPOSITORY', name);
            return;
          case 'weeks':
            ahead += 10 * DAY_MS;
            await home.setClockAhead(ahead);
            await client.settle();
            return;
          case 'recount':
            await forgetCounts(client, manifests[step.to]?.digest ?? '');
        }
      };

      const expectCounted = async (client: Kept, after: string) => {
        const counters = await countersOf(home, client.name);
        if (counters !== null) assert.deepEqual(counters.found, counters.wanted, `after ${after}`);
        return counters;
      };

      test('the counters of a repository are what a count finds, after each of random changes', async () => {
        const property = fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 40 }), async (list) => {
          const client = new Kept(home, repositoryName('counted'));
          for (const bytes of blobs.slice(0, 4)) await client.pushBlob(client.name, bytes);
          for (const [at, step] of list.entries()) {
            await take(client, step);
            await expectCounted(client, `step ${at}: ${JSON.stringify(step)}`);
          }
        });
        await fc.assert(property, { seed: SEED, numRuns: RUNS });
      });

      test('referrers that leave in steps count no more at once, and count again when they are restored', async () => {
        const client = new Kept(home, repositoryName('referred'));
        await client.pushManifest(client.name, 'v1', first);
        const referrers = Array.from({ length: REFERRERS }, () => artifact({ subject: first.descriptor }));
        for (const [at, referrer] of referrers.entries()) {
          if (at < 3) await client.pushManifest(client.name, at === 0 ? 'signed' : referrer.digest, referrer);
          else assert.equal((await client.putManifest(client.name, referrer.digest, referrer)).status, 201);
        }
        const whole = await expectCounted(client, 'the pushes');
        assert.equal(whole?.found.manifests, REFERRERS + 1);
        await client.delete({ manifests: [first.digest] });
        const left = await expectCounted(client, 'the deletion');
        assert.equal(left?.found.manifests, 1);
        await client.send('DELETE', `/v2/${client.name}/manifests/signed`);
        await expectCounted(client, 'the deletion of a tag');
        await home.ringDue('REPOSITORY', client.name);
        await expectCounted(client, 'a step');
        const [, deletion] = await client.deletions();
        if (undoDays !== '0') await client.restore({ deletion: deletion?.id });
        await expectCounted(client, 'the restore');
        await client.settle();
        await expectCounted(client, 'all steps');
      });

      test('a step of a large deletion does not look at all manifests that share a blob', async () => {
        const client = new Kept(home, repositoryName('shared'));
        await client.pushManifest(client.name, 'v1', first);
        const layer = digest(blobs[0] as Buffer);
        const rows = (statement: string) =>
          home.rows(
            'REPOSITORY',
            client.name,
            `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${SHARING})
             ${statement.replaceAll('DIGEST', `'sha256:aaaa' || printf('%060x', n)`)}`,
          );
        await rows(
          `INSERT INTO manifests (digest, media_type, size, pushed_at, generation) SELECT DIGEST, 'a/b', 1, 1, n FROM n`,
        );
        await rows(`INSERT INTO named_by (digest, manifest) SELECT '${layer}', DIGEST FROM n`);
        await rows(
          `INSERT INTO manifest_names (manifest, digests) SELECT DIGEST, json_array('${layer}') FROM n`,
        );
        await rows(`UPDATE repository SET manifest_count = ${SHARING + 1}`);
        await home.evict('REPOSITORY', client.name);
        await client.delete({ all: true });
        await home.settled();
        await home.reset();
        await home.ringDue('REPOSITORY', client.name);
        await home.settled();
        const { rowsRead } = await home.counts();
        assert.ok(rowsRead < 10 * SHARING, `${rowsRead} rows read`);
        await expectCounted(client, 'a step');
        await client.settle();
        await expectCounted(client, 'all steps');
      });

      test('a repository of an earlier release is counted in steps', async () => {
        const client = new Kept(home, repositoryName('earlier'));
        for (let at = 0; at < 450; at++) {
          const index = imageIndex([]);
          assert.equal((await client.putManifest(client.name, index.digest, index)).status, 201);
        }
        await client.pushManifest(client.name, 'v1', first);
        const whole = await expectCounted(client, 'the pushes');
        await forgetCounts(client, '');
        const rings = [];
        while ((await expectCounted(client, 'a step'))?.countedTo !== null) {
          rings.push(await expectCounted(client, 'a step'));
          await home.ring('REPOSITORY', client.name);
        }
        assert.ok(rings.length <= 3, `${rings.length} steps`);
        assert.deepEqual((await expectCounted(client, 'all steps'))?.found, whole?.found);
      });
    },
    { UNDO_DAYS: undoDays, SPARSE_MANIFESTS: 'true' },
  );
}
