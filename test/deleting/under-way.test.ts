/** A restore that is under way loses nothing, whatever is deleted, pushed or due meanwhile. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import { DAY_MS, eachHome, Kept } from './client.ts';

/** More than one step removes. */
const TAGS = 2000;
const MANIFESTS = 300;
const NAMES = 100;
/** One step writes about 1,000 rows for each kind of work. */
const STEP_ROWS = 2000;

eachHome((home) => {
  const rows = (client: Kept, query: string) => home.rows('REPOSITORY', client.name, query);
  const numbers = (count: number) =>
    `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${count})`;
  const digest = (prefix: string) => `'sha256:${prefix}' || printf('%060x', n)`;
  const count = async (client: Kept, table: string) =>
    (await rows(client, `SELECT COUNT(*) AS count FROM ${table}`))[0]?.count;
  const pushed = async (name: string): Promise<{ client: Kept; image: Manifest }> => {
    const client = new Kept(home, repositoryName(name));
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    return { client, image };
  };
  const addTags = async (client: Kept, { digest: of }: Manifest) => {
    await rows(
      client,
      `${numbers(TAGS)} INSERT INTO tags (name, digest, updated_at, generation)
         SELECT 'tag-' || printf('%06d', n), m.digest, 1, m.generation FROM n JOIN manifests m ON m.digest = '${of}'`,
    );
    await rows(
      client,
      `INSERT INTO tag_history (tag, seq, digest, at) SELECT name, 1, digest, ${Date.now()} FROM tags WHERE name <> 'v1'`,
    );
  };
  const addManifests = (client: Kept) =>
    rows(
      client,
      `${numbers(MANIFESTS)} INSERT INTO manifests (digest, media_type, size, pushed_at, generation)
         SELECT ${digest('aaaa')}, 'application/json', 1, 1, n FROM n`,
    );

  before(() => home.setClockAhead(DAY_MS)); // No alarm rings but by this test.

  test('a restore that began in the window ends after it, with the tags', async () => {
    const { client } = await pushed('window');
    await addManifests(client);
    const { deletion } = await client.delete({ all: true });
    await client.settle();
    const end = deletion?.undoUntil ?? 0;
    await home.stopClock(end - 1000);
    const restored = await client.restore({ deletion: deletion?.id });
    assert.ok(typeof restored !== 'string' && restored.isUnderWay);
    await home.stopClock(end + 1000);
    await client.settle();
    await home.setClockAhead(DAY_MS);
    assert.deepEqual(await client.tagsOf(), ['v1']);
    assert.equal(await count(client, 'manifests'), MANIFESTS + 1);
  });

  test('a manifest whose tags were still to be removed is restored with all of them, while referrers are on their way', async () => {
    const { client, image } = await pushed('many');
    await addTags(client, image);
    const subject = imageManifest();
    await client.pushManifest(client.name, 'subject', subject);
    await rows(
      client,
      `${numbers(MANIFESTS)} INSERT INTO manifests (digest, media_type, size, subject, artifact_type, pushed_at, generation)
         SELECT ${digest('bbbb')}, 'application/json', 1, '${subject.digest}', 'a/b', 1, n FROM n`,
    );
    const { deletion } = await client.delete({ manifests: [image.digest] });
    await client.delete({ manifests: [subject.digest] });
    await client.restore({ deletion: deletion?.id });
    await client.settle();
    assert.equal((await client.tagsOf())?.length, TAGS + 1);
    for (const tag of ['v1', 'tag-000001', 'tag-002000'])
      assert.equal(await client.pullManifest(client.name, tag), image.digest);
  });

  test('a manifest that was pushed again before its tags were removed gets them back', async () => {
    const { client, image } = await pushed('again');
    await addTags(client, image);
    const { deletion } = await client.delete({ manifests: [image.digest] });
    assert.equal((await client.putManifest(client.name, 'v2', image)).status, 201);
    const restored = await client.restore({ deletion: deletion?.id });
    assert.ok(typeof restored !== 'string' && restored.isUnderWay);
    await client.settle();
    assert.equal((await client.tagsOf())?.length, TAGS + 2);
    assert.equal(await client.pullManifest(client.name, 'tag-002000'), image.digest);
    assert.equal((await client.deletions())[0]?.state, 'restored');
  });

  test('a purge of manifests with many layers is in small steps', async () => {
    const { client } = await pushed('layers');
    await addManifests(client);
    await rows(
      client,
      `${numbers(MANIFESTS)} INSERT INTO manifest_names (manifest, digests) SELECT ${digest('aaaa')},
         (WITH RECURSIVE l (l) AS (SELECT 1 UNION ALL SELECT l + 1 FROM l WHERE l < ${NAMES})
            SELECT json_group_array('sha256:cccc' || printf('%060x', n * ${NAMES} + l)) FROM l) FROM n`,
    );
    await rows(
      client,
      `INSERT INTO named_by (digest, manifest)
         SELECT value, manifest FROM manifest_names, json_each(digests) WHERE manifest LIKE 'sha256:aaaa%'`,
    );
    await rows(
      client,
      `INSERT INTO blobs (digest, key, size, link, expires_at)
         SELECT digest, 'inline/' || digest, 5, digest, 1 FROM named_by WHERE manifest LIKE 'sha256:aaaa%'`,
    );
    const { deletion } = await client.delete({ all: true });
    await client.settle();
    const written = async (run: () => Promise<unknown>) => {
      await home.settled();
      await home.reset();
      await run();
      await home.settled();
      return (await home.counts()).rowsWritten;
    };
    const first = await written(() => home.call('REPOSITORY', client.name, 'purge', deletion?.id, false));
    assert.ok(first <= STEP_ROWS, `${first} rows`);
    const second = await written(() => home.ringDue('REPOSITORY', client.name));
    assert.ok(second > 0 && second <= STEP_ROWS, `${second} rows`);
    await client.settle();
    assert.deepEqual([await count(client, 'manifest_names'), await count(client, 'blobs')], [0, 0]);
    assert.deepEqual(await home.violations(), []);
  });
});
