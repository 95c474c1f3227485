/**
 * The consistency check while the registry is used: pushes and deletions meanwhile, restarts in the middle, and what it costs. Everything
 * that is stored is old here, so that only what is known keeps it.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Client, locationOf, withDigest } from '../faults/client.ts';
import { blob, digest as digestOf, imageManifest, type Manifest } from '../support/fixtures.ts';
import { eachHome, type Home, onHome } from '../support/homes.ts';
import { Checked, DAY_MS, VARS } from './support.ts';

/** A request on Cloudflare's Free plan. */
const SUBREQUESTS_MAX = 50;
const WORKERS = 4;
const STEPS = 40;

interface Page {
  records: { kind: string }[];
  next: string | null;
}

async function page(home: Home, after: string | null, calls = 40): Promise<Page> {
  const query = new URLSearchParams({ calls: String(calls), ...(after === null ? {} : { after }) });
  const response = await fetch(`${home.url}/api/v1/check/records?${query}`);
  assert.equal(response.status, 200);
  return (await response.json()) as Page;
}

async function askLeftovers(
  home: Home,
  body: object,
): Promise<{ leftovers: object[]; token: string | null }> {
  const response = await fetch(`${home.url}/api/v1/check/leftovers`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200);
  return (await response.json()) as { leftovers: object[]; token: string | null };
}

/** A client that does one thing after another, and knows what must be there in the end. */
async function use(client: Client, random: () => number, worker: number): Promise<Map<string, Manifest>> {
  const repositories = [`busy/${worker}`, 'busy/shared'];
  const shared = blob(70_000);
  const tags = new Map<string, Manifest>();
  for (let count = 0; count < STEPS; count++) {
    const repository = repositories[Math.floor(random() * 2)] ?? '';
    const tag = `w${worker}-${Math.floor(random() * 4)}`;
    const name = `${repository}:${tag}`;
    const what = random();
    if (what < 0.45) {
      const image = imageManifest({ layers: [blob(80_000), shared] });
      await client.pushManifest(repository, tag, image);
      tags.set(name, image);
    } else if (what < 0.6) {
      await client.pushBlob(repository, blob(90_000)); // No manifest names it.
    } else if (what < 0.75) {
      await cutUpload(client, repository);
    } else if (what < 0.9) {
      const known = tags.get(name);
      if (known === undefined) continue;
      await client.send('DELETE', `/v2/${repository}/manifests/${known.digest}`);
      for (const [other, image] of tags) if (image === known) tags.delete(other);
    } else {
      const digest = await client.pushBlob(repository, blob(75_000));
      await client.send('DELETE', `/v2/${repository}/blobs/${digest}`);
    }
  }
  return tags;
}

