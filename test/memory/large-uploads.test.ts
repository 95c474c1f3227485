/**
 * Memory is bounded: six uploads of unknown length at once, of 1 GiB each, hold at most 96 MiB of buffers.
 *
 * 6 GiB take minutes in the R2 simulator, so each upload is smaller here unless UPLOAD_MIB says otherwise (1024 is the whole
 * promise). That shows the same: an upload reads into one buffer and fills at most two parts, whatever its length, and from
 * its third part on it only repeats itself. None of the six ends before all of them have sent all but their last piece, so
 * they are in this state together.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { READ_BYTES } from '../../worker/blobs/body.ts';
import { PART_BYTES } from '../../worker/blobs/r2.ts';
import { MEMORY_BYTES } from '../../worker/memory/budget.ts';
import { repositoryName } from '../support/fixtures.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { answerTo, open } from '../support/http.ts';

const MiB = 1024 * 1024;
const piece = randomBytes(MiB);
/** Of each upload, in pieces of 1 MiB. */
const pieces = { disk: 256, r2: 64 };

/** The content of that number of pieces and a bit, which is never in memory as a whole. */
function digestOf(count: number): string {
  const hash = createHash('sha256');
  for (let n = 0; n < count; n++) hash.update(piece);
  return `sha256:${hash.update(LAST).digest('hex')}`;
}
const LAST = Buffer.from('the end');

/** Sends a PATCH of unknown length, with its last bytes once `together` has been reached. */
async function patch(
  home: Home,
  location: string,
  count: number,
  together: () => Promise<void>,
): Promise<string> {
  const sent = open(home.url, 'PATCH', location);
  const answered = answerTo(sent);
  answered.catch(() => undefined); // It is awaited below.
  for (let n = 0; n < count; n++) {
    if (!sent.write(piece)) await Promise.race([once(sent, 'drain'), answered]);
  }
  await together();
  sent.end(LAST);
  const { status, headers } = await answered;
  assert.equal(status, 202);
  assert.equal(headers.range, `0-${count * MiB + LAST.length - 1}`);
  return String(headers.location);
}

/** That number of uploads at once. With `meet`, none ends before all have reached the same point. */
async function uploads(home: Home, many: number, count: number, meet: boolean): Promise<void> {
  const name = repositoryName();
  const digest = digestOf(count);
  const everybody = Promise.withResolvers<void>();
  let arrived = 0;
  const together = async () => {
    if (++arrived === many) everybody.resolve();
    if (meet) await everybody.promise;
  };
  await Promise.all(
    Array.from({ length: many }, async () => {
      const start = await fetch(`${home.url}/v2/${name}/blobs/uploads/`, { method: 'POST' });
      const location = await patch(home, start.headers.get('Location') ?? '', count, together);
      const url = new URL(`${location}&digest=${digest}`, home.url);
      assert.equal((await fetch(url, { method: 'PUT' })).status, 201);
    }),
  );
  const head = await fetch(`${home.url}/v2/${name}/blobs/${digest}`, { method: 'HEAD' });
  assert.equal(head.headers.get('Content-Length'), String(count * MiB + LAST.length));
}

eachHome((home) => {
  describe('uploads of unknown length', () => {
    const count = Number(process.env.UPLOAD_MIB ?? pieces[home.name]);

    it(`six uploads of ${count} MiB and unknown length hold at most 96 MiB together`, {
      timeout: 1_200_000,
    }, async () => {
      assert.ok(count * MiB >= 3 * PART_BYTES, 'shorter uploads would show nothing');
      await home.memory();
      const before = workerdMemory();
      const began = Date.now();
      await uploads(home, 6, count, true);
      const seconds = (Date.now() - began) / 1000;
      const { held, peak } = await home.memory();
      const after = workerdMemory();
      console.log(
        `${home.name}: 6 x ${count} MiB at once in ${seconds.toFixed(1)} s: buffers at most ${mib(peak)}; ` +
          `workerd ${mib(before.now)} before, ${mib(after.now)} after, at most ${mib(after.peak)}`,
      );
      assert.ok(peak <= MEMORY_BYTES && MEMORY_BYTES === 96 * MiB, mib(peak));
      // All six were really there at once, each with the least that it needs.
      const least = home.name === 'r2' ? PART_BYTES : READ_BYTES;
      assert.ok(peak >= 6 * least, `only ${mib(peak)}`);
      assert.equal(held, 0, 'buffers that were not given back');
      assert.deepEqual(await home.violations(), []);
    });

    it('sixty uploads of unknown length at once wait for one another, and all succeed', {
      timeout: 120_000,
    }, async () => {
      await home.memory();
      await uploads(home, 60, 2, false);
      const { held, peak } = await home.memory();
      assert.ok(peak <= MEMORY_BYTES, mib(peak));
      assert.equal(held, 0);
    });
  });

  describe('memory beside that of chunks', () => {
    it('twenty final PUTs at once, each of an upload with a tail, stay within the memory', {
      timeout: 120_000,
    }, async () => {
      const size = home.name === 'r2' ? PART_BYTES / 2 : MiB - 1;
      const ready = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const bytes = randomBytes(size);
          const start = await fetch(`${home.url}/v2/${repositoryName()}/blobs/uploads/`, { method: 'POST' });
          const url = new URL(start.headers.get('Location') ?? '', home.url);
          const patched = await fetch(url, { method: 'PATCH', body: bytes as BodyInit });
          const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
          return new URL(`${patched.headers.get('Location')}&digest=${digest}`, home.url);
        }),
      );
      await home.memory();
      const answers = await Promise.all(ready.map((url) => fetch(url, { method: 'PUT' })));
      assert.deepEqual(
        answers.map(({ status }) => status),
        ready.map(() => 201),
      );
      const { held, peak } = await home.memory();
      // Each holds its tail, and twice while it comes.
      assert.ok(peak >= 2 * size && peak <= MEMORY_BYTES, mib(peak));
      assert.equal(held, 0);
    });

    it('pages of tags from places that are made up leave nothing', async () => {
      const name = repositoryName();
      const index = JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [],
      });
      const pushed = await fetch(`${home.url}/v2/${name}/manifests/v1`, {
        method: 'PUT',
        body: index,
        headers: { 'Content-Type': 'application/vnd.oci.image.index.v1+json' },
      });
      assert.equal(pushed.status, 201);
      const before = (await home.memory()).cached;
      for (let n = 0; n < 200; n++) {
        const page = await fetch(`${home.url}/v2/${name}/tags/list?last=${'z'.repeat(4000)}${n}`);
        assert.equal(page.status, 200);
        await page.arrayBuffer();
      }
      const { cached } = await home.memory();
      assert.ok(cached - before < 10_000, `${cached - before} bytes are remembered`);
    });
  });
});

/** The resident memory of the workerd that this process has started: now, and the highest so far. Zero where there is no /proc. */
function workerdMemory(): { now: number; peak: number } {
  try {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const status = readFileSync(`/proc/${pid}/status`, { encoding: 'utf8', flag: 'r' });
      const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
      if (field('Name') !== 'workerd' || field('PPid') !== String(process.pid)) continue;
      return { now: Number(field('VmRSS')) * 1024, peak: Number(field('VmHWM')) * 1024 };
    }
  } catch {
    // No /proc, or a process that ended while it was read: there is nothing to print.
  }
  return { now: 0, peak: 0 };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MiB)} MiB`;
}
