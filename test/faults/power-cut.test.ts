/**
 * The power fails right after a 201. On the disk as it is then, the next start serves all that got its 201, with the right
 * bytes, and what did not get it is garbage that can be pushed again and is collected.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { blob, digest as digestOf, imageManifest, repositoryName } from '../support/fixtures.ts';
import { Home } from '../support/homes.ts';
import { Client, locationOf, rangeOf, withDigest } from './client.ts';
import { type Disk, mountedDisk, notingDisk } from './power-cut-disks.ts';
import { expectNoRemains, letTimePass } from './remains.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const LIMIT = { timeout: 120_000 };
const VARS = { BLOB_DELIVERY: 'stream' };
const CLIENTS = 4;

/** What got its 201: a blob, or a manifest by its tag. */
interface Confirmed {
  repository: string;
  digest: string;
  tag?: string;
}

type Push = (
  client: Client,
  repository: string,
  confirm: (what: Confirmed) => void | Promise<void>,
) => Promise<void>;

/** Every way in which something is pushed, from the smallest blob to one of several pieces. */
const WAYS: Record<string, Push> = {
  'a blob of 20 KiB in one PUT': inOnePut(20 * KiB),
  'a blob of 300 KiB in one PUT': inOnePut(300 * KiB),
  'a blob of 3 MiB in one PUT': inOnePut(3 * MiB),
  'a blob of 20 KiB in one PATCH': inChunks([20 * KiB], 0),
  'a blob of 3 MiB in one PATCH': inChunks([3 * MiB], 0),
  'a blob in chunks': inChunks([1.5 * MiB, 10, 1200 * KiB], 1000),
  'an image': async (client, repository, confirm) => {
    const manifest = imageManifest({ layers: [blob(30 * KiB), blob(1.5 * MiB)] });
    for (const bytes of manifest.blobs) await client.pushBlob(repository, bytes);
    const answer = await client.putManifest(repository, 'v1', manifest);
    assert.equal(answer.status, 201);
    await confirm({ repository, digest: manifest.digest, tag: 'v1' });
  },
};

/** After which a cut shows all that came before, where a push saves nothing but itself. */
const LAST_WAY = Object.keys(WAYS).at(-1);

describe('on a disk that notes what was synced', () => onDisk(notingDisk));

const reason = whyNotMounted();
if (reason === null) describe('on a mounted disk', () => onDisk(async () => mountedDisk()));
else console.warn(`power cuts are tried on the noting disk only, because no disk can be mounted: ${reason}`);

function onDisk(make: () => Promise<Disk>): void {
  const ends: (() => void | Promise<void>)[] = [];
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test(
    'what got its 201 is there with the right bytes after a power cut, and the rest can be pushed again',
    LIMIT,
    async () => {
      const disk = await make();
      ends.push(disk.end);
      const home = new Home('disk', { ...disk.options, vars: VARS });
      ends.push(() => home.stop());
      await home.start();
      const confirmed: Confirmed[] = [];
      const cuts: { after: string; cut: string; confirmed: Confirmed[] }[] = [];
      const cut = (what: string) =>
        home.frozen(() => cuts.push({ after: what, cut: disk.cut(), confirmed: [...confirmed] }));

      const client = new Client(home);
      for (const [name, push] of Object.entries(WAYS)) {
        await push(client, repositoryName('alone'), (what) => {
          confirmed.push(what);
          if (disk.savesEarlier || name === LAST_WAY) cut(name);
        });
      }
      const together = Array.from({ length: CLIENTS }, () => repositoryName('together'));
      let answers = 0;
      await Promise.all(
        together.map(async (repository) => {
          for (const push of Object.values(WAYS)) {
            await push(client, repository, (what) => {
              confirmed.push(what);
              if (++answers === 2 * CLIENTS) cut('a push beside others');
            });
          }
        }),
      );

      for (const { after, cut, confirmed } of cuts) {
        const restored = new Home('disk', { stateDir: disk.restored(cut), vars: VARS });
        await restored.start();
        try {
          const reader = new Client(restored);
          for (const what of confirmed) await expectThere(reader, what, after);
          if (after !== 'a push beside others') continue;
          for (const repository of client.repositories) reader.repositories.add(repository);
          for (const upload of client.uploads) reader.uploads.add(upload);
          for (const digest of client.digests) reader.digests.add(digest);
          for (const repository of together) {
            for (const push of Object.values(WAYS)) {
              await push(reader, repository, async (what) =>
                expectThere(reader, what, 'a push after the cut'),
              );
            }
          }
          await letTimePass(reader);
          await expectNoRemains(reader, new Set());
        } finally {
          await restored.stop();
        }
      }
    },
  );
}

async function expectThere(
  client: Client,
  { repository, digest, tag }: Confirmed,
  when: string,
): Promise<void> {
  const found =
    tag === undefined
      ? await client.pullBlob(repository, digest).then((bytes) => (bytes === null ? null : digest))
      : await client.pullManifest(repository, tag);
  assert.equal(found, digest, `${digest} is gone after ${when}`);
}

function inOnePut(size: number): Push {
  return async (client, repository, confirm) => {
    const digest = await client.pushBlob(repository, blob(size));
    await confirm({ repository, digest });
  };
}

/** PATCHes of these sizes, and a PUT with the rest. */
function inChunks(sizes: number[], rest: number): Push {
  return async (client, repository, confirm) => {
    const bytes = blob(sizes.reduce((sum, size) => sum + size, rest));
    const digest = digestOf(bytes);
    let location = await client.startUpload(repository);
    let at = 0;
    for (const size of sizes) {
      const sent = { body: bytes.subarray(at, at + size), headers: rangeOf(at, size) };
      location = locationOf(await client.want(202, 'PATCH', location, sent));
      at += size;
    }
    const sent = rest === 0 ? {} : { body: bytes.subarray(at), headers: rangeOf(at, rest) };
    await client.want(201, 'PUT', withDigest(location, digest), sent);
    await confirm({ repository, digest });
  };
}

function whyNotMounted(): string | null {
  try {
    mountedDisk().end();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
