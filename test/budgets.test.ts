/**
 * What a request may cost: the budgets of docs/architecture.md, counted at the bindings, with nothing remembered. On R2 every
 * row is held to its budget; on one machine the same table is printed, with the requests to the disk.
 *
 * Messages that a Durable Object sends after its answer (to the catalog, and to a shard that a link is gone) are listed
 * apart: nobody waits for them. The key that proves upload ids is fetched once by each isolate, and has a row of its own.
 */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { PART_BYTES } from '../worker/oci/limits.ts';
import {
  blob,
  digest,
  imageManifest,
  type Manifest,
  mediaTypes,
  repositoryName,
} from './support/fixtures.ts';
import { eachHome, type Home } from './support/homes.ts';

interface Cost {
  durableObjects: number;
  classA: number;
  classB: number;
}

interface Row {
  name: string;
  /** Prepares, and gives the requests that are counted. */
  given: (registry: Registry) => Promise<() => Promise<unknown>>;
  budget: Cost;
}

const cost = (durableObjects: number, classA = 0, classB = 0): Cost => ({ durableObjects, classA, classB });
const BACKGROUND = ['CATALOG.hear', 'BLOB_SHARD.unlink'];

const ROWS: Row[] = [
  {
    name: 'POST+PUT, the first of an isolate',
    given: async (registry) => () => registry.pushWhole(blob()),
    budget: cost(3, 1),
  },
  {
    name: 'HEAD manifest by tag',
    given: async (registry) => {
      await registry.pushImage('latest');
      return () => registry.send('HEAD', 'manifests/latest', 200);
    },
    budget: cost(1),
  },
  {
    name: 'GET manifest by tag',
    given: async (registry) => {
      await registry.pushImage('latest');
      return () => registry.send('GET', 'manifests/latest', 200);
    },
    budget: cost(1),
  },
  ...(['HEAD', 'GET'] as const).map(
    (method): Row => ({
      name: `${method} manifest by digest`,
      given: async (registry) => {
        const image = await registry.pushImage('latest');
        return () => registry.send(method, `manifests/${image.digest}`, 200);
      },
      budget: cost(1),
    }),
  ),
  {
    name: 'HEAD blob',
    given: async (registry) => {
      const bytes = await registry.pushWhole(blob());
      return () => registry.send('HEAD', `blobs/${digest(bytes)}`, 200);
    },
    budget: cost(1),
  },
  {
    name: 'GET blob, streamed',
    given: async (registry) => {
      const bytes = await registry.pushWhole(blob());
      return () => registry.send('GET', `blobs/${digest(bytes)}`, 200);
    },
    budget: cost(1, 0, 1),
  },
  { name: 'POST+PUT', given: async (registry) => () => registry.pushWhole(blob()), budget: cost(2, 1) },
  {
    name: 'POST with the blob',
    given: async (registry) => () => registry.pushAtOnce(blob()),
    budget: cost(2, 1),
  },
  {
    name: 'POST+PATCH+PUT, under one part',
    given: async (registry) => () => registry.pushChunks([blob()]),
    budget: cost(5, 1),
  },
  {
    name: 'POST+PATCH+PUT, exactly one part',
    given: async (registry) => () => registry.pushChunks([blob(PART_BYTES)]),
    budget: cost(5, 1),
  },
  ...[
    { n: 2, size: PART_BYTES + 1 },
    { n: 2, size: 2 * PART_BYTES },
    { n: 4, size: 3 * PART_BYTES + 5 },
  ].map(
    ({ n, size }): Row => ({
      name: `POST+PATCH+PUT, ${size} bytes in ${n} parts`,
      given: async (registry) => () => registry.pushChunks([blob(size)]),
      budget: cost(5, n + 2),
    }),
  ),
  {
    name: 'POST+3 PATCH+PUT, under one part',
    given: async (registry) => () => registry.pushChunks([blob(100), blob(1), blob(3000)]),
    budget: cost(9, 1),
  },
  {
    name: 'POST+3 PATCH+PUT, 3 parts of uneven chunks',
    given: async (registry) => () =>
      registry.pushChunks([blob(PART_BYTES - 5), blob(PART_BYTES), blob(PART_BYTES)]),
    budget: cost(9, 5),
  },
  {
    name: 'POST+PUT of a blob that another repository has',
    given: async (registry) => {
      const bytes = await registry.pushWhole(blob());
      const other = registry.another();
      return () => other.pushWhole(bytes);
    },
    // The shard asks the first repository whether it has the link that is not confirmed yet; after that it knows.
    budget: cost(3),
  },
  ...[true, false].map(
    (from): Row => ({
      name: `mount ${from ? 'with' : 'without'} \`from\``,
      given: async (registry) => {
        const bytes = await registry.pushWhole(blob());
        const other = registry.another();
        const query = `mount=${digest(bytes)}${from ? `&from=${registry.name}` : ''}`;
        return () => other.send('POST', `blobs/uploads/?${query}`, 201);
      },
      budget: cost(3),
    }),
  ),
  {
    name: 'manifest PUT',
    given: async (registry) => {
      const image = await registry.pushBlobs(imageManifest({ layers: 5 }));
      return () => registry.pushManifest(image, 'latest');
    },
    budget: cost(1),
  },
  {
    name: 'manifest PUT of a new repository',
    given: async (registry) => {
      const index = Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests: [] }),
      );
      return () =>
        registry.send('PUT', 'manifests/latest', 201, index, { 'Content-Type': mediaTypes.imageIndex });
    },
    budget: cost(1),
  },
  {
    name: 'a page of tags',
    given: async (registry) => {
      await registry.pushImage('latest');
      return () => registry.send('GET', 'tags/list', 200);
    },
    budget: cost(1),
  },
  {
    name: 'a page of referrers',
    given: async (registry) => {
      const image = await registry.pushImage('latest');
      return () => registry.send('GET', `referrers/${image.digest}`, 200);
    },
    budget: cost(1),
  },
];

