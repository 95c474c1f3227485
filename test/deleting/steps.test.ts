/** Large deletions are in steps: all is gone at once, and every step is small. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { artifact, imageManifest, repositoryName } from '../support/fixtures.ts';
import { DAY_MS, eachHome, Kept } from './client.ts';

const TAGS = 100_000;
const MANIFESTS = 20_000;
const REFERRERS = 50_000;
/** One step writes about 1,000 rows for each kind of work, and indexes are rows too. */
const STEP_ROWS = 2000;

eachHome((home) => {
  const numbers = (count: number) =>
    `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${count})`;
  const digest = (prefix: string) => `'sha256:${prefix}' || printf('%060x', n)`;
  const insert = (client: Kept, count: number, statement: string) =>
    home.rows('REPOSITORY', client.name, `${numbers(count)} ${statement}`);
  const written = async (run: () => Promise<unknown>) => {
    await home.settled();
    await home.reset();
    await run();
    await home.settled();
    return (await home.counts()).rowsWritten;
  };
  /** Rings the alarm until nothing is due, up to `most` times, and holds each step to its rows. Returns how often it rang. */
  const steps = async (client: Kept, most = 1000): Promise<number> => {
    for (let rings = 0; rings < most; rings++) {
      let isDue = false;
      const rows = await written(async () => {
        isDue = await home.ringDue('REPOSITORY', client.name);
      });
      assert.ok(rows <= STEP_ROWS, `${rows} rows in one step`);
      if (!isDue) return rings;
    }
    return most;
  };
  const fill = async (client: Kept, manifests: number, tags: number) => {
    await insert(
      client,
      manifests,
      `INSERT INTO manifests (digest, media_type, size, pushed_at, generation) SELECT ${digest('aaaa')}, 'application/json', 1, 1, n FROM n`,
    );
    await insert(
      client,
      tags,
      `INSERT INTO tags (name, digest, updated_at, generation)
         SELECT 'tag-' || printf('%06d', n), m.digest, 1, m.generation FROM n JOIN manifests m
           ON m.digest = 'sha256:aaaa' || printf('%060x', n % ${manifests} + 1)`,
    );
    await home.rows(
      'REPOSITORY',
      client.name,
      `INSERT INTO tag_history (tag, seq, digest, at) SELECT name, 1, digest, ${Date.now()} FROM tags WHERE name <> 'v1'`,
    );
  };
  const count = async (client: Kept, table: string) =>
    (await home.rows('REPOSITORY', client.name, `SELECT COUNT(*) AS count FROM ${table}`))[0]?.count;

  before(() => home.setClockAhead(DAY_MS)); // No alarm rings but by this test.

  test('a repository of 100,000 tags and 20,000 manifests is gone at once, and is there again at once', async () => {
    const client = new Kept(home, repositoryName('large'));
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    await fill(client, MANIFESTS, TAGS);
    const preview = await client.delete({ all: true }, { dryRun: true });
    assert.deepEqual([preview.tagCount, preview.manifestCount], [TAGS + 1, MANIFESTS + 1]);
    let id: string | undefined;
    const rows = await written(async () => {
      id = (await client.delete({ all: true })).deletion?.id;
    });
    assert.ok(rows < 30, `${rows} rows`);
    assert.equal(await client.tagsOf(), null);
    for (const reference of ['v1', 'tag-000005', image.digest])
      assert.equal(await client.statusOf(`manifests/${reference}`), 404);
    await home.settled();
    const catalog = await client.want(200, 'GET', '/v2/_catalog');
    assert.ok(!catalog.body.toString().includes(client.name));
    assert.equal(await steps(client, 3), 3);
    await client.restore({ deletion: id });
    // What was not moved yet is there at once.
    const missing = (await client.tagsOf())?.length;
    await steps(client, 20);
    assert.equal(await client.pullManifest(client.name, 'v1'), image.digest);
    assert.equal(await count(client, 'tags'), TAGS + 1);
    assert.ok(missing !== undefined && missing > TAGS - 5000, `${missing} tags`);
    assert.deepEqual(await home.violations(), []);
  });

  test('pushes go on while a repository is moved to the trash in steps, and a restore leaves them', async () => {
    const client = new Kept(home, repositoryName('medium'));
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    await fill(client, 1000, 3000);
    const { deletion } = await client.delete({ all: true });
    await steps(client, 2);
    const fresh = imageManifest();
    await client.pushManifest(client.name, 'tag-000007', fresh);
    await client.pushManifest(client.name, 'v2', image);
    assert.deepEqual(await client.tagsOf(), ['tag-000007', 'v2']);
    await home.evict('REPOSITORY', client.name);
    await steps(client);
    assert.deepEqual(await client.tagsOf(), ['tag-000007', 'v2']);
    assert.deepEqual([await count(client, 'manifests'), await count(client, 'trashed_manifests')], [2, 1000]);
    const [known] = await client.deletions();
    assert.deepEqual([known?.state, known?.tags, known?.manifests], ['deleted', 3001, 1001]);
    const restored = await client.restore({ deletion: deletion?.id });
    assert.ok(typeof restored !== 'string');
    assert.deepEqual([restored.tagCount, restored.isUnderWay], [3000, true]);
    assert.deepEqual(
      restored.conflicts.map(({ tag }) => tag),
      ['tag-000007'],
    );
    assert.equal((await client.deletions())[0]?.state, 'restoring');
    await steps(client);
    assert.equal((await client.deletions())[0]?.state, 'restored');
    assert.deepEqual([await count(client, 'tags'), await count(client, 'manifests')], [3002, 1002]);
    assert.equal(await client.pullManifest(client.name, 'tag-000007'), fresh.digest);
  });

  test('two deletions of a whole repository are restored apart, although steps of the first are left', async () => {
    const client = new Kept(home, repositoryName('twice'));
    const [first, second] = [imageManifest(), imageManifest()];
    await client.pushManifest(client.name, 'v1', first);
    const one = await client.delete({ all: true });
    await client.pushManifest(client.name, 'v2', second);
    const two = await client.delete({ all: true });
    await client.restore({ deletion: two.deletion?.id });
    await steps(client);
    assert.deepEqual(await client.tagsOf(), ['v2']);
    assert.equal(await client.statusOf(`manifests/${first.digest}`), 404);
    await client.restore({ deletion: one.deletion?.id });
    await steps(client);
    assert.deepEqual(await client.tagsOf(), ['v1', 'v2']);
    assert.equal(await client.pullManifest(client.name, 'v1'), first.digest);
  });

  test('a tag whose manifest has many referrers in the trash is restored with all of them, by repeats', async () => {
    const client = new Kept(home, repositoryName('referred'));
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    await insert(
      client,
      2500,
      `INSERT INTO manifests (digest, media_type, size, subject, artifact_type, pushed_at, generation)
         SELECT ${digest('bbbb')}, 'application/json', 1, '${image.digest}', 'a/b', 1, n FROM n`,
    );
    await client.delete({ manifests: [image.digest] });
    await steps(client);
    const path = `/api/v1/repositories/${encodeURIComponent(client.name)}/restores`;
    const answer = await fetch(`${home.url}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ tag: 'v1' }),
    });
    const restored = (await answer.json()) as { manifestCount: number; isUnderWay: boolean };
    assert.deepEqual([restored.manifestCount, restored.isUnderWay], [2501, false]);
    assert.equal(await count(client, 'manifests'), 2501);
  });

  test('manifests with many tags are deleted together by few rows', async () => {
    const client = new Kept(home, repositoryName('tagged'));
    await client.pushManifest(client.name, 'v1', imageManifest());
    await fill(client, 50, 5000);
    const named = await home.rows(
      'REPOSITORY',
      client.name,
      `SELECT digest FROM manifests WHERE digest GLOB 'sha256:aaaa*'`,
    );
    const rows = await written(() => client.delete({ manifests: named.map((row) => row.digest) }));
    assert.ok(rows <= STEP_ROWS, `${rows} rows`);
    assert.deepEqual(await client.tagsOf(), ['v1']);
    await steps(client);
    assert.equal(await count(client, 'tags'), 1);
    const [deletion] = await client.deletions();
    assert.deepEqual([deletion?.tags, deletion?.manifests], [5000, 50]);
  });

  for (const referrers of [REFERRERS, 1000]) {
    test(`${referrers} referrers are gone at once with their subject, in steps`, async () => {
      const client = new Kept(home, repositoryName('subject'));
      const image = imageManifest();
      await client.pushManifest(client.name, 'v1', image);
      const tagged = artifact({ subject: image.descriptor });
      await client.pushManifest(client.name, 'tagged', tagged);
      await insert(
        client,
        referrers,
        `INSERT INTO manifests (digest, media_type, size, subject, artifact_type, pushed_at, generation)
           SELECT ${digest('bbbb')}, 'application/json', 1, '${image.digest}', 'a/b', 1, n FROM n`,
      );
      const preview = await client.delete({ manifests: [image.digest] }, { dryRun: true });
      assert.equal(preview.manifestCount, referrers + 1);
      const path = `/v2/${client.name}/manifests/${image.digest}`;
      const rows = await written(() => client.want(202, 'DELETE', path));
      assert.ok(rows < 40, `${rows} rows`);
      const one = `sha256:bbbb${'0'.repeat(57)}123`;
      assert.equal(await client.statusOf(`manifests/${one}`), 404);
      assert.deepEqual(await client.referrersOf(image.digest), [tagged.digest]);
      const late = artifact({ subject: image.descriptor });
      await client.pushManifest(client.name, late.digest, late);
      assert.deepEqual(await client.referrersOf(image.digest), [tagged.digest, late.digest].sort());
      await steps(client, referrers > 1000 ? 3 : 1000);
      if (referrers > 1000) return;
      assert.equal(await count(client, 'trashed_manifests'), referrers + 1);
      const [deletion] = await client.deletions();
      assert.equal(deletion?.manifests, referrers + 1);
      await client.restore({ deletion: deletion?.id });
      await steps(client);
      assert.equal(await client.statusOf(`manifests/${one}`), 200);
      assert.equal(await count(client, 'manifests'), referrers + 3);
    });
  }
});

eachHome(
  (home) => {
    test('large deletions wait for the next day where the rows of a day are used up', async () => {
      await home.stopClock(Math.ceil(Date.now() / DAY_MS + 2) * DAY_MS);
      const client = new Kept(home, repositoryName('allowance'));
      await client.pushManifest(client.name, 'v1', imageManifest());
      await home.rows(
        'REPOSITORY',
        client.name,
        `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
         INSERT INTO manifests (digest, media_type, size, pushed_at, generation)
           SELECT 'sha256:aaaa' || printf('%060x', n), 'application/json', 1, 1, n FROM n`,
      );
      await client.delete({ all: true });
      const left = async () =>
        Number((await home.rows('REPOSITORY', client.name, 'SELECT COUNT(*) AS n FROM manifests'))[0]?.n);
      await client.settle();
      const first = await left();
      assert.ok(first > 500 && first < 1001, `${first}`);
      await client.pushManifest(client.name, 'v2', imageManifest());
      const day = Math.ceil((Date.now() + 1) / DAY_MS + 2);
      await home.stopClock((day + 1) * DAY_MS + 3600 * 1000);
      await client.settle();
      const second = await left();
      assert.ok(second < first && second > 1, `${second}`);
      await home.setClockAhead(0);
    });
  },
  { BACKGROUND_ROWS_PER_DAY: '2000' },
);
