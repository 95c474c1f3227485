// Sends the requests of real clients on one connection: three ways to push a blob, and whole images as containerd pushes and
// pulls them.

import type { Answer, Connection } from './connection.ts';
import { type BenchBlob, type BenchImage, type BenchManifest, type ByteSpan, MiB } from './content.ts';

/** The chunk size of regctl, which the registry also recommends. */
const CHUNK_BYTES = 32 * MiB;

const CRLF = Buffer.from('\r\n');

export class BenchClient {
  readonly #connection: Connection;
  readonly #host: string;
  readonly #repository: string;
  readonly #headers: Record<string, string>;

  /** `headers` are sent with every request except pulls of blobs. */
  constructor(connection: Connection, url: string, repository: string, headers: Record<string, string> = {}) {
    this.#connection = connection;
    this.#host = new URL(url).host;
    this.#repository = repository;
    this.#headers = headers;
  }

  /** POST, then one PUT with the whole blob: containerd, BuildKit, oras, helm. */
  async pushInOnePut(blob: BenchBlob): Promise<void> {
    const location = await this.#startUpload();
    await this.#put(location, blob, blob.size, blob.pieces());
  }

  /** POST, one PATCH of unknown length, PUT: Docker's classic store, podman, skopeo, crane. */
  async pushInOnePatch(blob: BenchBlob): Promise<void> {
    const first = await this.#startUpload();
    const answer = await this.#send(
      202,
      `PATCH ${first}`,
      { 'Transfer-Encoding': 'chunked' },
      chunked(blob.pieces()),
    );
    await this.#put(locationOf(answer), blob, 0, []);
  }

  /** POST, PATCHes of 32 MiB with their range, PUT: regctl. */
  async pushInChunks(blob: BenchBlob): Promise<void> {
    let location = await this.#startUpload();
    for (let from = 0; from < blob.size; from += CHUNK_BYTES) {
      const to = Math.min(from + CHUNK_BYTES, blob.size);
      const headers = { 'Content-Range': `${from}-${to - 1}`, 'Content-Length': `${to - from}` };
      location = locationOf(await this.#send(202, `PATCH ${location}`, headers, blob.pieces(from, to)));
    }
    await this.#put(location, blob, 0, []);
  }

  /** Pulls a blob or a range of it, and follows a redirect. */
  async pullBlob({ digest, size }: BenchBlob, span?: ByteSpan): Promise<void> {
    const headers: Record<string, string> =
      span === undefined ? {} : { Range: `bytes=${span.from}-${span.to - 1}` };
    const line = `GET ${this.#path('blobs', digest)}`;
    let answer = await this.#connection.request(requestHead(line, this.#host, headers));
    if (answer.status === 307) {
      const location = this.#redirectOf(answer);
      answer = await this.#connection.request(requestHead(`GET ${location}`, this.#host, headers));
    }
    const [status, wanted] = span === undefined ? [200, size] : [206, span.to - span.from];
    if (answer.status !== status) throw new Error(`${line}: ${answer.status}, not ${status}: ${answer.text}`);
    if (answer.bytes !== wanted) throw new Error(`${line}: ${answer.bytes} bytes, not ${wanted}`);
  }

  /** HEAD and push of each blob, then the manifest by its tag. */
  async pushImage({ blobs, manifest, tag }: BenchImage): Promise<void> {
    for (const blob of blobs) {
      await this.#send(404, `HEAD ${this.#path('blobs', blob.digest)}`);
      await this.pushInOnePut(blob);
    }
    await this.pushManifest(manifest, tag);
  }

  /** The manifest by its tag, then by its digest, then every blob. */
  async pullImage({ blobs, manifest, tag }: BenchImage): Promise<void> {
    const accept = { Accept: manifest.mediaType };
    await this.#send(200, `HEAD ${this.#path('manifests', tag)}`, accept);
    await this.#send(200, `GET ${this.#path('manifests', manifest.digest)}`, accept);
    for (const blob of blobs) await this.pullBlob(blob);
  }

  async pushManifest(manifest: BenchManifest, tag: string): Promise<void> {
    const headers = { 'Content-Type': manifest.mediaType, 'Content-Length': `${manifest.bytes.length}` };
    await this.#send(201, `PUT ${this.#path('manifests', tag)}`, headers, [manifest.bytes]);
  }

  async mountBlob({ digest }: BenchBlob, from: string): Promise<void> {
    const path = `${this.#path('blobs', 'uploads/')}?mount=${digest}&from=${from}`;
    await this.#send(201, `POST ${path}`, { 'Content-Length': '0' });
  }

  /** Path and query of the next request. It uses the same connection, as clients do if the host is the same. */
  #redirectOf(answer: Answer): string {
    const { host, pathname, search } = locationUrlOf(answer, this.#host);
    if (host !== this.#host) throw new Error(`a blob is redirected to ${host}, which is not measured here`);
    return pathname + search;
  }

  async #startUpload(): Promise<string> {
    return locationOf(
      await this.#send(202, `POST ${this.#path('blobs', 'uploads/')}`, { 'Content-Length': '0' }),
    );
  }

  async #put(location: string, blob: BenchBlob, size: number, pieces: Iterable<Uint8Array>): Promise<void> {
    const target = `${location}${location.includes('?') ? '&' : '?'}digest=${blob.digest}`;
    const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': `${size}` };
    await this.#send(201, `PUT ${target}`, headers, pieces);
  }

  async #send(
    want: number,
    line: string,
    headers: Record<string, string> = {},
    body: Iterable<Uint8Array> = [],
  ): Promise<Answer> {
    const head = requestHead(line, this.#host, { ...this.#headers, ...headers });
    const answer = await this.#connection.request(head, body);
    if (answer.status !== want) throw new Error(`${line}: ${answer.status}, not ${want}: ${answer.text}`);
    return answer;
  }

  #path(kind: 'blobs' | 'manifests', name: string): string {
    return `/v2/${this.#repository}/${kind}/${name}`;
  }
}

/** The head of a request: request line and headers. */
export function requestHead(line: string, host: string, headers: Record<string, string> = {}): string {
  const fields = Object.entries({ Host: host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${fields.join('')}\r\n`;
}

/** The path and query of a Location. */
function locationOf(answer: Answer): string {
  const { pathname, search } = locationUrlOf(answer, 'registry');
  return pathname + search;
}

/** Parses a Location: a URL or only a path. */
function locationUrlOf({ head }: Answer, host: string): URL {
  const location = /\r\nlocation: *(\S+)/i.exec(head)?.[1];
  if (location === undefined) throw new Error('an answer has no Location');
  return new URL(location, `http://${host}`);
}

function* chunked(pieces: Iterable<Uint8Array>): Iterable<Uint8Array> {
  for (const piece of pieces) {
    yield Buffer.from(`${piece.length.toString(16)}\r\n`);
    yield piece;
    yield CRLF;
  }
  yield Buffer.from('0\r\n\r\n');
}
