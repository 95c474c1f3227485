/** What a push may cost: blobs by every way, mounts, manifests, and what lists and deletes them. */
import { PART_BYTES } from '../../worker/blobs/r2.ts';
import { blob, digest, imageManifest, mediaTypes } from '../support/fixtures.ts';
import type { Registry } from './client.ts';
import { cost, type Row } from './row.ts';

const MiB = 1024 * 1024;

/** The first deletion of a repository makes the tables of its trash. */
async function deleteSomething(registry: Registry): Promise<void> {
  await registry.pushImage('old');
  await registry.send('DELETE', 'manifests/old', 202);
}

/** Promotes a tag of one repository to the same tag of another. */
async function promote(from: Registry, to: Registry, tag: string): Promise<void> {
  const body = Buffer.from(JSON.stringify({ from: `${from.name}:${tag}`, tags: [tag] }));
  const at = `/api/v1/repositories/${encodeURIComponent(to.name)}/promotions`;
  await from.send('POST', at, 200, body, { 'Content-Type': 'application/json' });
}

/** A repository that has been pushed to. */
async function used(registry: Registry): Promise<Registry> {
  await registry.pushImage('used');
  return registry;
}

const chunked = (name: string, chunks: () => Buffer[], budget: Row['budget']): Row => ({
  name: `POST+${chunks().length === 1 ? '' : `${chunks().length} `}PATCH+PUT, ${name}`,
  given: async (registry) => {
    await used(registry);
    const content = chunks();
    return () => registry.pushChunks(content);
  },
  budget,
});

