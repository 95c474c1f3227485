// Sends an image to a repository: its blobs, several at once, then its manifests.
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import { CommandFailure, EXIT } from '../failure.ts';
import type { Credentials } from './credentials.ts';
import { DirectWay } from './direct.ts';
import { eachAtOnce } from './each-at-once.ts';
import { type Listener, type Summary, Tally } from './events.ts';
import { pushBlob } from './push-blob.ts';
import { Registry } from './registry.ts';
import { ResumeStore } from './resume.ts';
import { Slots } from './slots.ts';
import type { Source, SourceManifest } from './source.ts';
import type { Target } from './target.ts';
import { ChunkLimit } from './upload.ts';

/** Blobs that are looked for in the registry at once. Each is a short request. */
const LOOKUPS_MAX = 16;
/** Small blobs that are sent at once, for each large one. */
const SMALL_JOBS = 3;
/** Attempts of a request. A network that is away for a minute does not end a push. */
const ATTEMPTS_MAX = 10;

export interface PushOptions {
  readonly source: Source;
  readonly target: Target;
  /** Asked again if the registry refuses what it gave before: credentials of a CI job expire. */
  readonly credentials: () => Promise<Credentials | null>;
  /** Large blobs that are sent at once. */
  readonly jobs: number;
  /** A repository of the same registry that has the blobs. */
  readonly mountFrom?: string | null;
  readonly signal?: AbortSignal | undefined;
  readonly listen: Listener;
  readonly env: NodeJS.ProcessEnv;
  readonly limit?: ChunkLimit;
  /** Attempts of a request without progress. */
  readonly attemptsMax?: number;
}

/**
 * Returns when the registry has the image.
 *
 * Throws RegistryError.
 * Throws a CommandFailure if the source is damaged or the registry cannot be reached.
 * Throws the signal's reason when it is aborted. The next push of the image then continues.
 */
export async function pushImage(options: PushOptions): Promise<Summary> {
  const { source, target, jobs } = options;
  const tally = new Tally();
  const listen: Listener = (event) => {
    tally.count(event);
    options.listen(event);
  };
  const note = (message: string) => listen({ event: 'note', message });
  listen({ event: 'start', from: source.name, to: nameOf(target) });
  const stop = new AbortController();
  const registry = new Registry({
    origin: target.origin,
    credentials: await options.credentials(),
    renew: options.credentials,
    signal: options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]),
    report: note,
    attemptsMax: options.attemptsMax ?? ATTEMPTS_MAX,
  });
  const limit = options.limit ?? new ChunkLimit();
  const push = {
    registry,
    repository: target.repository,
    mountFrom: options.mountFrom ?? null,
    limit,
    direct: new DirectWay(registry, { report: note, limit, ...directOptions(options.env) }),
    resume: new ResumeStore(options.env, note),
    slots: new Slots(jobs),
    smallSlots: new Slots(jobs * SMALL_JOBS),
    sourceName: source.name,
    listen,
  };
  await eachAtOnce(source.blobs(), LOOKUPS_MAX + jobs, stop, async (blob) => {
    const { digest, mediaType, size } = blob.descriptor;
    listen({ event: 'blob', digest, mediaType, size });
    const outcome = await pushBlob(blob, push);
    listen({ event: 'blob-end', digest, outcome });
  });
  const digest = await pushManifests(await source.manifests(), registry, target, listen);
  const summary = tally.summary('push', digest, nameOf({ ...target, digest }));
  listen({ event: 'end', ...summary });
  return summary;
}

function directOptions({ LONGSHORE_DIRECT: direct }: NodeJS.ProcessEnv): { minBytes?: number } {
  if (!direct) return {};
  if (direct === 'off') return { minBytes: Number.POSITIVE_INFINITY };
  if (/^\d{1,15}$/.test(direct)) return { minBytes: Number(direct) };
  throw new CommandFailure(
    `LONGSHORE_DIRECT is ${JSON.stringify(direct)}.\nSet it to off, or to the smallest blob, in bytes, to store straight in the bucket of the registry.`,
    EXIT.usage,
  );
}

async function pushManifests(
  manifests: readonly SourceManifest[],
  registry: Registry,
  { repository, tag, digest }: Target,
  listen: Listener,
): Promise<Digest> {
  const image = manifests.at(-1)?.descriptor.digest;
  if (image === undefined) throw new CommandFailure('The source has no manifest.\nWrite the image again.');
  if (digest !== null && digest !== image) {
    throw new CommandFailure(
      `The image has the digest ${image}, not ${digest}.\nPush it without a digest, or push the image that has this digest.`,
    );
  }
  for (const manifest of manifests) {
    const { mediaType, size, digest: own } = manifest.descriptor;
    const ownTag = own === image ? tag : null;
    // A registry stores what is pushed by its tag under sha256.
    const beside = algorithmOf(own) === 'sha256' ? null : ownTag;
    const reference = beside === null ? (ownTag ?? own) : own;
    const stored = await registry.putManifest(repository, reference, mediaType, manifest.bytes, beside);
    if (stored !== null && stored !== own) {
      throw new CommandFailure(
        `${registry.origin} stored the manifest ${own} under another digest, ${stored.slice(0, 200)}.\nThe image is not as it was sent. Check what stands in front of the registry.`,
      );
    }
    listen({ event: 'manifest', digest: own, mediaType, size });
  }
  return image;
}

/** `HOST/REPOSITORY:TAG@DIGEST`. */
export function nameOf({ host, repository, tag, digest }: Target): string {
  return `${host}/${repository}${tag === null ? '' : `:${tag}`}${digest === null ? '' : `@${digest}`}`;
}
