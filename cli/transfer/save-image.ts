// Writes an image to files: its blobs, then its manifests.

import { CommandFailure } from '../failure.ts';
import type { AbsentLayer, Destination, ImageName } from './destination.ts';
import { eachAtOnce } from './each-at-once.ts';
import { type Listener, type Summary, Tally } from './events.ts';
import type { Source, SourceBlob, SourceManifest } from './source.ts';

export interface SaveOptions {
  readonly source: Source;
  readonly destination: Destination;
  readonly image: ImageName;
  readonly signal?: AbortSignal | undefined;
  readonly listen: Listener;
}

/**
 * Returns when the image is written.
 *
 * Throws RegistryError.
 * Throws a CommandFailure if bytes do not have their digest, or a file cannot be written.
 */
export async function saveImage({
  source,
  destination,
  image,
  signal,
  listen: tell,
}: SaveOptions): Promise<Summary> {
  const tally = new Tally();
  const listen: Listener = (event) => {
    tally.count(event);
    tell(event);
  };
  listen({ event: 'start', from: source.name, to: destination.name });
  const stop = new AbortController();
  const options = {
    signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
    note: (message: string) => listen({ event: 'note', message }),
  };
  // An image of a registry is known as a whole before its first byte.
  const blobs: SourceBlob[] = [];
  for await (const blob of source.blobs()) blobs.push(blob);
  const manifests = await source.manifests();
  const absent = absentLayers(manifests, blobs);
  destination.check(manifests, absent);
  for (const { digest, url } of absent) {
    options.note(
      `The layer ${digest} is not in the registry, and was left out. Clients fetch it from ${url}`,
    );
  }
  await eachAtOnce(each(blobs), destination.jobs, stop, async (blob) => {
    const { digest, mediaType, size } = blob.descriptor;
    listen({ event: 'blob', digest, mediaType, size });
    const outcome = await destination.put(blob, {
      ...options,
      started: (offset) => listen({ event: 'blob-start', digest, offset }),
      moved: (offset) => listen({ event: 'blob-progress', digest, offset }),
    });
    listen({ event: 'blob-end', digest, outcome });
  });
  const root = manifests.at(-1);
  if (root === undefined) throw new CommandFailure(`${source.name} has no manifest.\nPush the image again.`);
  await destination.finish(manifests, image);
  for (const { descriptor } of manifests) listen({ event: 'manifest', ...descriptor });
  const summary = tally.summary('pull', root.descriptor.digest, destination.name);
  listen({ event: 'end', ...summary });
  return summary;
}

/** Layers that clients fetch from their URLs, and that the source does not have. */
function absentLayers(manifests: readonly SourceManifest[], blobs: readonly SourceBlob[]): AbsentLayer[] {
  const present = new Set<string>(blobs.map(({ descriptor }) => descriptor.digest));
  const absent = manifests
    .flatMap(({ bytes }) => (JSON.parse(Buffer.from(bytes).toString()) as { layers?: Layer[] }).layers ?? [])
    .filter(({ digest }) => !present.has(digest));
  return [...new Map(absent.map(({ digest, urls }) => [digest, { digest, url: urls?.[0] ?? '' }])).values()];
}

interface Layer {
  digest: string;
  urls?: string[];
}

async function* each<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
}
