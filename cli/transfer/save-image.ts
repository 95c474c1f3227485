// Writes an image to files: its blobs, then its manifests.

import { CommandFailure } from '../failure.ts';
import type { Destination, ImageName } from './destination.ts';
import { eachAtOnce } from './each-at-once.ts';
import { type Listener, type Summary, Tally } from './events.ts';
import type { Source } from './source.ts';

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
  await eachAtOnce(source.blobs(), destination.jobs, stop, async (blob) => {
    const { digest, mediaType, size } = blob.descriptor;
    listen({ event: 'blob', digest, mediaType, size });
    const outcome = await destination.put(blob, {
      ...options,
      started: (offset) => listen({ event: 'blob-start', digest, offset }),
      moved: (offset) => listen({ event: 'blob-progress', digest, offset }),
    });
    listen({ event: 'blob-end', digest, outcome });
  });
  const manifests = await source.manifests();
  const root = manifests.at(-1);
  if (root === undefined) throw new CommandFailure(`${source.name} has no manifest.\nPush the image again.`);
  await destination.finish(manifests, image);
  for (const { descriptor } of manifests) listen({ event: 'manifest', ...descriptor });
  const summary = tally.summary('pull', root.descriptor.digest, destination.name);
  listen({ event: 'end', ...summary });
  return summary;
}
