/**
 * A push of one blob, in each of the ways of the specification, that can go on after a fault: a final PUT is sent again;
 * otherwise the client asks where the upload stands and sends the rest.
 */
import assert from 'node:assert/strict';
import { digest as digestOf, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import { type Answer, type Client, locationOf, offsetOf, Refused, rangeOf, withDigest } from './client.ts';
import type { Operation } from './pushes.ts';

/** `whole`: one PUT; `stream`: one PATCH of unknown length, then a PUT; `chunks`: PATCHes of sizes, the rest in the PUT. */
export type Way = { kind: 'whole' } | { kind: 'stream' } | { kind: 'chunks'; sizes: number[] };

export class BlobPush implements Operation {
  readonly repository = repositoryName('blob');
  readonly digest: string;
  readonly #client: Client;
  readonly #bytes: Buffer;
  readonly #way: Way;
  readonly #image: Manifest;
  #location: string | null = null;
  /** The final PUT, once it was sent. */
  #final: (() => Promise<Answer>) | null = null;

  constructor(client: Client, bytes: Buffer, way: Way) {
    this.#client = client;
    this.#bytes = bytes;
    this.#way = way;
    this.digest = digestOf(bytes);
    this.#image = imageManifest({ layers: [bytes] });
  }

  async run(pause = async () => {}): Promise<void> {
    this.#final = null;
    this.#location = await this.#client.startUpload(this.repository);
    await pause();
    const way = this.#way;
    let at = 0;
    if (way.kind === 'whole') {
      await this.#put(this.#bytes, null);
      return;
    }
    if (way.kind === 'stream') {
      this.#took(await this.#client.want(202, 'PATCH', this.#location, { body: this.#bytes, chunked: true }));
      await pause();
      await this.#put(null, null);
      return;
    }
    for (const size of way.sizes) {
      const body = this.#bytes.subarray(at, at + size);
      this.#took(await this.#client.want(202, 'PATCH', this.#location, { body, headers: rangeOf(at, size) }));
      at += size;
      await pause();
    }
    await this.#put(this.#bytes.subarray(at), at);
  }

  async again(): Promise<void> {
    // The final PUT is sent again as it was. Where the upload has moved on meanwhile, it says so.
    const repeated = await this.#final?.();
    if (repeated?.status === 201) return;
    if (repeated !== undefined) assert.equal(repeated.status, 416, repeated.body.toString());
    if (this.#location === null || this.#way.kind === 'whole') await this.run();
    else await this.#goOn(this.#location);
  }

  async check(): Promise<void> {
    const pulled = await this.#client.pullBlob(this.repository, this.digest);
    assert.ok(pulled === null || pulled.equals(this.#bytes));
  }

  async finish(): Promise<void> {
    const [config] = this.#image.blobs;
    assert.ok(config !== undefined);
    await this.#client.pushBlob(this.repository, config);
    const { status, body } = await this.#client.putManifest(this.repository, 'v1', this.#image);
    assert.equal(status, 201, body.toString());
  }

  async afterwards(): Promise<void> {
    assert.equal(await this.#client.pullManifest(this.repository, 'v1'), this.#image.digest);
  }

  /** Asks where the upload stands, and sends what is missing. */
  async #goOn(location: string): Promise<void> {
    const status = await this.#client.want(204, 'GET', location);
    this.#took(status);
    const at = offsetOf(status);
    const rest = this.#bytes.subarray(at);
    if (rest.length > 0 && this.#way.kind === 'stream') {
      this.#took(await this.#client.want(202, 'PATCH', locationOf(status), { body: rest, chunked: true }));
      await this.#put(null, null);
    } else {
      await this.#put(rest.length === 0 ? null : rest, at);
    }
  }

  async #put(body: Buffer | null, first: number | null): Promise<void> {
    const target = withDigest(this.#location ?? '', this.digest);
    const headers = body === null || first === null ? {} : rangeOf(first, body.length);
    this.#final = () => this.#client.send('PUT', target, { headers, ...(body === null ? {} : { body }) });
    const answer = await this.#final();
    if (answer.status !== 201)
      throw new Refused(`the final PUT was answered with ${answer.status}: ${answer.body}`);
  }

  #took(answer: Answer): void {
    this.#location = locationOf(answer);
  }
}