/** A repository that nobody has used, and the requests of a client to it. */
class Registry {
  readonly name = repositoryName();
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  another(): Registry {
    return new Registry(this.#home);
  }

  async send(
    method: string,
    path: string,
    status: number,
    body?: Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const url = new URL(path, `${this.#home.url}/v2/${this.name}/`);
    const response = await fetch(url, { method, headers, ...(body && { body: body as BodyInit }) });
    await response.arrayBuffer();
    assert.equal(response.status, status, `${method} ${url.pathname}`);
    return response;
  }

  async pushWhole(bytes: Buffer): Promise<Buffer> {
    const started = await this.send('POST', 'blobs/uploads/', 202);
    await this.send('PUT', `${locationOf(started)}&digest=${digest(bytes)}`, 201, bytes);
    return bytes;
  }

  pushAtOnce(bytes: Buffer): Promise<Response> {
    return this.send('POST', `blobs/uploads/?digest=${digest(bytes)}`, 201, bytes);
  }

  async pushChunks(chunks: Buffer[]): Promise<void> {
    let location = locationOf(await this.send('POST', 'blobs/uploads/', 202));
    let offset = 0;
    for (const chunk of chunks) {
      const range = { 'Content-Range': `${offset}-${offset + chunk.length - 1}` };
      // One chunk alone comes as Docker sends it, without a range.
      const patched = await this.send('PATCH', location, 202, chunk, chunks.length > 1 ? range : {});
      location = locationOf(patched);
      offset += chunk.length;
    }
    await this.send('PUT', `${location}&digest=${digest(Buffer.concat(chunks))}`, 201);
  }

  async pushBlobs(manifest: Manifest): Promise<Manifest> {
    for (const bytes of manifest.blobs) await this.pushAtOnce(bytes);
    return manifest;
  }

  async pushManifest(manifest: Manifest, tag: string): Promise<Manifest> {
    await this.send('PUT', `manifests/${tag}`, 201, manifest.bytes, { 'Content-Type': manifest.mediaType });
    return manifest;
  }

  async pushImage(tag: string): Promise<Manifest> {
    return this.pushManifest(await this.pushBlobs(imageManifest()), tag);
  }
}

function locationOf(response: Response): string {
  return response.headers.get('Location') ?? '';
}

eachHome((home) => {
  const table: Record<string, Cost & { deletes: number; disk: number; later: string }> = {};

  describe('the cost of', () => {
    for (const { name, given, budget } of ROWS) {
      it(name, async () => {
        const request = await given(new Registry(home));
        await home.reset();
        await request();
        const counts = await home.counts();
        const later = counts.calls.filter((call) => BACKGROUND.includes(call));
        const found = cost(counts.durableObjects - later.length, counts.classA, counts.classB);
        table[name] = { ...found, deletes: counts.deletes, disk: counts.disk, later: later.join(' ') };
        // On one machine the bytes cost no R2 operation, and what is asked again no call.
        const wanted = home.name === 'r2' ? budget : cost(budget.durableObjects);
        for (const what of ['durableObjects', 'classA', 'classB'] as const) {
          assert.ok(
            found[what] <= wanted[what],
            `${found[what]} ${what}, of ${wanted[what]}: ${counts.calls.join(' ')}`,
          );
        }
        assert.equal(counts.deletes, 0, 'nothing is written to be deleted');
        assert.deepEqual(await home.violations(), []);
      });
    }
  });

  if (home.name === 'disk') {
    it('nothing, for what was read before and has not changed', async () => {
      const registry = new Registry(home);
      const image = await registry.pushImage('latest');
      const [config = Buffer.alloc(0)] = image.blobs;
      const reads: [method: string, path: string][] = [
        ['HEAD', 'manifests/latest'],
        ['GET', 'manifests/latest'],
        ['GET', `manifests/${image.digest}`],
        ['HEAD', `blobs/${digest(config)}`],
      ];
      for (const [method, path] of reads) await registry.send(method, path, 200);
      await home.reset();
      for (const [method, path] of reads) await registry.send(method, path, 200);
      assert.deepEqual((await home.counts()).calls, []);
    });
  }

  after(() => {
    console.log(`\nWhat a request costs, ${home.name === 'r2' ? 'on Cloudflare' : 'on one machine'}:`);
    console.table(table);
  });
});
