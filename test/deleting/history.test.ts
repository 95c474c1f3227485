/** Every move of a tag is kept for a while, with who made it and why, and a tag can be pulled as it was. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pastTagOf } from '../../worker/oci/reference.ts';
import { digest as digestOf, imageIndex, imageManifest, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { DAY_MS, eachHome, Kept } from './client.ts';

const HOUR_MS = 3600 * 1000;
const ADMIN = { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' };

eachHome((home) => {
  test('a history says for each move when, from where, to where and why', async () => {
    const client = new Kept(home, repositoryName('moves'));
    const [one, two] = [imageManifest(), imageManifest()];
    await client.pushManifest(client.name, 'v1', one);
    await client.pushManifest(client.name, 'v1', two);
    await client.pushManifest(client.name, 'v2', two);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/v1`);
    await client.pushManifest(client.name, 'v1', two);
    await client.delete({ manifests: [two.digest] });
    await client.restore({ tag: 'v1', at: null, digest: null });
    const moves = (await client.moves('v1')).map(({ from, digest, why, actor }) => [
      from,
      digest,
      why,
      actor,
    ]);
    assert.deepEqual(moves, [
      [null, two.digest, 'restore', 'user:bob'],
      [two.digest, null, 'delete', 'user:bob'],
      [null, two.digest, 'push', ''],
      [two.digest, null, 'delete', ''],
      [one.digest, two.digest, 'push', ''],
      [null, one.digest, 'push', ''],
    ]);
    assert.equal((await client.moves(null)).length, moves.length + 2);
    const [, deleted] = await client.moves('v1');
    assert.equal(deleted?.deletion, (await client.deletions())[0]?.id);
  });

  test('every time in the window can be answered, and older moves are removed', async () => {
    const client = new Kept(home, repositoryName('window'));
    const images = Array.from({ length: 4 }, () => imageManifest());
    // The platform's clock is behind: no alarm rings but by this test.
    const start = Date.now() + 100 * DAY_MS;
    for (const image of images) for (const bytes of image.blobs) await client.pushBlob(client.name, bytes);
    const times: number[] = [];
    for (const [day, image] of images.entries()) {
      times.push(start + day * 5 * DAY_MS);
      await home.stopClock(times.at(-1) ?? 0);
      for (const bytes of image.blobs) await client.pushBlob(client.name, bytes);
      assert.equal((await client.putManifest(client.name, 'v1', image)).status, 201);
      await client.settle();
    }
    await home.stopClock(start + 15 * DAY_MS + HOUR_MS);
    const at = (time: number) => client.pullManifest(client.name, pastTagOf('v1', time));
    for (const [day, time] of times.entries()) {
      // The window is 14 days.
      const wanted = time + HOUR_MS > start + DAY_MS + HOUR_MS ? images[day]?.digest : null;
      assert.equal(await at(time + HOUR_MS), wanted, `day ${5 * day}`);
    }
    assert.equal(await at(start + 5 * DAY_MS - HOUR_MS), images[0]?.digest);
    await home.stopClock(start + 60 * DAY_MS);
    await client.settle();
    const rows = await home.rows('REPOSITORY', client.name, 'SELECT digest, until FROM tag_history');
    assert.deepEqual(rows, [{ digest: images[3]?.digest, until: null }]);
    await home.setClockAhead(0);
  });

  test('a tag is pulled as it was, also when its manifest is in the trash, and then by digest for an hour', async () => {
    const client = new Kept(home, repositoryName('past'));
    const [child, image] = [imageManifest(), imageManifest()];
    const index = imageIndex([child]);
    await client.pushManifest(client.name, child.digest, child);
    await client.pushManifest(client.name, 'v1', index);
    const then = Date.now();
    await home.setClockAhead(2 * HOUR_MS);
    await client.pushManifest(client.name, 'v1', image);
    await home.setClockAhead(3 * HOUR_MS);
    await client.delete({ manifests: [index.digest] });
    await home.setClockAhead(4 * HOUR_MS);
    await client.delete({ tags: ['v1'] });
    await home.setClockAhead(5 * HOUR_MS);
    for (const { digest } of [index, child, image])
      assert.equal(await client.statusOf(`manifests/${digest}`), 404);
    const past = pastTagOf('v1', then + HOUR_MS);
    assert.equal(await client.statusOf(`manifests/${past}`, 'HEAD'), 200);
    assert.equal(await client.pullManifest(client.name, past), index.digest);
    assert.equal(await client.statusOf(`manifests/${child.digest}`), 200);
    assert.equal(await client.statusOf(`manifests/${image.digest}`), 404);
    assert.equal(await client.pullManifest(client.name, pastTagOf('v1', then + 3.5 * HOUR_MS)), image.digest);
    assert.equal(await client.pullManifest(client.name, pastTagOf('v1', then + 4.5 * HOUR_MS)), null);
    assert.equal(await client.pullManifest(client.name, pastTagOf('v1', then - HOUR_MS)), null);
    assert.equal(await client.pullManifest(client.name, pastTagOf('v2', then + HOUR_MS)), null);
    await home.setClockAhead(7 * HOUR_MS);
    for (const { digest } of [index, child, image])
      assert.equal(await client.statusOf(`manifests/${digest}`), 404);
    assert.deepEqual(await client.tagsOf(), []);
    const [deletion] = await client.deletions();
    await client.restore({ tag: 'v1', at: then + HOUR_MS, digest: null });
    assert.equal(await client.pullManifest(client.name, 'v1'), index.digest);
    assert.ok(deletion !== undefined);
    await home.setClockAhead(0);
  });

  test('a tag of a repository that is deleted as a whole is pulled as it was', async () => {
    const client = new Kept(home, repositoryName('past'));
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    const then = Date.now();
    await home.setClockAhead(HOUR_MS);
    await client.delete({ all: true });
    await home.setClockAhead(2 * HOUR_MS);
    const [layer] = image.blobs;
    assert.equal(await client.pullBlob(client.name, digestOf(layer ?? Buffer.alloc(0))), null);
    assert.equal(await client.pullManifest(client.name, pastTagOf('v1', then + HOUR_MS / 2)), image.digest);
    assert.equal(await client.pullManifest(client.name, pastTagOf('v1', then + 1.5 * HOUR_MS)), null);
    await home.setClockAhead(4 * HOUR_MS);
    assert.equal(await client.pullBlob(client.name, digestOf(layer ?? Buffer.alloc(0))), null);
    await home.setClockAhead(0);
  });

  test('a tag of the past can neither be set nor deleted', async () => {
    const client = new Kept(home, repositoryName('past'));
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    const past = pastTagOf('v1', Date.now() + DAY_MS);
    const put = await client.putManifest(client.name, past, image);
    const alias = await client.putManifest(client.name, `${image.digest}?tag=${past}`, image);
    const deleted = await client.send('DELETE', `/v2/${client.name}/manifests/${past}`);
    for (const { status, body } of [put, alias, deleted]) {
      assert.equal(status, 400);
      assert.match(body.toString(), /TAG_INVALID.*can only be pulled/);
    }
    assert.equal(await client.pullManifest(client.name, past), image.digest);
  });

  test('rows of earlier releases get the end of their time in steps', async () => {
    const client = new Kept(home, repositoryName('earlier'));
    const image = imageManifest();
    await client.pushManifest(client.name, 'kept', image);
    const now = Date.now();
    await home.rows(
      'REPOSITORY',
      client.name,
      `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
       INSERT INTO tag_history (tag, seq, digest, at)
         SELECT 'tag-' || (n % 3), n, CASE WHEN n IN (2500, 7) THEN NULL ELSE 'sha256:' || n END, ${now} + n FROM n`,
    );
    await home.rows('REPOSITORY', client.name, `UPDATE repository SET fill_after = ''`);
    await home.evict('REPOSITORY', client.name);
    await client.statusOf('tags/list');
    await home.alarmSet('REPOSITORY', client.name);
    for (let rings = 0; rings < 4; rings++) await home.ring('REPOSITORY', client.name);
    const wrong = await home.rows(
      'REPOSITORY',
      client.name,
      `SELECT tag, seq FROM tag_history h WHERE until IS NOT CASE WHEN digest IS NULL THEN at ELSE
         (SELECT MIN(n.at) FROM tag_history n WHERE n.tag = h.tag AND n.seq > h.seq) END`,
    );
    assert.deepEqual(wrong, []);
    assert.deepEqual(await home.rows('REPOSITORY', client.name, 'SELECT fill_after FROM repository'), [
      { fill_after: null },
    ]);
  });
});

describe('with access control', () => {
  onHome(
    'disk',
    (home) => {
      test('the history has the user and the address', async () => {
        const name = repositoryName('who');
        const client = new Kept(home, name);
        const headers = {
          Authorization: `Basic ${Buffer.from('admin:the password of the admin').toString('base64')}`,
        };
        const body = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
        const path = `/v2/${name}/manifests/v1`;
        const mediaType = 'application/vnd.oci.image.index.v1+json';
        await client.want(201, 'PUT', path, { body, headers: { ...headers, 'Content-Type': mediaType } });
        await client.want(202, 'DELETE', path, { headers });
        const moves = (await client.moves('v1')).map(({ actor, address, why }) => [actor, address, why]);
        assert.deepEqual(moves, [
          ['user:admin', '127.0.0.1', 'delete'],
          ['user:admin', '127.0.0.1', 'push'],
        ]);
      });
    },
    { vars: ADMIN },
  );
});
