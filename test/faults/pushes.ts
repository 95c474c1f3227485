/**
 * The operations that faults befall, one by one. Each can be done, done again as a client would after a fault, and looked at:
 * `check` holds at any time, `finish` once it was done.
 */
import assert from 'node:assert/strict';
import { PART_BYTES } from '../../worker/blobs/r2.ts';
import {
  artifact,
  blob,
  digest as digestOf,
  imageIndex,
  imageManifest,
  type Manifest,
  repositoryName,
} from '../support/fixtures.ts';
import { BlobPush } from './blob-push.ts';
import { type Client, Refused } from './client.ts';

export interface Operation {
  /** Does it; `pause` comes between any two requests. Throws where a request fails. */
  run(pause?: () => Promise<void>): Promise<void>;
  /** What a client does next when `run` has failed. Has to succeed. */
  again(): Promise<void>;
  /** Nothing half-done may be seen, whatever has happened. */
  check(): Promise<void>;
  /** It is done, and what was pushed pulls back. */
  finish(): Promise<void>;
  /** Holds until something is deleted. */
  afterwards(): Promise<void>;
}

export interface Kind {
  name: string;
  /** Makes what has to be there before. */
  prepare(client: Client): Promise<Operation>;
}

const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * Chunks that make pieces on disk and cross the edges of parts on R2, with some that do neither. They are hardly longer than that
 * takes, because the simulator of R2 takes 20 ms of processor time for a MiB.
 */
const CHUNKS = {
  disk: [1.5 * MiB, 10, 1.2 * MiB],
  r2: [4 * MiB, PART_BYTES - 3.75 * MiB, 1000],
};
const LAST_CHUNK = 1000;

export const KINDS: Kind[] = [
  { name: 'one PUT', prepare: async (client) => new BlobPush(client, blob(100 * KiB), { kind: 'whole' }) },
  {
    name: 'PATCH and PUT, small',
    prepare: async (client) => new BlobPush(client, blob(100 * KiB), { kind: 'stream' }),
  },
  {
    name: 'PATCH and PUT, of several parts',
    prepare: async (client) =>
      new BlobPush(client, blob(client.home.name === 'r2' ? PART_BYTES + 1000 : 3 * MiB), { kind: 'stream' }),
  },
  {
    name: 'three chunks and a last one in the PUT',
    prepare: async (client) => {
      const { name } = client.home;
      const sizes = CHUNKS[name].map((size) => Math.floor(size));
      const total = sizes.reduce((sum, size) => sum + size, LAST_CHUNK);
      return new BlobPush(client, blob(total), { kind: 'chunks', sizes });
    },
  },
  { name: 'mount', prepare: mount },
  { name: 'promotion', prepare: (client) => promotion(client, false) },
  { name: 'promotion with an attestation', prepare: (client) => promotion(client, true) },
  { name: 'manifest PUT with a tag', prepare: manifestPut },
  { name: 'manifest DELETE', prepare: manifestDelete },
  { name: 'blob DELETE', prepare: blobDelete },
];

async function mount(client: Client): Promise<Operation> {
  const [source, target] = [repositoryName('source'), repositoryName('target')];
  const image = imageManifest({ layers: [blob(50 * KiB)] });
  await client.pushManifest(source, 'v1', image);
  const digests = image.blobs.map((bytes) => digestOf(bytes));
  const mountAll = async (pause = async () => {}) => {
    for (const digest of digests) {
      await client.want(201, 'POST', `/v2/${target}/blobs/uploads/?mount=${digest}&from=${source}`);
      await pause();
    }
  };
  return {
    run: mountAll,
    again: mountAll,
    check: async () => {
      for (const digest of digests) await client.pullBlob(target, digest);
    },
    finish: async () => {
      assert.equal((await client.putManifest(target, 'v1', image)).status, 201);
      await client.want(202, 'DELETE', `/v2/${source}/manifests/${image.digest}`);
    },
    afterwards: async () => assert.equal(await client.pullManifest(target, 'v1'), image.digest),
  };
}

