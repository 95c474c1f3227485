/** A client that pushes as containerd does: it asks for each blob, starts its upload without naming it, and sends one PUT. */
import { digest as digestOf, type Manifest } from '../support/fixtures.ts';
import { type Answer, send } from '../support/http.ts';
import type { Client } from './client.ts';

export const CTR = 'containerd/2.4.2+unknown';

/** A client with this `User-Agent`. */
export class Asking {
  readonly #client: Client;
  readonly repository: string;
  readonly headers: Record<string, string>;

  constructor(client: Client, repository: string, userAgent = CTR) {
    this.#client = client;
    this.repository = repository;
    this.headers = { 'User-Agent': userAgent };
  }

  /** The status of the HEAD of a blob. */
  async head(digest: string, mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'): Promise<number> {
    const headers = { ...this.headers, Accept: `${mediaType}, */*` };
    return (await this.#client.send('HEAD', `/v2/${this.repository}/blobs/${digest}`, { headers })).status;
  }

  post(query = ''): Promise<Answer> {
    const target = `/v2/${this.repository}/blobs/uploads/${query}`;
    return this.#client.send('POST', target, { headers: this.headers });
  }

  /** The status and the code of the PUT to a Location, with what containerd adds to it. */
  async put(
    location: string,
    digest: string,
    bytes: Uint8Array,
    headers: Record<string, string> = {},
    added: Record<string, string> = { ns: new URL(this.#client.home.url).host },
  ): Promise<string> {
    const url = new URL(location, this.#client.home.url);
    for (const [name, value] of Object.entries({ digest, ...added })) url.searchParams.append(name, value);
    url.searchParams.sort();
    const { status, body } = await send(url.origin, 'PUT', url.pathname + url.search, {
      headers: { ...this.headers, 'Content-Type': 'application/octet-stream', ...headers },
      body: bytes,
    });
    const [, code = ''] = /<Code>(\w+)<\/Code>/.exec(body.toString()) ?? [];
    return `${status} ${code}`.trim();
  }

  /** The Location of an upload of these bytes. */
  async start(bytes: Uint8Array): Promise<string> {
    await this.head(digestOf(bytes));
    return String((await this.post()).headers.location);
  }

  /** Pushes a blob, unless the registry has it. Returns the answer to the PUT, or "exists". */
  async pushBlob(bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    if ((await this.head(digest)) === 200) return 'exists';
    const { status, headers } = await this.post();
    return status === 201 ? 'mounted' : this.put(String(headers.location), digest, bytes);
  }

  /** Pushes all blobs at once, and then the manifest. */
  async push(tag: string, manifest: Manifest): Promise<{ blobs: string[]; answer: Answer }> {
    const blobs = await Promise.all(manifest.blobs.map((bytes) => this.pushBlob(bytes)));
    return { blobs, answer: await this.#client.putManifest(this.repository, tag, manifest) };
  }
}

/** Whether a Location is past the registry. */
export function isDirect({ headers }: Answer): boolean {
  return String(headers.location).startsWith('http');
}
