// All rows, in groups that need the same content. Every group gets new targets, so that data of one group does not slow down
// another.
import { accessRows } from './access-rows.ts';
import { BenchClient, requestHead } from './client.ts';
import { type BenchBlob, type BenchImage, freshBlob, freshImage, KiB, MiB, manifestOf } from './content.ts';
import { LOAD_CONNECTIONS, requestsPerSecond, workThrough } from './load.ts';
import { first, throughput, warm } from './place.ts';
import { pullRows } from './pull-rows.ts';
import type { Group, Place, Row, Scale } from './row.ts';

/** Images that are pushed or pulled in parallel. */
const IMAGES_AT_A_TIME = 8;
/** Entries on a page of tags and of the catalog. */
const PAGE = 100;

export function rows(scale: Scale): Row[] {
  return [
    ...scale.blobMiB.flatMap((mib) => pushRows(mib, scale)),
    ...pullRows(scale),
    ...imageRows(scale),
    ...requestRows(scale),
    ...accessRows(scale),
  ];
}

function pushRows(mib: number, { roundMs }: Scale): Row[] {
  const size = mib * MiB;
  const push = (name: string, how: (client: BenchClient, blob: BenchBlob) => Promise<void>): Row => ({
    name: `push ${mib} MiB, ${name}`,
    unit: 'MiB/s',
    group: { prepare: ({ url }) => warm(url, (client) => how(client, freshBlob(3 * MiB))) },
    measure: (place) => throughput(place, roundMs, () => freshBlob(size), how),
  });
  return [
    push('one PUT', (client, blob) => client.pushInOnePut(blob)),
    push('one PATCH', (client, blob) => client.pushInOnePatch(blob)),
    push('chunked', (client, blob) => client.pushInChunks(blob)),
  ];
}

function imageRows({ images }: Scale): Row[] {
  const fresh = () => Array.from({ length: images }, freshImage);
  const group: Group = { prepare: ({ url }) => warm(url, (client) => client.pushImage(freshImage())) };
  return [
    {
      name: 'push small images',
      unit: 'images/s',
      group,
      measure: async (place) => {
        place.images = fresh();
        return imagesPerSecond(place, (client, image) => client.pushImage(image));
      },
    },
    {
      name: 'pull small images',
      unit: 'images/s',
      group: {
        prepare: async ({ url }) => {
          const place = { ...(await warm(url, (client) => client.pushImage(freshImage()))), images: fresh() };
          await imagesPerSecond(place, (client, image) => client.pushImage(image));
          return place;
        },
      },
      measure: (place) => imagesPerSecond(place, (client, image) => client.pullImage(image)),
    },
  ];
}

function requestRows(scale: Scale): Row[] {
  const tagged: Group = { prepare: ({ url }) => prepareTags(url, scale.tags) };
  const catalogued: Group = { prepare: ({ url }) => prepareRepositories(url, scale.repositories) };
  const row = (name: string, group: Group, lines: (place: Place) => string[]): Row => ({
    name,
    unit: 'requests/s',
    group,
    measure: (place) => {
      const requests = lines(place).map((line) => {
        return Buffer.from(requestHead(line, new URL(place.url).host, { Accept: place.manifest.mediaType }));
      });
      const bodiless = name.startsWith('HEAD');
      return requestsPerSecond(place.url, requests, { durationMs: scale.roundMs, status: 200, bodiless });
    },
  });
  const manifest = (method: string, reference: (place: Place) => string) => (place: Place) => [
    `${method} /v2/${place.prefix}/manifests/${reference(place)}`,
  ];
  const tag = () => tagName(Math.floor(scale.tags / 2));
  const digest = (place: Place) => place.manifest.digest;
  return [
    row('GET manifest by tag', tagged, manifest('GET', tag)),
    row('GET manifest by digest', tagged, manifest('GET', digest)),
    row('HEAD manifest by tag', tagged, manifest('HEAD', tag)),
    row('HEAD manifest by digest', tagged, manifest('HEAD', digest)),
    row('HEAD blob', tagged, (place) => [`HEAD /v2/${place.prefix}/blobs/${first(place.blobs).digest}`]),
    row(`tags page, ${PAGE} of ${scale.tags}`, tagged, (place) => [
      `GET /v2/${place.prefix}/tags/list?n=${PAGE}`,
    ]),
    row(`catalog page, ${PAGE} of ${scale.repositories}`, catalogued, () => [`GET /v2/_catalog?n=${PAGE}`]),
  ];
}

/** Every tag has its own manifest, as with releases. */
async function prepareTags(url: string, tags: number): Promise<Place> {
  const blobs = [freshBlob(2 * KiB), freshBlob(20 * KiB)];
  const place = await warm(url, async (client) => {
    for (const blob of blobs) await client.pushInOnePut(blob);
  });
  const work = Array.from({ length: tags }, (_, number) => ({ number, manifest: manifestOf(blobs) }));
  await workThrough(url, work, LOAD_CONNECTIONS, (connection, { number, manifest }) =>
    new BenchClient(connection, url, place.prefix).pushManifest(manifest, tagName(number)),
  );
  return { ...place, blobs, manifest: work[Math.floor(tags / 3)]?.manifest ?? place.manifest };
}

async function prepareRepositories(url: string, repositories: number): Promise<Place> {
  const blob = freshBlob(2 * KiB);
  const place = await warm(url, (client) => client.pushInOnePut(blob));
  const names = Array.from({ length: repositories }, (_, number) => `${place.prefix}-${number}`);
  const heard = await fetch(`${url}/bench/catalog`, { method: 'POST', body: JSON.stringify(names) });
  if (heard.status === 204) return place;
  // Other registries do not have that endpoint, so the repositories are pushed.
  const manifest = manifestOf([blob]);
  await workThrough(url, names, LOAD_CONNECTIONS, async (connection, name) => {
    const client = new BenchClient(connection, url, name);
    await client.mountBlob(blob, place.prefix);
    await client.pushManifest(manifest, 'latest');
  });
  return place;
}

/** Each connection pushes its images to its own repository. */
async function imagesPerSecond(
  place: Place,
  perform: (client: BenchClient, image: BenchImage) => Promise<void>,
): Promise<number> {
  const work = place.images.map((image, number) => ({
    image,
    repository: `${place.prefix}/${number % IMAGES_AT_A_TIME}`,
  }));
  const ms = await workThrough(place.url, work, IMAGES_AT_A_TIME, (connection, { image, repository }) =>
    perform(new BenchClient(connection, place.url, repository), image),
  );
  return (work.length / ms) * 1000;
}

function tagName(number: number): string {
  return `tag-${String(number).padStart(6, '0')}`;
}