/** An index with two children and a signature, to a tag that leads to something else before. */
async function promotion(client: Client, attest: boolean): Promise<Operation> {
  const [source, target] = [repositoryName('source'), repositoryName('target')];
  const children = [imageManifest({ layers: [blob(50 * KiB)] }), imageManifest({ layers: [blob(50 * KiB)] })];
  const image = imageIndex(children);
  const signature = artifact({ subject: image.descriptor });
  for (const child of children) await client.pushManifest(source, child.digest, child);
  await client.pushManifest(source, 'v1', image);
  await client.pushManifest(source, signature.digest, signature);
  const before = imageManifest();
  await client.pushManifest(target, 'v1', before);
  // The attestations of two attempts are then the same, so the test knows the digests of both.
  if (attest) await client.home.stopClock(Date.now());
  const promote = async () => {
    const body = Buffer.from(JSON.stringify({ from: `${source}:v1`, tags: ['v1', 'v2'], attest }));
    const at = `/api/v1/repositories/${encodeURIComponent(target)}/promotions`;
    const answer = await client.want(200, 'POST', at, {
      body,
      headers: { 'Content-Type': 'application/json' },
    });
    assert.equal((JSON.parse(answer.body.toString()) as { state: string }).state, 'done');
  };
  const expectDone = async () => {
    for (const tag of ['v1', 'v2']) assert.equal(await client.pullManifest(target, tag), image.digest);
    const found = await referrers(client, target, image);
    assert.ok(found.includes(signature.digest));
    assert.equal(found.length, attest ? 2 : 1);
    for (const digest of found) assert.equal(await client.pullManifest(target, digest), digest);
  };
  return {
    run: promote,
    again: promote,
    check: async () => {
      const isDone = (await client.pullManifest(target, image.digest)) !== null;
      assert.equal(await client.pullManifest(target, 'v1'), (isDone ? image : before).digest);
      assert.equal(await client.pullManifest(target, 'v2'), isDone ? image.digest : null);
      assert.equal((await referrers(client, target, image)).length, isDone ? (attest ? 2 : 1) : 0);
      for (const child of children)
        assert.equal(await client.pullManifest(target, child.digest), isDone ? child.digest : null);
    },
    finish: async () => {
      await client.home.setClockAhead(0);
      await expectDone();
      await client.want(202, 'DELETE', `/v2/${source}/manifests/${image.digest}`);
      for (const child of children)
        await client.want(202, 'DELETE', `/v2/${source}/manifests/${child.digest}`);
    },
    afterwards: expectDone,
  };
}

async function manifestPut(client: Client): Promise<Operation> {
  const repository = repositoryName('manifest');
  const before = imageManifest();
  await client.pushManifest(repository, 'v1', before);
  const after = imageManifest({ layers: [blob(50 * KiB)], subject: before.descriptor });
  const put = async () => {
    const { status, body } = await client.putManifest(repository, 'v1', after);
    if (status !== 201) throw new Refused(`${status} ${body}`);
  };
  const expectDone = async (moves: string[]) => {
    assert.equal(await client.pullManifest(repository, 'v1'), after.digest);
    assert.deepEqual(await referrers(client, repository, before), [after.digest]);
    const history = await client.home.rows(
      'REPOSITORY',
      repository,
      'SELECT digest FROM tag_history ORDER BY tag, seq',
    );
    assert.deepEqual(
      history.map((row) => row.digest),
      moves,
    );
  };
  return {
    run: async (pause = async () => {}) => {
      for (const bytes of after.blobs) await client.pushBlob(repository, bytes);
      await pause();
      await put();
    },
    again: async () => {
      for (const bytes of after.blobs) await client.pushBlob(repository, bytes);
      await put();
    },
    check: async () => {
      const written = (await client.pullManifest(repository, after.digest)) !== null;
      assert.equal(await client.pullManifest(repository, 'v1'), (written ? after : before).digest);
      assert.deepEqual(await referrers(client, repository, before), written ? [after.digest] : []);
    },
    finish: () => expectDone([before.digest, after.digest]),
    // Old moves are kept for UNDO_DAYS, which is 0 here.
    afterwards: () => expectDone([after.digest]),
  };
}

async function manifestDelete(client: Client): Promise<Operation> {
  const repository = repositoryName('manifest');
  const [kept, image] = [imageManifest(), imageManifest({ layers: [blob(50 * KiB)] })];
  await client.pushManifest(repository, 'kept', kept);
  await client.pushManifest(repository, 'v1', { ...image, blobs: image.blobs });
  const target = `/v2/${repository}/manifests/${image.digest}`;
  return {
    run: async () => {
      await client.want(202, 'DELETE', target);
    },
    again: async () => {
      const { status } = await client.send('DELETE', target);
      assert.ok(status === 202 || status === 404, `the repeated DELETE answered ${status}`);
    },
    check: async () => {
      const [byTag, byDigest] = [
        await client.pullManifest(repository, 'v1'),
        await client.pullManifest(repository, image.digest),
      ];
      assert.equal(byTag, byDigest);
    },
    finish: async () => {
      assert.equal(await client.pullManifest(repository, 'v1'), null);
      assert.equal(await client.pullManifest(repository, image.digest), null);
    },
    afterwards: async () => {
      assert.equal(await client.pullManifest(repository, 'kept'), kept.digest);
      for (const bytes of image.blobs) assert.equal(await client.pullBlob(repository, digestOf(bytes)), null);
    },
  };
}

async function blobDelete(client: Client): Promise<Operation> {
  const repository = repositoryName('blob');
  const digest = await client.pushBlob(repository, blob(50 * KiB));
  const target = `/v2/${repository}/blobs/${digest}`;
  const expectGone = async () => assert.equal(await client.pullBlob(repository, digest), null);
  return {
    run: async () => {
      await client.want(202, 'DELETE', target);
    },
    again: async () => {
      const { status } = await client.send('DELETE', target);
      assert.ok(status === 202 || status === 404, `the repeated DELETE answered ${status}`);
    },
    check: async () => {
      await client.pullBlob(repository, digest);
    },
    finish: expectGone,
    afterwards: expectGone,
  };
}

async function referrers(client: Client, repository: string, subject: Manifest): Promise<string[]> {
  const { body } = await client.want(200, 'GET', `/v2/${repository}/referrers/${subject.digest}`);
  const { manifests } = JSON.parse(body.toString()) as { manifests: { digest: string }[] };
  return manifests.map((manifest) => manifest.digest);
}
