/**
 * The consistency check on damage that is made past the registry: each kind is found, and nothing else. Without a repair nothing changes.
 * A repair leaves nothing to find, and what was not damaged is served as before.
 */
import assert from 'node:assert/strict';
import { afterEach, before, describe, it } from 'node:test';
import type { Result } from '../../cli/check/run-check.ts';
import { Client } from '../faults/client.ts';
import { blob, digest as digestOf, imageIndex, imageManifest, repositoryName } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { Checked, DAY_MS, VARS } from './support.ts';

const SIZE = 100_000;

/** An image that was pushed, and a layer of it. */
interface Pushed {
  repository: string;
  bytes: Buffer;
  layer: string;
}

interface Damage {
  name: string;
  make(checked: Checked, pushed: Pushed): Promise<unknown>;
  finds: Result['kind'];
  /** After the repair: whether the image is whole. */
  isWhole: boolean;
  /** What a second check finds after the repair. */
  leaves: Result['kind'][];
}

const DAMAGES: Damage[] = [
  {
    name: 'bytes that are gone',
    make: async (checked, { repository, layer }) =>
      checked.home.tamper((await checked.blobOf(repository, layer)).key, null),
    finds: 'lost',
    isWhole: false,
    leaves: ['missing'],
  },
  {
    name: 'bytes that are too short',
    make: async (checked, { repository, layer, bytes }) =>
      checked.home.tamper((await checked.blobOf(repository, layer)).key, bytes.subarray(0, 1000)),
    finds: 'lost',
    isWhole: false,
    leaves: ['missing'],
  },
  {
    name: 'a link that the shard does not know',
    make: (checked, { layer }) => checked.rowsOfShard(layer, `DELETE FROM links WHERE digest = '${layer}'`),
    finds: 'unlinked',
    isWhole: true,
    leaves: [],
  },
  {
    name: 'a link whose content the shard does not know',
    make: (checked, { layer }) => checked.rowsOfShard(layer, `DELETE FROM objects WHERE digest = '${layer}'`),
    finds: 'unlinked',
    isWhole: true,
    leaves: [],
  },
  {
    name: 'a link and content that the shard does not know',
    make: async (checked, { layer }) => {
      await checked.rowsOfShard(layer, `DELETE FROM links WHERE digest = '${layer}'`);
      await checked.rowsOfShard(layer, `DELETE FROM objects WHERE digest = '${layer}'`);
    },
    finds: 'unlinked',
    isWhole: true,
    leaves: [],
  },
  {
    name: 'a link that the shard does not know, to bytes that are gone',
    make: async (checked, { repository, layer }) => {
      await checked.home.tamper((await checked.blobOf(repository, layer)).key, null);
      await checked.rowsOfShard(layer, `DELETE FROM links WHERE digest = '${layer}'`);
      await checked.rowsOfShard(layer, `DELETE FROM objects WHERE digest = '${layer}'`);
    },
    finds: 'unlinked',
    isWhole: false,
    leaves: ['missing'],
  },
  {
    name: 'a link that the repository does not have',
    make: async (checked, { repository, layer }) => {
      const id = crypto.randomUUID();
      const { key } = await checked.blobOf(repository, layer);
      const row = `('${layer}', '${key}', '${repository}', '${id}', NULL)`;
      await checked.rowsOfShard(
        layer,
        `INSERT INTO links (digest, key, repository, id, confirm_at) VALUES ${row}`,
      );
    },
    finds: 'stale',
    isWhole: true,
    leaves: [],
  },
  {
    name: 'a blob that a manifest names and the repository does not have',
    make: async (checked, { repository, layer }) => {
      await checked.home.rows('REPOSITORY', repository, `DELETE FROM blobs WHERE digest = '${layer}'`);
      // The shard settles its link later, as after a push that failed.
    },
    finds: 'missing',
    isWhole: false,
    leaves: ['missing'],
  },
  {
    name: 'content without a link',
    make: (checked, { layer }) => {
      const row = `('${layer}', 'blobs/${crypto.randomUUID()}', 10, 0)`;
      return checked.rowsOfShard(layer, `INSERT INTO objects (digest, key, size, stored) VALUES ${row}`);
    },
    finds: 'left',
    isWhole: true,
    leaves: [],
  },
  {
    name: 'content that nothing knows',
    make: (checked) => checked.storeUnknown(blob(1000)),
    finds: 'leftover',
    isWhole: true,
    leaves: [],
  },
];

