/**
 * Running hashes: they compute the digest of an upload over several requests. docs/decisions/0003-running-hash.md says why there are
 * two kinds.
 */
import { createHash, type Hash } from 'node:crypto';
import { SHA256 } from '@stablelib/sha256';
import { SHA512 } from '@stablelib/sha512';
import { CountedCache, memory } from '../memory/budget.ts';
import { type Algorithm, algorithmOf, type Digest, digestFrom } from '../oci/digest.ts';

/** What a session keeps of a running hash: the digest so far, and the state if another isolate can continue it. */
export interface SavedHash {
  digest: Digest;
  state: Uint8Array | null;
}

export interface RunningHash {
  readonly algorithm: Algorithm;
  update(bytes: Uint8Array): void;
  /** The digest of all bytes so far. The hash can continue. */
  save(): SavedHash;
  /** A copy that continues from here; null if it can be continued only from its saved state. */
  fork(): RunningHash | null;
}

/** Fast, but bound to its isolate. */
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

/** Written in JavaScript and slower, but any isolate can continue it from its saved state. */
export class PortableHash implements RunningHash {
  readonly algorithm: Algorithm;
  readonly #hash: SHA256 | SHA512;

  /** Throws if the state does not come from `save`. */
  constructor(algorithm: Algorithm, state: Uint8Array | null) {
    this.algorithm = algorithm;
    this.#hash = algorithm === 'sha256' ? new SHA256() : new SHA512();
    if (state !== null) this.#restore(state);
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The state is JSON: the words, the bytes that do not fill a block yet, and the number of all bytes. */
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
    this.#restore(state); // In this library, reading the digest ends the hash.
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

/** The native hashes of uploads whose last chunk this isolate received. */
const live = new CountedCache<{ offset: number; hash: RunningHash }>(memory, {
  entries: 1000,
  bytes: 4 * 1024 * 1024,
  last: true, // It is expensive to lose one: the content is then read back.
});
/** The memory of a native hash, in bytes. */
const HASH_BYTES = 1000;

/** Keeps the hash of an upload for its next chunk. */
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
 * The hash that continues at an offset: a new one at 0, the one that this isolate keeps, or one from the saved state. Null if it is
 * lost. The content is then read back once before it is published.
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

/** The digest of a stream and its size in bytes. */
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
