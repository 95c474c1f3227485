/**
 * An upload of a client that is passed on in chunks. While one chunk is sent, the next one fills. There are at most these two in
 * memory, and an upload whose client is silent has none.
 */
import type { Answer } from '../transfer/http.ts';
import { discard } from '../transfer/http.ts';
import { type ChunkedUpload, type ChunkLimit, UploadLost } from '../transfer/upload.ts';
import { type BlockPool, Chunk, type Holder } from './block-pool.ts';
import type { ChunkSize } from './chunk-size.ts';
import type { ClientLogin } from './client-login.ts';

/**
 * containerd waits 30 s for the answer (core/remotes/docker, `ResponseHeaderTimeout`). It prints the error of the registry only if the
 * error comes before that.
 */
export const ANSWER_PATIENCE_MS = 20_000;
/** A client that sends nothing for this long does not keep memory. */
const SILENCE_MS = 1_000;

export interface RelayParts {
  readonly pool: BlockPool;
  readonly limit: ChunkLimit;
  readonly size: ChunkSize;
}

export class RelayedUpload implements Holder {
  readonly id: string;
  /** As in the path of the requests. */
  readonly repository: string;
  /** Null if the upload was started with the credentials of the proxy. */
  readonly login: ClientLogin | null;
  /** Bytes that came from the client. */
  received = 0;
  /** A request is in progress. */
  isBusy = false;
  usedAt = Date.now();
  readonly #parts: RelayParts;
  readonly #upstream: ChunkedUpload;
  readonly #silence: NodeJS.Timeout;
  #filling = new Chunk();
  #sending: Promise<void> | null = null;
  #failure: Error | null = null;
  /** What is filling belongs to the last request. */
  #isEnding = false;

  constructor(
    id: string,
    repository: string,
    login: ClientLogin | null,
    upstream: ChunkedUpload,
    parts: RelayParts,
  ) {
    this.id = id;
    this.repository = repository;
    this.login = login;
    this.#upstream = upstream;
    this.#parts = parts;
    this.#silence = setTimeout(() => this.release(), SILENCE_MS);
    this.#silence.unref();
  }

  /** The URL of the upload in the registry. */
  get location(): string {
    return this.#upstream.location;
  }

  /** Nothing more can be sent. */
  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Takes a body of any length. What arrived before an error counts.
   *
   * Throws what the body throws, and why an earlier chunk could not be sent.
   */
  async accept(body: AsyncIterable<Uint8Array>): Promise<void> {
    const { size } = this.#parts;
    size.active += 1;
    try {
      for await (const piece of body) {
        await this.#write(piece);
        free(piece);
      }
      this.#check();
    } finally {
      size.active -= 1;
      this.#silence.refresh();
    }
  }

  /**
   * Sends what is left, and ends the upload. A blob that is in memory as a whole is sent in one request. Returns the answer of the
   * registry, which may be an error.
   *
   * Throws UploadLost, RegistryError.
   */
  async end(digest: string): Promise<Answer> {
    this.#isEnding = true;
    const until = performance.now() + ANSWER_PATIENCE_MS;
    const patienceMs = () => Math.max(0, until - performance.now());
    try {
      await this.#sent();
      const whole = this.#filling;
      if (this.#upstream.offset === 0 && whole.size > 0 && whole.size <= this.#parts.limit.maxBytes) {
        const body = { size: whole.size, open: () => whole.open(0, whole.size) };
        const answer = await this.#upstream.end(digest, body, patienceMs());
        if (answer.status !== 413 || !this.#parts.limit.refused(whole.size)) return answer;
        discard(answer);
      }
      if (this.#filling.size > 0) this.#send();
      await this.#sent();
      return await this.#upstream.end(digest, null, patienceMs());
    } finally {
      this.#isEnding = false;
      this.#silence.refresh();
    }
  }

  /** Gives the memory back. The upload is not used after this. */
  close(): void {
    this.#failure ??= new UploadLost('the upload has ended');
    clearTimeout(this.#silence);
    this.#parts.pool.forget(this);
    this.#parts.pool.drop(this.#filling.blocks);
    this.#filling = new Chunk();
  }

  /** Gives the upload up, here and in the registry. Never throws. */
  async cancel(): Promise<void> {
    this.close();
    await this.#sending;
    await this.#upstream.cancel();
  }

  release(): void {
    if (this.#isEnding || this.#filling.size === 0 || this.#failure !== null) return;
    if (this.#sending === null) this.#send();
    else this.#silence.refresh();
  }

  async #write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; ) {
      this.#check();
      const left = this.#parts.size.target - this.#filling.size;
      if (left <= 0) {
        await this.#sent();
        // Meanwhile it may have been sent because others waited for memory.
        if (this.#sending === null && this.#filling.size > 0) this.#send();
      } else if (this.#filling.room > 0) {
        const count = this.#filling.add(at === 0 ? piece : piece.subarray(at), left);
        at += count;
        this.received += count;
        this.usedAt = Date.now();
      } else {
        const block = this.#parts.pool.tryTake() ?? (await this.#awaitBlock());
        this.#check([block]);
        if (this.#filling.blocks.length === 0) this.#parts.pool.watch(this);
        this.#filling.blocks.push(block);
      }
    }
    this.#silence.refresh();
  }

  /** Sends what this upload has before it waits for others. */
  async #awaitBlock(): Promise<Buffer> {
    while (true) {
      if (this.#filling.size === 0 && this.#sending === null) return this.#parts.pool.take();
      if (this.#sending === null) this.#send();
      await this.#sent();
      const block = this.#parts.pool.tryTake();
      if (block !== null) return block;
    }
  }

  /** Starts to send what is filling. Nothing else is being sent. */
  #send(): void {
    const { pool, size } = this.#parts;
    const chunk = this.#filling;
    this.#filling = new Chunk();
    pool.forget(this);
    const startedAt = performance.now();
    this.#sending = this.#upstream
      .append(chunk)
      .then(
        () => {
          size.learn(chunk.size, performance.now() - startedAt);
          pool.give(chunk.blocks);
        },
        (error) => {
          this.#failure ??= error instanceof Error ? error : new Error(String(error));
          pool.drop(chunk.blocks);
        },
      )
      .then(() => {
        this.#sending = null;
      });
  }

  async #sent(): Promise<void> {
    while (this.#sending !== null) await this.#sending;
    this.#check();
  }

  /** Throws why the upload has failed, after giving `blocks` back. */
  #check(blocks: readonly Buffer[] = []): void {
    if (this.#failure === null) return;
    this.#parts.pool.give(blocks);
    throw this.#failure;
  }
}

/**
 * Frees the memory of a piece that was copied. A layer arrives in thousands of pieces of 64 KiB. Without this they stay until the next
 * collection, which comes late, because it counts objects more than bytes. Node 20 cannot do it.
 */
function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && byteLength > 0)
    (buffer as ArrayBuffer & { transfer?(bytes: number): unknown }).transfer?.(0);
}