/** An upload in two chunks; of some, the end never comes. */
async function cutUpload(client: Client, repository: string): Promise<void> {
  const [one, other] = [blob(1_200_000), blob(60_000)];
  const location = await client.startUpload(repository);
  const patched = await client.want(202, 'PATCH', location, { body: one });
  if ((one[0] ?? 0) % 2 === 0) return;
  const target = withDigest(locationOf(patched), digestOf(Buffer.concat([one, other])));
  await client.want(201, 'PUT', target, { body: other });
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

eachHome(
  (home) => {
    const checked = new Checked(home);
    before(() => home.setClockAhead(3 * DAY_MS));

    it('checks that repair all the time find nothing and change nothing while images are pushed and deleted', async (t) => {
      const seed = Number(process.env.CHECK_SEED ?? Math.floor(Math.random() * 2 ** 31));
      t.diagnostic(`CHECK_SEED=${seed}`);
      const client = new Client(home);
      let isBusy = true;
      const using = Promise.all(
        Array.from({ length: WORKERS }, (_, worker) => use(client, randomFrom(seed + worker), worker)),
      ).finally(() => {
        isBusy = false;
      });
      let checks = 0;
      for (; isBusy; checks++) assert.deepEqual((await checked.run(true, 30)).results, []);
      const pushed = await using;
      t.diagnostic(`${checks} checks ran meanwhile`);
      for (const [name, image] of pushed.flatMap((tags) => [...tags])) {
        const [repository = '', tag = ''] = name.split(':');
        const found = await client.pullManifest(repository, tag);
        // Another worker may have deleted the same manifest by its digest: none has the same.
        assert.equal(found, image.digest, name);
      }
      assert.deepEqual((await checked.run(true)).results, []);
      assert.deepEqual(await home.violations(), []);
    });

    it('a check goes on where it was after the registry was restarted, and leaves nothing to continue', async () => {
      const client = new Client(home);
      for (let count = 0; count < 12; count++)
        await client.pushManifest(`restarted/${count}`, 'v1', imageManifest({ layers: [blob(70_000)] }));
      const id = await checked.storeUnknown(blob(1000));
      const whole: object[] = [];
      for (let after: string | null = null, count = 0; ; count++) {
        const { records, next }: Page = await page(home, after, 10);
        whole.push(...records);
        if (next === null) break;
        after = next;
        if (home.name === 'disk' || count % 20 === 0) await restart(home);
      }
      const uninterrupted: object[] = [];
      for (let after: string | null = null; ; ) {
        const { records, next }: Page = await page(home, after, 900);
        uninterrupted.push(...records);
        if (next === null) break;
        after = next;
      }
      assert.deepEqual(whole, uninterrupted);

      let { leftovers, token } = await askLeftovers(home, { leftovers: [{ id }], repair: true, calls: 10 });
      for (let count = 0; token !== null; count++) {
        if (home.name === 'disk' || count % 20 === 0) await restart(home);
        ({ leftovers, token } = await askLeftovers(home, { token, calls: 10 }));
      }
      assert.deepEqual(leftovers, [{ id, uploadId: null }]);
      assert.ok(!(await home.storedKeys()).some((key) => key.includes(id)));
    });

    it('a check that the registry does not answer for a moment goes on', async () => {
      await new Client(home).pushManifest('patient/app', 'v1', imageManifest());
      await home.reset({ at: 'CATALOG.listAll', how: 'before' });
      assert.deepEqual((await checked.run()).results, []);
      await home.reset();
    });

    it('a place that the registry has not named is refused', async () => {
      const ask = async (query: string) => (await fetch(`${home.url}/api/v1/check/records?${query}`)).status;
      for (const after of ['x', '{}', '{"kind":"shard"}', '{"kind":"store","from":1}', '[]', 'null'])
        assert.equal(await ask(new URLSearchParams({ after }).toString()), 400, after);
    });
  },
  { vars: VARS },
);

async function restart(home: Home): Promise<void> {
  await home.restart();
  await home.setClockAhead(3 * DAY_MS);
}

onHome(
  'r2',
  (home) => {
    describe('the cost', () => {
      before(async () => {
        const client = new Client(home);
        for (let count = 0; count < 60; count++)
          await client.pushManifest(`costly/${count}`, 'v1', imageManifest());
        await new Checked(home).run();
      });

      it('a check writes no rows, and no request makes more calls than the Free plan allows', async (t) => {
        let [rowsRead, requests, calls] = [0, 0, 0];
        for (let after: string | null = null; ; requests++) {
          await home.settled();
          await home.reset();
          const { next }: Page = await page(home, after);
          const counts = await home.counts();
          assert.equal(counts.rowsWritten - counts.apart.written, 0);
          assert.ok(counts.calls.length <= SUBREQUESTS_MAX, counts.calls.join(' '));
          rowsRead += counts.rowsRead;
          calls += counts.calls.length;
          if (next === null) break;
          after = next;
        }
        t.diagnostic(`${requests + 1} requests, ${calls} calls, ${rowsRead} rows read for 60 images`);
      });

      it('asking about leftovers makes no more calls than the Free plan allows', async () => {
        await home.setClockAhead(3 * DAY_MS);
        const checked = new Checked(home);
        const ids = await Promise.all(Array.from({ length: 30 }, () => checked.storeUnknown(blob(10))));
        const found: object[] = [];
        let what: object | null = { leftovers: ids.map((id) => ({ id })), repair: true };
        while (what !== null) {
          await home.reset();
          const step = await askLeftovers(home, what);
          assert.ok((await home.counts()).calls.length <= SUBREQUESTS_MAX);
          found.push(...step.leftovers);
          what = step.token === null ? null : { token: step.token };
        }
        assert.equal(found.length, ids.length);
        assert.deepEqual(await home.violations(), []);
      });
    });
  },
  { vars: VARS },
);
