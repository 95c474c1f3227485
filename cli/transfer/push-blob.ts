// Brings one blob into a repository: finds it there, links it from another repository, or sends its bytes.
import { createHash } from 'node:crypto';
import { algorithmOf, encodedOf } from '../../worker/oci/digest.ts';
import { CommandFailure } from '../failure.ts';
import type { DirectWay } from './direct.ts';
import type { Listener, Outcome } from './events.ts';
import { ConnectionLost, SourceChanged } from './http.ts';
import { type Registry, RegistryError } from './registry.ts';
import type { ResumeStore, UploadEntry } from './resume.ts';
import type { Slots } from './slots.ts';
import type { SourceBlob } from './source.ts';
import { ChunkedUpload, type ChunkLimit, type Content, UploadLost } from './upload.ts';

const SMALL_MAX_BYTES = 2 * 1024 * 1024;
/** Times that one blob is sent again from its beginning. */
const RESTARTS_MAX = 3;

/** What the pushes of all blobs of an image share. */
export interface BlobPush {
  readonly registry: Registry;
  readonly repository: string;
  /** A repository of the same registry that has the blobs. Null if it is not known. */
  readonly mountFrom: string | null;
  readonly limit: ChunkLimit;
  readonly direct: DirectWay;
  readonly resume: ResumeStore;
  /** Of blobs whose bytes are being sent. Those of small ones are more, because small blobs mostly wait for answers. */
  readonly slots: Slots;
  readonly smallSlots: Slots;
  /** For messages. */
  readonly sourceName: string;
  readonly listen: Listener;
}

/**
 * Returns when the repository has the blob.
 *
 * Throws RegistryError.
 * Throws a CommandFailure if the source cannot be read or has changed, or if the registry loses the upload again and again.
 */
export async function pushBlob(blob: SourceBlob, push: BlobPush): Promise<Outcome> {
  const { digest } = blob.descriptor;
  let sendsWhole = true;
  for (let restarts = 0; ; restarts += 1) {
    try {
      return await attempt(blob, push, sendsWhole);
    } catch (error) {
      const reason = await reasonToRestart(error, blob, push);
      if (restarts === RESTARTS_MAX) {
        throw new CommandFailure(
          `${push.registry.origin} lost the upload of ${digest} ${RESTARTS_MAX + 1} times. The last time: ${reason}.\nTry again. If it happens again, read the log of the registry.`,
        );
      }
      // A body that is cut off is lost as a whole. Of chunks, the registry keeps what has arrived.
      sendsWhole &&= !(error instanceof ConnectionLost);
      push.listen({ event: 'note', message: `${digest}: ${reason}; starting this blob again` });
    }
  }
}

async function attempt(blob: SourceBlob, push: BlobPush, sendsWhole: boolean): Promise<Outcome> {
  const { registry, repository, limit, mountFrom } = push;
  const { digest, size } = blob.descriptor;
  if (await registry.hasBlob(repository, digest, size)) return 'present';
  const slots = size <= SMALL_MAX_BYTES ? push.smallSlots : push.slots;
  return slots.run(async () => {
    const [unfinished, entry] = await claim(blob, push);
    const direct = unfinished === null ? await sendDirect(blob, push, entry) : null;
    if (typeof direct === 'string') return direct;
    const upload =
      unfinished ??
      direct ??
      (await ChunkedUpload.mountOrStart(registry, repository, limit, digest, mountFrom));
    if (upload === null) return 'linked';
    await send(blob, push, upload, entry, sendsWhole);
    return 'sent';
  });
}

/** The unfinished upload of an earlier process, if the registry still knows it, and the entry to keep its state in. */
async function claim(blob: SourceBlob, push: BlobPush): Promise<[ChunkedUpload | null, UploadEntry]> {
  const { registry, repository, limit, resume, direct } = push;
  const key = { origin: registry.origin, repository, digest: blob.descriptor.digest };
  for await (const entry of resume.claim(key)) {
    if (entry.isDirect && direct.takes(blob.descriptor)) return [null, entry];
    if (entry.isDirect) {
      await entry.remove();
      continue;
    }
    const upload = await ChunkedUpload.resume(registry, repository, limit, entry.location ?? '');
    if (upload !== null && upload.offset <= blob.descriptor.size) return [upload, entry];
    await entry.remove();
  }
  return [null, resume.create(key)];
}

