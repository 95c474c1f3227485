/**
 * The edge cache alone, where a simulator cannot show it: a data centre's cache that fails or keeps nothing, writes that a
 * delete overtakes, other isolates of the data centre, and the bounds of what an isolate remembers.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EdgeCache, type EdgeCacheOptions } from '../../worker/registry/edge-cache.ts';

const MiB = 1024 * 1024;
const none = new Uint8Array();

type Opened = Awaited<ReturnType<EdgeCacheOptions['open']>>;

/** A cache of the data centre, in the memory of the test; a put waits for `gate`. */
class DataCentre {
  readonly entries = new Map<string, { bytes: ArrayBuffer; headers: Headers }>();
  gate: Promise<void> = Promise.resolve();
  fails = false;
  puts = 0;

  /** An isolate that uses it. `settle` resolves when all work in the background is done. */
  isolate(): { cache: EdgeCache; settle(): Promise<void> } {
    const work: Promise<void>[] = [];
    const open = async () => this as unknown as Opened;
    const cache = new EdgeCache({ lifetime: 60, open, later: (promise) => work.push(promise) });
    return { cache, settle: async () => void (await Promise.all(work)) };
  }

  async match(url: string): Promise<Response | undefined> {
    this.#check();
    const entry = this.entries.get(url);
    return entry && new Response(entry.bytes, { headers: entry.headers });
  }

  async put(url: string, response: Response): Promise<void> {
    this.#check();
    this.puts++;
    if (!url.includes('/probe/')) await this.gate;
    this.entries.set(url, { bytes: await response.arrayBuffer(), headers: response.headers });
  }

  async delete(url: string): Promise<boolean> {
    this.#check();
    return this.entries.delete(url);
  }

  #check(): void {
    if (this.fails) throw new Error('the cache fails');
  }
}

/** Keeps an answer as a read does, and waits until it is there. */
async function keeps({ cache, settle }: ReturnType<DataCentre['isolate']>, key: string, about: unknown) {
  cache.keep(key, { about, bytes: none }, await cache.begin());
  await settle();
}

describe('an isolate', () => {
  it('the edge cache of an isolate has what another of its data centre has kept, until either forgets it', async () => {
    const centre = new DataCentre();
    const [one, other] = [centre.isolate(), centre.isolate()];
    await keeps(one, 'a', { media: 'naïve/✓' });
    assert.deepEqual((await other.cache.find('a', true))?.about, { media: 'naïve/✓' });
    await one.cache.forget('a');
    assert.equal(await other.cache.find('a', true), null);
  });

  it('the edge cache of an isolate takes nothing that a write leaves behind a delete, and takes it from the others too', async () => {
    const centre = new DataCentre();
    const [one, other] = [centre.isolate(), centre.isolate()];
    const gate = Promise.withResolvers<void>();
    const since = await one.cache.begin();
    centre.gate = gate.promise;
    one.cache.keep('a', { about: 'old', bytes: none }, since);
    await one.cache.forget('a');
    gate.resolve();
    await one.settle();
    assert.equal(await one.cache.find('a', true), null);
    assert.equal(await other.cache.find('a', true), null);
  });

  it('the edge cache of an isolate takes nothing after a delete that another still writes', async () => {
    const centre = new DataCentre();
    const [one, other] = [centre.isolate(), centre.isolate()];
    const since = await other.cache.begin();
    await one.cache.forget('a');
    other.cache.keep('a', { about: 'old', bytes: none }, since);
    await other.settle();
    assert.equal(await one.cache.find('a', true), null);
  });

  it('the edge cache of an isolate does not even write what a delete has overtaken', async () => {
    const centre = new DataCentre();
    const { cache, settle } = centre.isolate();
    const since = await cache.begin();
    await cache.forget('a');
    const puts = centre.puts;
    cache.keep('a', { about: 'old', bytes: none }, since);
    await settle();
    assert.equal(centre.puts, puts);
  });

  it('the edge cache of an isolate takes nothing at all where it has forgotten more than it can tell', async () => {
    const isolate = new DataCentre().isolate();
    await keeps(isolate, 'kept', 'here');
    assert.notEqual(await isolate.cache.find('kept', true), null);
    for (let n = 0; n <= 10_000; n++) await isolate.cache.forget(`gone ${n}`);
    assert.equal(await isolate.cache.find('kept', true), null);
  });

  it('the edge cache of an isolate reads the bytes only if they are asked for', async () => {
    const { cache, settle } = new DataCentre().isolate();
    const bytes = new TextEncoder().encode('content');
    cache.keep('a', { about: 1, bytes }, await cache.begin());
    await settle();
    assert.deepEqual((await cache.find('a', true))?.bytes, bytes);
    assert.deepEqual((await cache.find('a', false))?.bytes, none);
  });

  it('the edge cache of an isolate takes nothing that would live for longer than its own lifetime', async () => {
    const { cache, settle } = new DataCentre().isolate();
    cache.keep('a', { about: 1, bytes: none }, (await cache.begin()) + 60_000);
    await settle();
    assert.equal(await cache.find('a', true), null);
  });
});

describe("without the data centre's cache", () => {
  const broken: { name: string; open: EdgeCacheOptions['open'] }[] = [
    { name: 'it cannot be opened', open: () => Promise.reject(new Error('no cache service')) },
    {
      name: 'it throws',
      open: async () => ({ match: refuse, put: refuse, delete: refuse }) as unknown as Opened,
    },
    {
      name: 'it keeps nothing',
      open: async () => ({ match: nothing, put: nothing, delete: nothing }) as unknown as Opened,
    },
  ];
  for (const { name, open } of broken) {
    it(`the memory of the isolate is used: ${name}`, async () => {
      const cache = new EdgeCache({ lifetime: 60, open, later: () => undefined });
      cache.keep('a', { about: 1, bytes: none }, await cache.begin());
      assert.equal((await cache.find('a', true))?.about, 1);
      await cache.forget('a');
      assert.equal(await cache.find('a', true), null);
    });
  }

  it('the memory of the edge cache in an isolate is bounded at 64 MiB', async () => {
    const open = () => Promise.reject(new Error('no cache service'));
    const cache = new EdgeCache({ lifetime: 60, open, later: () => undefined });
    const keep = async (key: string) =>
      cache.keep(key, { about: 1, bytes: new Uint8Array(16 * MiB) }, await cache.begin());
    await keep('first');
    for (let n = 0; n < 20; n++) await keep('the same');
    const hasFirst = async () => (await cache.find('first', true)) !== null;
    assert.equal(await hasFirst(), true, 'what is replaced does not count');
    for (const key of ['second', 'third']) await keep(key);
    assert.equal(await cache.find('the same', true), null, 'what was not used for longest is forgotten');
    assert.equal(await hasFirst(), true);
  });

  it("a data centre's cache that fails later fails no request", async (t) => {
    t.mock.method(console, 'error', () => undefined);
    const centre = new DataCentre();
    const isolate = centre.isolate();
    await keeps(isolate, 'a', 1);
    centre.fails = true;
    assert.equal(await isolate.cache.find('a', true), null);
    await keeps(isolate, 'b', 1);
    await isolate.cache.forget('a');
    centre.fails = false;
    assert.equal(await isolate.cache.find('a', true), null, 'it was forgotten here all the same');
  });
});

async function refuse(): Promise<never> {
  throw new Error('the cache fails');
}

async function nothing(): Promise<undefined> {}
