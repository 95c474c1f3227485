/** Deletions, restores and purges that are under way lose nothing, whatever is deleted, pushed or due meanwhile. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { pastTagOf } from '../../worker/oci/reference.ts';
import { imageIndex, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
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
  const addManifests = (client: Kept, prefix = 'aaaa') =>
    rows(
      client,
      `${numbers(MANIFESTS)} INSERT INTO manifests (digest, media_type, size, pushed_at, generation)
         SELECT ${digest(prefix)}, 'application/json', 1, 1, n FROM n`,
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

  test('a second deletion of all leaves what the first has deleted to the first, also if it is purged', async () => {
    const { client, image } = await pushed('twice');
    await addManifests(client);
    const first = await client.delete({ all: true });
    await client.pushManifest(client.name, 'secret', imageManifest());
    const second = await client.delete({ all: true });
    await client.restore({ deletion: first.deletion?.id });
    await home.call('REPOSITORY', client.name, 'purge', second.deletion?.id, false);
    await client.settle();
    assert.deepEqual(await client.tagsOf(), ['v1']);
    assert.equal(await client.pullManifest(client.name, 'v1'), image.digest);
    assert.equal(await count(client, 'manifests'), MANIFESTS + 1);
  });

  test('what is deleted again while it is being restored stays deleted', async () => {
    const { client, image } = await pushed('deleted-again');
    await addManifests(client, 'ffff'); // They are restored after the image.
    const { deletion } = await client.delete({ all: true });
    await client.settle();
    await home.setClockAhead(DAY_MS + 1000);
    await client.restore({ deletion: deletion?.id });
    await home.setClockAhead(DAY_MS + 2000);
    await client.delete({ manifests: [image.digest] });
    await client.settle();
    await home.setClockAhead(DAY_MS);
    assert.deepEqual(await client.tagsOf(), []);
  });

  test('a deleted repository is pulled as it was, before and after its rows are moved', async () => {
    const { client } = await pushed('past');
    const image = imageManifest();
    await client.pushManifest(client.name, image.digest, image);
    const index = imageIndex([image]);
    await client.pushManifest(client.name, 'multi', index);
    await home.setClockAhead(DAY_MS + 10_000);
    const past = pastTagOf('multi', Date.now() + DAY_MS + 5000);
    await client.delete({ all: true });
    for (const when of ['before', 'after']) {
      assert.equal(await client.pullManifest(client.name, past), index.digest, when);
      await client.settle();
    }
    assert.equal(await client.tagsOf(), null);
    await home.setClockAhead(DAY_MS);
  });

  test('a push goes on where the repository is deleted between its blobs and its manifest', async () => {
    const { client } = await pushed('between');
    const image = imageManifest();
    for (const bytes of image.blobs) await client.pushBlob(client.name, bytes);
    await client.delete({ all: true });
    assert.equal((await client.putManifest(client.name, 'v2', image)).status, 201);
    await client.settle();
    assert.deepEqual(await client.tagsOf(), ['v2']);
    assert.equal(await client.pullManifest(client.name, 'v2'), image.digest);
  });

  test('a purge takes no blob that a client has pushed since the deletion', async () => {
    const { client, image } = await pushed('purged');
    const { deletion } = await client.delete({ tags: ['v1'] });
    await home.setClockAhead(DAY_MS + 1000);
    for (const bytes of image.blobs) await client.pushBlob(client.name, bytes);
    await home.call('REPOSITORY', client.name, 'purge', deletion?.id, false);
    assert.equal((await client.putManifest(client.name, 'v2', image)).status, 201);
    await home.setClockAhead(DAY_MS);
    assert.equal(await client.pullManifest(client.name, 'v2'), image.digest);
  });
});
