// Real clients, logged in, pull through every way of delivery, and every byte is compared. So is what they asked of the
// registry and of its blob host: which blobs were redirected, where the Authorization went, how they went on after a break.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { client, needs } from './support/client.ts';
import {
  assertDelivered,
  blobsOf,
  type Delivery,
  getsOf,
  logIn,
  PASSWORD,
  pushLayout,
  USER,
  type Way,
  ways,
} from './support/delivery.ts';
import { type Descriptor, hashFile, type Layout, noise, writeLayout } from './support/layout.ts';
import type { Passed } from './support/proxy.ts';
import { PARALLEL_RANGE_BYTES, pullingClients } from './support/pull.ts';
import { scene } from './support/registry.ts';

const MIB = 1 << 20;
/** Three that are redirected, the first of them in several ranges where ranges are pulled in parallel, and one that is not. */
const LAYER_BYTES = [4 * PARALLEL_RANGE_BYTES, 300_000, 200_000, 1_000];
const CHART_BYTES = 250_000;
const LONG_LAYER_BYTES = 20 * MIB;
const CUT_AT_BYTES = 8 * MIB;

describe('pulls', () => {
  const here = scene('delivery', null);
  const clients = pullingClients();
  const needsHelm = needs('helm');
  const needsCurl = needs('curl');
  before(async () => {
    for (const { options, start } of clients) if (options.skip === undefined) await start?.(here);
  });

  for (const way of ways) {
    describe(way.name, () => {
      let delivery: Delivery;
      let layout: Layout;
      const place = scene('way', async (folder) => {
        delivery = await way.start(folder);
        return delivery;
      });
      before(async () => {
        await logIn(here.home, place.host);
        layout = await writeLayout(await here.fresh('pushed'), { layerBytes: LAYER_BYTES });
        await pushLayout(delivery.direct, 'image', layout);
      });

      for (const { name, options, pull, inParallel } of clients) {
        test(`${name} pulls, ${way.name}`, options, async (t) => {
          forget(delivery);
          await pull(here, { reference: `${place.host}/image:latest`, layout });
          const blobs = await blobsOf(layout);
          tell(t, assertDelivered(way, delivery, blobs));
          if (inParallel) for (const blob of blobs.slice(1)) assertParallel(delivery, blob);
        });
      }

      test(`helm pulls, ${way.name}`, needsHelm, async (t) => {
        const packed = await chart();
        const helm = client('helm', here.home);
        const { host } = new URL(delivery.direct);
        await helm(['push', '--plain-http', packed, `oci://${host}/charts`]);
        forget(delivery);
        const pulled = await here.fresh('pulled');
        const where = [`oci://${place.host}/charts/harbour`, '--version', '1.2.3', '--plain-http'];
        await helm(['pull', ...where, '--destination', pulled]);
        const file = await hashFile(packed);
        assert.deepEqual(await hashFile(join(pulled, 'harbour-1.2.3.tgz')), file);
        tell(t, assertDelivered(way, delivery, [file]));
      });

      test('curl sends its credentials wherever it is sent, and that does no harm', needsCurl, async () => {
        const { digest } = await longest(layout);
        forget(delivery);
        const to = join(await here.fresh('out'), 'blob');
        await curl('--location-trusted', '--output', to, `${delivery.url}/v2/image/blobs/${digest}`);
        assert.equal((await hashFile(to)).digest, digest);
        const { asked, served } = getsOf(delivery, digest);
        assert.equal(asked.length, 1);
        assert.deepEqual(
          served.map(({ status, authorization }) => ({ status, sent: authorization !== undefined })),
          way.blobHost === 'none' ? [] : [{ status: 200, sent: true }],
        );
      });

      if (way.breaks) describe('that break off', () => breaks(way, () => delivery));
    });
  }

  /** After a break, clients that can go on where it was, through a redirect of its own. */
  function breaks(way: Way, deliveryOf: () => Delivery): void {
    let delivery: Delivery;
    let layout: Layout;
    before(async () => {
      delivery = deliveryOf();
      layout = await writeLayout(await here.fresh('pushed'), { layerBytes: [LONG_LAYER_BYTES] });
      await pushLayout(delivery.direct, 'long', layout);
    });

    for (const { name, options, pull, afterBreak } of clients) {
      if (afterBreak === undefined) continue;
      test(`${name} ${afterBreak}, ${way.name}`, options, async (t) => {
        const image = { reference: `${new URL(delivery.url).host}/long:latest`, layout };
        const { digest } = await longest(layout);
        forget(delivery);
        delivery.blobHost.cutNextAt(CUT_AT_BYTES);
        const pulled = await pull(here, image).then(
          () => 'well',
          (error: unknown) => String(error),
        );
        const resumes = getsOf(delivery, digest).asked.some(({ range }) => range !== undefined);
        if (resumes || afterBreak === 'resumes') {
          assert.equal(pulled, 'well');
          assertResumed(delivery, digest);
          assertDelivered(way, delivery, [await longest(layout)]);
          return;
        }
        t.diagnostic('does not resume, and pulls again');
        assert.match(pulled, /unexpected EOF/);
        forget(delivery);
        await pull(here, image);
        assertDelivered(way, delivery, [await longest(layout)]);
      });
    }

    test('curl -C - resumes', needsCurl, async () => {
      const { digest } = await longest(layout);
      forget(delivery);
      delivery.blobHost.cutNextAt(CUT_AT_BYTES);
      const to = join(await here.fresh('out'), 'blob');
      const download = ['--location', '--continue-at', '-', '--output', to];
      const url = `${delivery.url}/v2/long/blobs/${digest}`;
      await assert.rejects(curl(...download, url), /ended with 18:/);
      assert.equal((await hashFile(to)).size, CUT_AT_BYTES);
      await curl(...download, url);
      assert.equal((await hashFile(to)).digest, digest);
      assertResumed(delivery, digest);
      assertDelivered(way, delivery, [await longest(layout)]);
    });
  }

  const curl = (...args: string[]) =>
    client(
      'curl',
      here.home,
    )([...['--silent', '--show-error', '--fail', '--user', `${USER}:${PASSWORD}`], ...args]);

  /** A packed chart that is long enough to be redirected. */
  const chart = async () => {
    const folder = join(await here.fresh('chart'), 'harbour');
    await mkdir(folder);
    await writeFile(join(folder, 'Chart.yaml'), 'apiVersion: v2\nname: harbour\nversion: 1.2.3\n');
    await writeFile(join(folder, 'noise'), noise(CHART_BYTES));
    const packed = await here.fresh('packed');
    await client('helm', here.home)(['package', folder, '--destination', packed]);
    return join(packed, 'harbour-1.2.3.tgz');
  };
});