/** Stores the blob past the registry. If it has to go through it: the upload that was started for it, or null. */
async function sendDirect(
  blob: SourceBlob,
  { direct, repository, mountFrom, listen }: BlobPush,
  entry: UploadEntry,
): Promise<Outcome | ChunkedUpload | null> {
  const { digest } = blob.descriptor;
  if (!direct.takes(blob.descriptor)) return null;
  try {
    const outcome = await direct.push(repository, blob, {
      mountFrom,
      resumeFrom: entry.isDirect ? entry.location : null,
      begun: () => listen({ event: 'blob-start', digest, offset: 0 }),
      sent: (offset) => listen({ event: 'blob-progress', digest, offset }),
      resumable: (location) => entry.save(location, true),
    });
    await entry.remove();
    return outcome;
  } catch (error) {
    if (endsUpload(error)) await entry.remove();
    throw error;
  }
}

async function send(
  blob: SourceBlob,
  { registry, limit, listen }: BlobPush,
  upload: ChunkedUpload,
  entry: UploadEntry,
  sendsWhole: boolean,
): Promise<void> {
  const { digest, size } = blob.descriptor;
  // If it refuses the bytes, they are read again with the check, which names the reason.
  const content = upload.checksDigest ? (blob.unchecked ?? blob) : blob;
  const begin = upload.offset;
  listen({ event: 'blob-start', digest, offset: begin });
  const sent = (offset: number) => listen({ event: 'blob-progress', digest, offset });
  const isWhole = sendsWhole && begin === 0 && size <= limit.maxBytes;
  if (isWhole) {
    if (await upload.commitWhole(digest, content, { sent })) return;
    listen({
      event: 'note',
      message: `Something in front of ${registry.origin} refuses a body of ${size} bytes; sending chunks of ${limit.maxBytes} bytes`,
    });
  }
  try {
    await entry.save(upload.location);
    const taken = () => entry.save(upload.location);
    await upload.append(rest(content, begin), { sent, taken });
    await upload.commit(digest);
    await entry.remove();
  } catch (error) {
    if (endsUpload(error)) await entry.remove();
    throw error;
  }
}

/** Whether the registry has no more use for the upload. */
function endsUpload(error: unknown): boolean {
  return (
    error instanceof UploadLost || (error instanceof RegistryError && [400, 404, 416].includes(error.status))
  );
}

/** Why the blob may get there if it is sent again from its beginning. Throws the error if it may not. */
async function reasonToRestart(error: unknown, blob: SourceBlob, push: BlobPush): Promise<string> {
  if (error instanceof SourceChanged) throw changed(blob, push.sourceName);
  if (error instanceof UploadLost || error instanceof ConnectionLost) return error.message;
  if (!(error instanceof RegistryError) || error.code !== 'DIGEST_INVALID') throw error;
  // Either the source gave other bytes, or they were damaged on the way.
  if (!(await hasItsDigest(blob))) throw changed(blob, push.sourceName);
  return 'the registry received other bytes than the source has';
}

async function hasItsDigest({ descriptor: { digest, size }, ...blob }: SourceBlob): Promise<boolean> {
  const hash = createHash(algorithmOf(digest));
  for await (const piece of blob.open(0, size)) hash.update(piece);
  return hash.digest('hex') === encodedOf(digest);
}

function changed({ descriptor: { digest } }: SourceBlob, source: string): CommandFailure {
  return new CommandFailure(
    `${source} changed while it was read: the bytes of ${digest} are no longer the same.\nWait until nothing writes to it, then push again.`,
  );
}

function rest(blob: Content, begin: number): Content {
  return {
    size: blob.size - begin,
    open: (start, end) => blob.open(begin + start, begin + end),
  };
}