eachHome(
  (home) => {
    const [checked, client] = [new Checked(home), new Client(home)];
    const untouched = imageManifest({ layers: [blob(SIZE)] });
    const children = [imageManifest(), imageManifest()];
    const multi = imageIndex(children);

    before(async () => {
      // Everything that is stored is old, so that only what is known keeps it.
      await home.setClockAhead(3 * DAY_MS);
      await client.pushManifest('untouched/app', 'v1', untouched);
      for (const child of children) await client.pushManifest('untouched/multi', child.digest, child);
      assert.equal((await client.putManifest('untouched/multi', 'v1', multi)).status, 201);
    });
    afterEach(async () => {
      assert.deepEqual(await home.violations(), []);
      assert.equal(await client.pullManifest('untouched/app', 'v1'), untouched.digest);
      assert.equal(await client.pullManifest('untouched/multi', 'v1'), multi.digest);
    });

    for (const { name, make, finds, isWhole, leaves } of DAMAGES) {
      it(`${name}: it is found and repaired, and nothing else changes`, async () => {
        const repository = repositoryName();
        const bytes = blob(SIZE);
        const image = imageManifest({ layers: [bytes] });
        await client.pushManifest(repository, 'v1', image);
        assert.deepEqual(await checked.kinds(), []);

        await make(checked, { repository, bytes, layer: digestOf(bytes) });
        assert.deepEqual(await checked.kinds(), [finds]);
        assert.deepEqual(await checked.kinds(), [finds], 'looking changes nothing');

        const { results } = await checked.run(true);
        assert.deepEqual(
          results.map(({ kind }) => kind),
          [finds],
        );
        // The shard tells the repositories and asks them.
        await home.ring('BLOB_SHARD', digestOf(bytes).slice(7, 9));
        assert.deepEqual(await checked.kinds(), leaves);
        const isServed = (await client.pullBlob(repository, digestOf(bytes))) !== null;
        assert.equal(isServed, isWhole);

        await client.pushManifest(repository, 'v1', image);
        assert.deepEqual(await checked.kinds(), [], 'a push brings back what was lost');
        assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
      });
    }

    describe('content that nothing knows', () => {
      it('stays while it is young', async () => {
        const id = await checked.storeUnknown(blob(1000));
        await home.setClockAhead(DAY_MS);
        // As from a caller that does not look at the age.
        const step = await post('/check/leftovers', { leftovers: [{ id }], repair: true, calls: 900 });
        assert.deepEqual(step, { leftovers: [], token: null });
        assert.deepEqual((await checked.run(true)).results, []);
        assert.ok((await home.storedKeys()).some((key) => key.includes(id)));
        await home.setClockAhead(3 * DAY_MS);
        await checked.run(true);
        assert.ok(!(await home.storedKeys()).some((key) => key.includes(id)));
      });

      it('stays if only a repository knows it', async () => {
        const repository = repositoryName();
        const bytes = blob(SIZE);
        const layer = await client.pushBlob(repository, bytes);
        await client.pushManifest(repository, 'v1', imageManifest({ layers: [bytes] }));
        const { key } = await checked.blobOf(repository, layer);
        for (const table of ['links', 'objects'])
          await checked.rowsOfShard(layer, `DELETE FROM ${table} WHERE digest = '${layer}'`);
        const id = key.split('/')[1] ?? '';
        // As from a caller that has not read what the repositories have.
        const step = await post('/check/leftovers', { leftovers: [{ id }], repair: true, calls: 900 });
        assert.deepEqual(step, { leftovers: [], token: null });
        assert.ok((await client.pullBlob(repository, layer))?.equals(bytes));
        await checked.run(true);
      });

      it('is not deleted by a token that the registry has not made', async () => {
        const id = await checked.storeUnknown(blob(1000));
        const first = await post('/check/leftovers', { leftovers: [{ id }], repair: true, calls: 10 });
        if (home.name === 'r2') {
          const { token } = first as { token: string };
          const forged = token.replace(/"name":"\w+"/, '"name":"fe"');
          assert.notEqual(forged, token);
          const { errors } = (await post('/check/leftovers', { token: forged, calls: 10 })) as {
            errors: { code: string }[];
          };
          assert.equal(errors[0]?.code, 'INPUT_INVALID');
        }
        assert.ok((await home.storedKeys()).some((key) => key.includes(id)));
        await checked.run(true);
      });
    });

    it('an upload that goes on, the trash and a hidden blob are no findings', async () => {
      const repository = repositoryName();
      const [kept, hidden] = [blob(SIZE), blob(SIZE)];
      const image = imageManifest({ layers: [kept, hidden] });
      await client.pushManifest(repository, 'v1', image);
      const location = await client.startUpload(repository);
      const part = blob(3_000_000);
      await client.want(202, 'PATCH', location, { body: part });
      await client.want(202, 'DELETE', `/v2/${repository}/manifests/${image.digest}`);
      await client.want(202, 'DELETE', `/v2/${repository}/blobs/${digestOf(hidden)}`);
      const before = await home.storedKeys();
      assert.deepEqual((await checked.run(true)).results, []);
      // As from a caller that has not read what anything knows.
      const ids = new Set(before.map((key) => key.split('/')[1] ?? ''));
      const leftovers = [...ids].map((id) => ({ id }));
      const step = await post('/check/leftovers', { leftovers, repair: true, calls: 900 });
      assert.deepEqual(step, { leftovers: [], token: null });
      assert.deepEqual((await home.storedKeys()).sort(), before.sort());
    });

    async function post(path: string, body: object): Promise<unknown> {
      const response = await fetch(`${home.url}/api/v1${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
      return response.json();
    }
  },
  { vars: VARS },
);