function forget({ registry, blobHost }: Delivery): void {
  registry.passed.length = 0;
  blobHost.passed.length = 0;
}

/** Fails unless a blob came in as many ranges as it has room for. */
function assertParallel(delivery: Delivery, { digest, size }: Descriptor): void {
  const { asked, served } = getsOf(delivery, digest);
  const ranges = Array.from(
    { length: Math.ceil(size / PARALLEL_RANGE_BYTES) },
    (_, index) => `bytes=${index * PARALLEL_RANGE_BYTES}-`,
  ).sort();
  assert.deepEqual(asked.map(({ range }) => range).sort(), ranges);
  assert.deepEqual(served.map(({ range }) => range).sort(), served.length === 0 ? [] : ranges);
}

/** Fails unless a blob broke off once, and the rest of it came through another redirect. */
function assertResumed(delivery: Delivery, digest: string): void {
  const { asked, served } = getsOf(delivery, digest);
  const told = JSON.stringify({ asked, served }, null, 1);
  const [begun, resumed] = served;
  assert(asked.length === 2 && served.length === 2, told);
  assert(begun?.status === 200 && begun.cut, told);
  assert(resumed?.status === 206 && !resumed.cut, told);
  for (const { range } of [...asked.slice(1), resumed]) {
    assert(range?.startsWith(`bytes=${CUT_AT_BYTES}-`), told);
  }
}

async function longest(layout: Layout): Promise<Descriptor> {
  const [first, ...others] = await blobsOf(layout);
  assert(first);
  return others.reduce((longer, blob) => (blob.size > longer.size ? blob : longer), first);
}

/** Prints what the blob host received, for the reader of the log. */
function tell(t: TestContext, served: readonly Passed[]): void {
  if (served.length === 0) return;
  const withAuthorization = served.filter(({ authorization }) => authorization !== undefined).length;
  t.diagnostic(`${served.length} requests at the blob host, ${withAuthorization} with Authorization`);
}
