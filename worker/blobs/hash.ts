/**
 * Running hashes: the digest of an upload while it flows, over as many requests as it takes. See
 * docs/decisions/0003-running-hash.md for why there are two.
 */
import { createHash, type Hash } from 'node:crypto';
import { SHA256 } from '@stablelib/sha256';
import { SHA512 } from '@stablelib/sha512';
import { CountedCache, memory } from '../memory/budget.ts';
import { type Algorithm, algorithmOf, type Digest, digestFrom } from '../oci/digest.ts';

/** What a session keeps of a running hash: the digest so far and, where the hash can go elsewhere, its state. */
export interface SavedHash {
  digest: Digest;
  state: Uint8Array | null;
}

export interface RunningHash {
  readonly algorithm: Algorithm;
  update(bytes: Uint8Array): void;
  /** Of all bytes so far; the hash can go on. */
  save(): SavedHash;
  /** Another that goes on from here, where one can be had without its state. */
  fork(): RunningHash | null;
}

/** Hashes at the speed of the processor, but cannot leave the isolate. */
export class NativeHash implements RunningHash {
  readonly algorithm: Algorithm;
  readonly #hash: Hash;

  constructor(algorithm: Algorithm, hash: Hash = createHash(algorithm)) {
    this.algorithm = algorithm;
    this.#hash = hash;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  save(): SavedHash {
    return { digest: digestFrom(this.algorithm, this.#hash.copy().digest()), state: null };
  }

  fork(): RunningHash {
    return new NativeHash(this.algorithm, this.#hash.copy());
  }
}

/** Hashes in JavaScript, and its state goes on in any isolate. */
export class PortableHash implements RunningHash {
  readonly algorithm: Algorithm;
  readonly #hash: SHA256 | SHA512;

  /** Throws where the state is not one that `save` gave. */
  constructor(algorithm: Algorithm, state: Uint8Array | null) {
    this.algorithm = algorithm;
    this.#hash = algorithm === 'sha256' ? new SHA256() : new SHA512();
    if (state !== null) this.#restore(state);
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The state is the words, the bytes that wait for a block, and the count of all bytes, as JSON. */
  save(): SavedHash {
    const saved = this.#hash.saveState();
    const json = {
      words: 'state' in saved ? [...saved.state] : [[...saved.stateHi], [...saved.stateLo]],
      buffer: saved.buffer === undefined ? null : [...saved.buffer],
      bufferLength: saved.bufferLength,
      bytesHashed: saved.bytesHashed,
    };
    const state = new TextEncoder().encode(JSON.stringify(json));
    const digest = digestFrom(this.algorithm, this.#hash.digest());
    this.#restore(state); // Taking a digest ends a hash of this library.
    return { digest, state };
  }

  fork(): null {
    return null;
  }

  #restore(state: Uint8Array): void {
    const json = JSON.parse(new TextDecoder().decode(state));
    const rest = {
      buffer: json.buffer === null ? undefined : Uint8Array.from(json.buffer),
      bufferLength: json.bufferLength,
      bytesHashed: json.bytesHashed,
    };
    if (this.#hash instanceof SHA256) {
      this.#hash.restoreState({ state: Int32Array.from(json.words), ...rest });
    } else {
      const [high, low] = json.words;
      this.#hash.restoreState({ stateHi: Int32Array.from(high), stateLo: Int32Array.from(low), ...rest });
    }
  }
}

/** The native hashes of uploads whose last chunk came through this isolate. */
const live = new CountedCache<{ offset: number; hash: RunningHash }>(memory, {
  entries: 1000,
  bytes: 4 * 1024 * 1024,
  last: true, // Content whose hash was forgotten is read back.
});
/** What a native hash costs, in bytes. */
const HASH_BYTES = 1000;

/** Leaves the hash of an upload for its next chunk. */
export function leaveHash(uploadId: string, offset: number, hash: RunningHash): void {
  const fork = hash.fork();
  if (fork === null) live.delete(uploadId);
  else live.set(uploadId, { offset, hash: fork }, HASH_BYTES);
}

/** Forgets the hash of an upload that has ended. */
export function dropHash(uploadId: string): void {
  live.delete(uploadId);
}

/**
 * The hash that goes on at an offset: a new one at 0, the one that this isolate has, or the one whose state was saved. Null
 * where it is lost, and the content must be read back once in the end.
 */
export function resumeHash(
  uploadId: string,
  at: { algorithm: Algorithm; offset: number; saved: SavedHash | null; native: boolean },
): RunningHash | null {
  if (at.offset === 0) return at.native ? new NativeHash(at.algorithm) : new PortableHash(at.algorithm, null);
  const left = live.get(uploadId);
  if (left !== undefined && left.offset === at.offset && left.hash.algorithm === at.algorithm)
    return left.hash.fork();
  if (at.saved === null || at.saved.state === null || algorithmOf(at.saved.digest) !== at.algorithm)
    return null;
  return new PortableHash(at.algorithm, at.saved.state);
}

/** The digest of a stream, natively, and its size in bytes. */
export async function digestOfStream(
  algorithm: Algorithm,
  body: ReadableStream<Uint8Array> | null,
): Promise<{ digest: Digest; size: number }> {
  const sink = new crypto.DigestStream(algorithm === 'sha256' ? 'SHA-256' : 'SHA-512');
  if (body === null) await sink.getWriter().close();
  else await body.pipeTo(sink);
  const size = Number(sink.bytesWritten);
  return { digest: digestFrom(algorithm, new Uint8Array(await sink.digest)), size };
}