export const PUSHES: Row[] = [
  {
    name: 'POST+PUT to a new repository',
    given: async (registry) => () => registry.pushWhole(blob()),
    budget: cost(2, 1, 0, 20),
  },
  {
    name: 'POST+PUT',
    given: async (registry) => {
      await used(registry);
      return () => registry.pushWhole(blob());
    },
    budget: cost(2, 1, 0, 8),
  },
  {
    name: 'POST with the blob',
    given: async (registry) => {
      await used(registry);
      return () => registry.pushAtOnce(blob());
    },
    budget: cost(2, 1, 0, 8),
  },
  {
    name: 'POST, PUT to the bucket, and PUT without a body',
    given: async (registry) => {
      await used(registry);
      return () => registry.pushDirect(blob(100_000));
    },
    budget: cost(4, 0, 1, 10),
  },
  // An alarm that is set is a row, and up to two are.
  chunked('under one part', () => [blob()], cost(5, 1, 0, 11)),
  // Its tail is four rows: one is that of the upload, and three are deleted again.
  chunked('one byte less than one part', () => [blob(PART_BYTES - 1)], cost(5, 1, 0, 17)),
  chunked('exactly one part', () => [blob(PART_BYTES)], cost(5, 3, 0, 11)),
  chunked('2 parts, the second of one byte', () => [blob(PART_BYTES + 1)], cost(5, 4, 0, 11)),
  chunked('2 whole parts', () => [blob(2 * PART_BYTES)], cost(5, 4, 0, 11)),
  chunked('4 parts', () => [blob(3 * PART_BYTES + 5)], cost(5, 6, 0, 11)),
  chunked('under one part', () => [blob(100), blob(1), blob(3000)], cost(9, 1, 0, 15)),
  chunked('whole parts', () => [1, 2, 3].map(() => blob(PART_BYTES)), cost(9, 5, 0, 15)),
  chunked('uneven chunks of 3 MiB', () => [1, 2, 3].map(() => blob(3 * MiB)), cost(9, 4, 0, 23)),
  chunked(
    '3 parts of uneven chunks',
    () => [blob(PART_BYTES - 5), blob(PART_BYTES), blob(PART_BYTES)],
    cost(9, 5, 0, 27),
  ),
  {
    name: 'POST+PUT of a blob that another repository has',
    given: async (registry) => {
      const bytes = await registry.pushWhole(blob());
      const other = await used(registry.another());
      return () => other.pushWhole(bytes);
    },
    // The shard asks the first repository whether it has the link that is not confirmed yet; after that it knows.
    // The store is asked whether it has the bytes: a push repairs what was lost.
    budget: cost(3, 0, 1, 8),
  },
  ...[true, false].map(
    (from): Row => ({
      name: `mount ${from ? 'with' : 'without'} \`from\``,
      given: async (registry) => {
        const bytes = await registry.pushWhole(blob(from ? 64 : 100_000));
        const other = await used(registry.another());
        const query = `mount=${digest(bytes)}${from ? `&from=${registry.name}` : ''}`;
        return () => other.send('POST', `blobs/uploads/?${query}`, 201);
      },
      budget: cost(3, 0, 0, 8),
    }),
  ),
  ...[1, 5].map(
    (layers): Row => ({
      name: `promotion, ${layers + 1} blobs and a new tag`,
      given: async (registry) => {
        await registry.pushImage(
          'v1',
          Array.from({ length: layers }, () => blob()),
        );
        const other = await used(registry.another());
        return () => promote(registry, other, 'v1');
      },
      // Of each blob, three rows in its shard, with the alarm, and three in the repository.
      budget: cost(5 + layers + 1, 0, 0, 16 + 6 * (layers + 1)),
    }),
  ),
  {
    name: 'promotion of an image that is there, a new tag',
    given: async (registry) => {
      const image = await registry.pushImage('v1');
      const other = registry.another();
      await other.pushBlobs(image);
      await other.pushManifest(image, 'v2');
      return () => promote(registry, other, 'v1');
    },
    budget: cost(3, 0, 0, 6),
  },
  ...[1, 5].map(
    (layers): Row => ({
      name: `manifest PUT, ${layers + 1} blobs and a new tag`,
      given: async (registry) => {
        await used(registry);
        const image = await registry.pushBlobs(imageManifest({ layers }));
        return () => registry.pushManifest(image, 'latest');
      },
      budget: cost(1, 0, 0, 8 + 2 * (layers + 1)),
    }),
  ),
  {
    name: 'manifest PUT, 2 blobs and a tag that moves',
    given: async (registry) => {
      await used(registry);
      const image = await registry.pushBlobs(imageManifest({ layers: 1 }));
      return () => registry.pushManifest(image, 'used');
    },
    budget: cost(1, 0, 0, 12),
  },
  {
    name: 'manifest PUT, as it is already',
    given: async (registry) => {
      const image = await registry.pushImage('latest');
      return () => registry.pushManifest(image, 'latest');
    },
    budget: cost(1, 0, 0, 0),
  },
  {
    name: 'manifest PUT to a new repository',
    given: async (registry) => {
      const index = Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests: [] }),
      );
      return () =>
        registry.send('PUT', 'manifests/latest', 201, index, { 'Content-Type': mediaTypes.imageIndex });
    },
    budget: cost(1, 0, 0, 21),
  },
  {
    name: 'small image, all in all',
    given: async (registry) => {
      await used(registry);
      return () => registry.pushSmallImage('latest');
    },
    budget: cost(5, 2, 0, 25),
  },
  {
    name: 'DELETE tag',
    given: async (registry) => {
      await deleteSomething(registry);
      await registry.pushImage('latest');
      return () => registry.send('DELETE', 'manifests/latest', 202);
    },
    budget: cost(1, 0, 0, 9),
  },
  {
    name: 'DELETE manifest, 2 blobs and a tag',
    given: async (registry) => {
      await used(registry);
      await deleteSomething(registry);
      const image = await registry.pushImage('latest');
      return () => registry.send('DELETE', `manifests/${image.digest}`, 202);
    },
    budget: cost(1, 0, 0, 12),
  },
  {
    name: 'DELETE blob',
    given: async (registry) => {
      await used(registry);
      const bytes = await registry.pushWhole(blob());
      return () => registry.send('DELETE', `blobs/${digest(bytes)}`, 202);
    },
    budget: cost(1, 0, 0, 7),
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
