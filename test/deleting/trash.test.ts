/** What is deleted is gone at once, can be restored until the window ends, and is then gone for good. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectNoRemains, letTimePass, stored } from '../faults/remains.ts';
import {
  artifact,
  blob,
  digest as digestOf,
  imageIndex,
  imageManifest,
  type Manifest,
  repositoryName,
} from '../support/fixtures.ts';
import { bytesInStore, DAY_MS, eachHome, FREED_DAYS, Kept } from './client.ts';

eachHome((home) => {
  const kept = () => new Kept(home, repositoryName('kept'));

  test('a manifest that a client deletes is gone at once with its tags, and comes back with them', async () => {
    const client = kept();
    const image = imageManifest();
    for (const tag of ['v1', 'latest']) await client.pushManifest(client.name, tag, image);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    for (const reference of ['v1', 'latest', image.digest])
      assert.equal(await client.statusOf(`manifests/${reference}`), 404, reference);
    assert.deepEqual(await client.tagsOf(), []);
    const [deletion] = await client.deletions();
    assert.deepEqual(
      [deletion?.what, deletion?.why, deletion?.tags, deletion?.manifests, deletion?.bytes, deletion?.names],
      ['manifests', 'delete', 2, 1, sizeOf(image), [image.digest]],
    );
    await letDaysPass(client, 13);
    const restored = await client.restore({ deletion: deletion?.id });
    assert.ok(typeof restored !== 'string');
    assert.deepEqual([restored.tagCount, restored.manifestCount, restored.isUnderWay], [2, 1, false]);
    for (const reference of ['v1', 'latest', image.digest]) await expectWhole(client, reference, image);
    // Again, it changes nothing.
    const again = await client.restore({ deletion: deletion?.id });
    assert.ok(typeof again !== 'string');
    assert.deepEqual([again.tagCount, again.conflicts], [0, []]);
    await letDaysPass(client, FREED_DAYS);
    await expectWhole(client, 'v1', image);
  });

  test('after the window, nothing is left of a deletion: no row, and no bytes', async () => {
    const before = await stored(home);
    const client = kept();
    const [image, other] = [imageManifest(), imageManifest()];
    await client.pushManifest(client.name, 'v1', image);
    await client.pushManifest(client.name, 'other', other);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    await letDaysPass(client, 13);
    for (const bytes of image.blobs)
      assert.ok((await client.pullBlob(client.name, digestOf(bytes))) !== null, 'bytes outlive the window');
    await letTimePass(client, FREED_DAYS);
    await expectNoRemains(client, before);
    assert.equal(await client.restore({ tag: 'v1', at: null, digest: image.digest }), 'gone for good');
    for (const table of ['deletions', 'trashed_manifests', 'departures', 'deleted_manifests', 'expiries'])
      assert.deepEqual(await home.rows('REPOSITORY', client.name, `SELECT * FROM ${table}`), [], table);
    const history = await home.rows('REPOSITORY', client.name, 'SELECT tag FROM tag_history');
    assert.deepEqual(history, [{ tag: 'other' }]);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${other.digest}`);
    await letTimePass(client, FREED_DAYS);
    assert.equal(await home.isEmpty('REPOSITORY', client.name), true);
    await expectNoRemains(client, before);
  });

  test('a manifest in the trash that is pushed again is there again, without its tags', async () => {
    const client = kept();
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    assert.equal((await client.putManifest(client.name, 'v2', image)).status, 201);
    assert.deepEqual(await client.tagsOf(), ['v2']);
    await letDaysPass(client, FREED_DAYS);
    await expectWhole(client, 'v2', image);
  });

  test('a blob that only the trash needs can be deleted, and comes back with its manifest', async () => {
    const client = kept();
    const [layer = Buffer.alloc(0), shared] = [blob(2000), blob(3000)];
    const [image, other] = [imageManifest({ layers: [layer, shared] }), imageManifest({ layers: [shared] })];
    await client.pushManifest(client.name, 'v1', image);
    await client.pushManifest(client.name, 'other', other);
    const path = `blobs/${digestOf(layer)}`;
    assert.equal(await client.statusOf(path, 'DELETE'), 405);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    assert.equal(await client.statusOf(`blobs/${digestOf(shared)}`, 'DELETE'), 405);
    assert.equal(await client.statusOf(path, 'DELETE'), 202);
    assert.deepEqual([await client.statusOf(path), await client.statusOf(path, 'DELETE')], [404, 404]);
    assert.equal((await client.putManifest(client.name, 'v2', image)).status, 400, 'its layer is missing');
    const [deletion] = await client.deletions();
    await client.restore({ deletion: deletion?.id });
    await expectWhole(client, 'v1', image);
    // A push shows a hidden blob too.
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    assert.equal(await client.statusOf(path, 'DELETE'), 202);
    await client.pushBlob(client.name, layer);
    assert.ok((await client.pullBlob(client.name, digestOf(layer)))?.equals(layer));
  });

  test('referrers and cosign tags go with their subject, tagged referrers stay, and all come back', async () => {
    const client = kept();
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    const referrer = artifact({ subject: image.descriptor });
    const second = artifact({ subject: referrer.descriptor });
    const tagged = artifact({ subject: image.descriptor });
    const signature = imageManifest();
    for (const one of [referrer, second]) await client.pushManifest(client.name, one.digest, one);
    await client.pushManifest(client.name, 'tagged', tagged);
    const cosign = `${image.digest.replace(':', '-')}.sig`;
    await client.pushManifest(client.name, cosign, signature);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    const gone = [image, referrer, second, signature];
    for (const { digest } of gone) assert.equal(await client.statusOf(`manifests/${digest}`), 404);
    assert.deepEqual(await client.tagsOf(), ['tagged']);
    assert.deepEqual(await client.referrersOf(image.digest), [tagged.digest]);
    const [deletion] = await client.deletions();
    assert.deepEqual([deletion?.tags, deletion?.manifests], [2, 4]);
    await client.restore({ tag: 'v1', at: null, digest: null });
    for (const { digest } of gone) assert.equal(await client.statusOf(`manifests/${digest}`), 200);
    assert.deepEqual(await client.tagsOf(), [cosign, 'tagged', 'v1']);
    assert.deepEqual(await client.referrersOf(image.digest), [referrer.digest, tagged.digest].sort());
    assert.deepEqual(await client.referrersOf(referrer.digest), [second.digest]);
  });

  test('a referrer that an index names stays when its subject is deleted', async () => {
    const client = kept();
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    const referrer = artifact({ subject: image.descriptor });
    await client.pushManifest(client.name, referrer.digest, referrer);
    await client.pushManifest(client.name, 'index', imageIndex([referrer]));
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${image.digest}`);
    assert.equal(await client.statusOf(`manifests/${referrer.digest}`), 200);
    assert.equal((await client.deletions())[0]?.manifests, 1);
  });

  test('a client that deletes an index leaves its children; a deletion of a tag takes what only it needs', async () => {
    const client = kept();
    const [one, two, shared, named] = [1, 2, 3, 4].map(() => imageManifest()) as [
      Manifest,
      Manifest,
      Manifest,
      Manifest,
    ];
    const inner = imageIndex([two]);
    const index = imageIndex([one, inner, shared, named]);
    const other = imageIndex([shared]);
    for (const image of [one, two, shared]) await client.pushManifest(client.name, image.digest, image);
    await client.pushManifest(client.name, 'named', named);
    await client.pushManifest(client.name, inner.digest, inner);
    await client.pushManifest(client.name, 'all', index);
    await client.pushManifest(client.name, 'again', index);
    await client.pushManifest(client.name, 'other', other);
    const there = async () => {
      const all = { one, two, shared, named, inner, index, other };
      const found: string[] = [];
      for (const [name, { digest }] of Object.entries(all))
        if ((await client.statusOf(`manifests/${digest}`)) === 200) found.push(name);
      return found.join(' ');
    };
    // One of two tags: the index stays.
    const first = await client.delete({ tags: ['again', 'unknown'] });
    assert.deepEqual(
      [first.tagCount, first.manifestCount, first.unknown, first.bytes],
      [1, 0, ['unknown'], 0],
    );
    const preview = await client.delete({ tags: ['all'] }, { dryRun: true });
    assert.equal(await there(), 'one two shared named inner index other');
    const second = await client.delete({ tags: ['all'] });
    assert.equal(await there(), 'shared named other');
    for (const answer of [preview, second]) {
      assert.deepEqual([answer.tagCount, answer.manifestCount], [1, 4]);
      assert.equal(answer.bytes, sizeOf(one) + sizeOf(two));
    }
    assert.deepEqual([preview.deletion, second.deletion?.names], [null, ['all']]);
    await client.restore({ tag: 'all', at: null, digest: null });
    assert.equal(await there(), 'one two shared named inner index other');
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/${index.digest}`);
    assert.equal(await there(), 'one two shared named inner other');
  });

  test('a tag that has moved since is a conflict, which can be forced', async () => {
    const client = kept();
    const [old, fresh] = [imageManifest(), imageManifest()];
    for (const tag of ['a', 'b', 'c']) await client.pushManifest(client.name, tag, old);
    const { deletion } = await client.delete({ tags: ['a', 'b', 'c'] });
    await client.pushManifest(client.name, 'a', fresh);
    await client.want(202, 'DELETE', `/v2/${client.name}/manifests/a`);
    await client.pushManifest(client.name, 'b', fresh);
    const restored = await client.restore({ deletion: deletion?.id });
    assert.ok(typeof restored !== 'string');
    assert.deepEqual(restored.conflicts, [
      { tag: 'a', digest: null, wanted: old.digest },
      { tag: 'b', digest: fresh.digest, wanted: old.digest },
    ]);
    assert.deepEqual(restored.tags, [{ tag: 'c', digest: old.digest }]);
    assert.deepEqual(await client.tagsOf(), ['b', 'c']);
    await client.restore({ deletion: deletion?.id }, { force: true });
    for (const tag of ['a', 'b', 'c']) assert.equal(await client.pullManifest(client.name, tag), old.digest);
  });

  test('a preview says exactly how many bytes the store will free', async () => {
    const client = kept();
    const other = new Kept(home, repositoryName('other'));
    const [shared, elsewhere] = [blob(1000), blob(5000)];
    const image = imageManifest({ layers: [shared, elsewhere, blob(700)] });
    const stays = imageManifest({ layers: [shared] });
    await client.pushManifest(client.name, 'v1', image);
    await client.pushManifest(client.name, 'stays', stays);
    await other.pushManifest(other.name, 'v1', imageManifest({ layers: [elsewhere] }));
    await mount(other, client.name, digestOf(elsewhere));
    for (const digest of other.digests) client.digests.add(digest);
    const preview = await client.delete({ tags: ['v1'] }, { dryRun: true });
    await letTimePass(client, 4);
    const before = await bytesInStore(client);
    await client.delete({ tags: ['v1'] });
    await letTimePass(client, FREED_DAYS);
    assert.equal(before - (await bytesInStore(client)), preview.bytes);
    assert.ok(preview.bytes !== null && preview.bytes >= 700 && preview.bytes < 5000);
    const all = await client.delete({ all: true }, { dryRun: true });
    await client.delete({ all: true });
    const then = await bytesInStore(client);
    await letTimePass(client, FREED_DAYS);
    assert.equal(then - (await bytesInStore(client)), all.bytes);
    assert.equal(all.bytes, sizeOf(stays));
  });

  test('a blob that a client deletes after the whole repository comes back with it, before rows are moved', async () => {
    await home.setClockAhead(DAY_MS); // No alarm rings.
    const client = kept();
    const [layer, image] = [blob(2000), imageManifest({ layers: [] })];
    const hidden = imageManifest({ layers: [layer] });
    await client.pushManifest(client.name, 'v1', hidden);
    const { deletion } = await client.delete({ all: true });
    await client.pushManifest(client.name, 'v2', image);
    assert.equal(await client.statusOf(`blobs/${digestOf(layer)}`, 'DELETE'), 202);
    await client.restore({ deletion: deletion?.id });
    await client.settle();
    await home.setClockAhead(0);
    await expectWhole(client, 'v1', hidden);
  });

  test('a restored tag comes with all that another deletion took of its manifest, or is a conflict if that was purged', async () => {
    const client = kept();
    const image = imageManifest();
    const index = imageIndex([image]);
    const push = async () => {
      await client.pushManifest(client.name, image.digest, image);
      await client.pushManifest(client.name, 'v1', index);
    };
    for (const isPurged of [false, true]) {
      await push();
      await client.want(202, 'DELETE', `/v2/${client.name}/manifests/v1`);
      const [first] = await client.deletions();
      const { deletion: second } = await client.delete({ manifests: [index.digest] });
      if (isPurged) await home.call('REPOSITORY', client.name, 'purge', second?.id, false);
      const restored = await client.restore({ deletion: first?.id });
      assert.ok(typeof restored !== 'string');
      assert.deepEqual(
        [restored.tagCount, restored.conflicts.map(({ tag }) => tag)],
        isPurged ? [0, ['v1']] : [1, []],
      );
      assert.equal(await client.pullManifest(client.name, 'v1'), isPurged ? null : index.digest);
    }
  });

  test('what cannot be undone any more is not restored, also before its rows are removed', async () => {
    await home.setClockAhead(DAY_MS); // No alarm rings.
    const client = kept();
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    await client.delete({ tags: ['v1'] });
    await home.setClockAhead(16 * DAY_MS);
    assert.equal(await client.restore({ tag: 'v1', at: null, digest: image.digest }), 'gone for good');
    await client.settle();
    await home.setClockAhead(0);
  });

  test('what is purged is gone for good at once', async () => {
    const client = kept();
    const image = imageManifest();
    await client.pushManifest(client.name, 'v1', image);
    const { deletion } = await client.delete({ tags: ['v1'] });
    await home.call('REPOSITORY', client.name, 'purge', deletion?.id, false);
    for (const bytes of image.blobs) assert.equal(await client.pullBlob(client.name, digestOf(bytes)), null);
    assert.equal(await client.restore({ deletion: deletion?.id }), 'no deletion');
    assert.equal(await client.restore({ tag: 'v1', at: null, digest: null }), 'gone for good');
  });
});

eachHome(
  (home) => {
    test('with UNDO_DAYS=0 a deletion is final, and frees its bytes after the grace', async () => {
      const before = await stored(home);
      const client = new Kept(home, repositoryName('final'));
      const image = imageManifest();
      await client.pushManifest(client.name, 'v1', image);
      await client.pushManifest(client.name, 'stays', imageManifest());
      const { deletion, tagCount } = await client.delete({ tags: ['v1'] });
      assert.deepEqual([deletion, tagCount], [null, 1]);
      assert.equal(await client.restore({ tag: 'v1', at: null, digest: null }), 'gone for good');
      await letTimePass(client, 6);
      await expectNoRemains(client, before);
      assert.deepEqual(await client.deletions(), []);
    });
  },
  { UNDO_DAYS: '0' },
);

function sizeOf(image: Manifest): number {
  return image.blobs.reduce((sum, { length }) => sum + length, 0);
}

async function expectWhole(client: Kept, reference: string, image: Manifest): Promise<void> {
  assert.equal(await client.pullManifest(client.name, reference), image.digest, reference);
  for (const bytes of image.blobs)
    assert.ok((await client.pullBlob(client.name, digestOf(bytes)))?.equals(bytes));
}

async function letDaysPass(client: Kept, days: number): Promise<void> {
  await client.home.passDays(days, [['REPOSITORY', client.name]]);
}

async function mount(client: Kept, from: string, digest: string): Promise<void> {
  await client.want(201, 'POST', `/v2/${client.name}/blobs/uploads/?mount=${digest}&from=${from}`);
}
