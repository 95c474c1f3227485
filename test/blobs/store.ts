/** The blob store of a home, from the test's side of blobs-worker.ts. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { PART_BYTES } from '../../worker/blobs/r2.ts';
import type { Home } from '../support/homes.ts';
import type { AppendAnswer } from './blobs-worker.ts';

/** What drafts are made of. */
export const content = randomBytes(4 * PART_BYTES);

export class Store {
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  newName(): string {
    return crypto.randomUUID();
  }

  newKey(): string {
    return `blobs/${crypto.randomUUID()}`;
  }

  async put(key: string, bytes: Uint8Array, digest: string, failAfter?: number): Promise<boolean> {
    const query = {
      key,
      digest,
      size: String(bytes.length),
      ...(failAfter && { failAfter: String(failAfter) }),
    };
    return (await this.#call('put', query, bytes)).json() as Promise<boolean>;
  }

  async append(
    name: string,
    bytes: Uint8Array,
    how: { announced?: boolean; failAfter?: number },
  ): Promise<AppendAnswer> {
    const { announced, failAfter } = how;
    const query = {
      name,
      ...(announced && { size: String(bytes.length) }),
      ...(failAfter && { failAfter: String(failAfter) }),
    };
    return (await this.#call('append', query, bytes)).json() as Promise<AppendAnswer>;
  }

  /** A draft of content that comes in requests of these sizes. */
  async draft(sizes: number[], announced: boolean) {
    const draft = this.newName();
    const bytes = content.subarray(0, sum(sizes));
    const answers: AppendAnswer[] = [];
    let at = 0;
    for (const size of sizes) {
      const piece = bytes.subarray(at, at + size);
      const answer = await this.append(draft, piece, { announced });
      assert.deepEqual(
        { error: answer.error, intact: answer.intact, tapped: answer.tapped },
        { error: null, intact: true, tapped: sha256(piece) },
      );
      answers.push(answer);
      at += size;
    }
    return { draft, bytes, answers };
  }

  /** Gives the key of the content. */
  async finish(name: string, again = false): Promise<string> {
    return (await this.#call('finish', { name, again: String(again) })).json() as Promise<string>;
  }

  async discard(name: string): Promise<void> {
    await this.#call('discard', { name });
  }

  async delete(keys: string[]): Promise<string[]> {
    const response = await this.#call('delete', {}, Buffer.from(JSON.stringify(keys)));
    return response.json() as Promise<string[]>;
  }

  async get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null> {
    const query = range && { offset: String(range.offset), length: String(range.length) };
    const response = await this.#call('get', { key, ...query });
    return response.status === 404 ? null : Buffer.from(await response.arrayBuffer());
  }

  /** What is stored for the content of a key, in whatever pieces. */
  async keysOf(key: string): Promise<string[]> {
    const [blobs, id] = key.split('/');
    return (await this.#home.storedKeys()).filter((stored) => stored.startsWith(`${blobs}/${id}`));
  }

  async #call(method: string, query: Record<string, string>, body: Uint8Array = Buffer.alloc(0)) {
    const url = `${this.#home.url}/store/${method}?${new URLSearchParams(query)}`;
    const response = await fetch(url, { method: 'POST', body: body as BodyInit });
    if (response.status >= 500) throw new Error(`${method}: ${response.status} ${await response.text()}`);
    return response;
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function sum(sizes: number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
