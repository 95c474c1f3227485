/**
 * Pushes and pulls of the fault tests, with a connection for each request. The client notes the repositories, uploads and digests
 * that it asks about, so that a test can look at what the registry keeps of them.
 */
import assert from 'node:assert/strict';
import { digest as digestOf, type Manifest } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { type Answer, type Sent, send } from '../support/http.ts';
import { cut } from '../support/socket.ts';

export type { Answer } from '../support/http.ts';

/** The registry did not answer as the client needs, or not at all. */
export class Refused extends Error {}

export class Client {
  readonly home: Home;
  readonly repositories = new Set<string>();
  readonly uploads = new Set<string>();
  readonly digests = new Set<string>();

  constructor(home: Home) {
    this.home = home;
  }

  /** Sends one request. Throws where the connection ends before the answer does. */
  async send(method: string, target: string, sent: Sent = {}): Promise<Answer> {
    this.#note(target);
    const { origin, pathname, search } = new URL(target, this.home.url);
    const answer = await send(origin, method, pathname + search, sent);
    const upload = answer.headers['docker-upload-uuid'];
    if (typeof upload === 'string') this.uploads.add(upload);
    return answer;
  }

  /** Sends one request that has to be answered with a status. */
  async want(status: number, method: string, target: string, sent: Sent = {}): Promise<Answer> {
    const answer = await this.send(method, target, sent);
    if (answer.status === status) return answer;
    const said = answer.body.toString().slice(0, 300);
    throw new Refused(`${method} ${target.slice(0, 120)}: ${answer.status}, wanted ${status}: ${said}`);
  }

  /** Sends the head and some of the body of a request, and cuts the connection. */
  async cut(
    method: string,
    target: string,
    headers: Record<string, string>,
    some: Uint8Array,
  ): Promise<void> {
    this.#note(target);
    const { origin, pathname, search } = new URL(target, this.home.url);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    lines.push('Connection: keep-alive');
    await cut(origin, { method, target: pathname + search, lines, body: some });
  }

  async startUpload(repository: string): Promise<string> {
    const answer = await this.want(202, 'POST', `/v2/${repository}/blobs/uploads/`);
    return locationOf(answer);
  }

  /** Pushes a blob with one PUT, and gives its digest. */
  async pushBlob(repository: string, bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    await this.want(201, 'PUT', withDigest(await this.startUpload(repository), digest), { body: bytes });
    return digest;
  }

  /** The answer to a PUT of a manifest, under a tag or its digest. */
  putManifest(repository: string, reference: string, { mediaType, bytes }: Manifest): Promise<Answer> {
    return this.send('PUT', `/v2/${repository}/manifests/${reference}`, {
      body: bytes,
      headers: { 'Content-Type': mediaType },
    });
  }

  /** Pushes a manifest and its blobs. */
  async pushManifest(repository: string, reference: string, manifest: Manifest): Promise<void> {
    for (const bytes of manifest.blobs) await this.pushBlob(repository, bytes);
    const answer = await this.putManifest(repository, reference, manifest);
    assert.equal(answer.status, 201, answer.body.toString());
  }

  /** The bytes of a blob, which have to match its digest, or null if there is no such blob. */
  async pullBlob(repository: string, digest: string): Promise<Buffer | null> {
    const target = `/v2/${repository}/blobs/${digest}`;
    const head = await this.send('HEAD', target);
    if (head.status === 404) return null;
    const { body } = await this.want(200, 'GET', target);
    assert.equal(head.status, 200);
    assert.equal(digestOf(body, digest.startsWith('sha512:') ? 'sha512' : 'sha256'), digest);
    assert.equal(head.headers['content-length'], String(body.length));
    return body;
  }

  /** The digest that a manifest has, if everything that it references is there too; null if there is no such manifest. */
  async pullManifest(repository: string, reference: string): Promise<string | null> {
    const answer = await this.send('GET', `/v2/${repository}/manifests/${reference}`);
    if (answer.status === 404) return null;
    assert.equal(answer.status, 200, answer.body.toString());
    const digest = digestOf(answer.body);
    assert.equal(answer.headers['docker-content-digest'], digest);
    const content = JSON.parse(answer.body.toString());
    for (const { digest: blob } of [content.config ?? [], content.layers ?? []].flat()) {
      assert.ok(
        (await this.pullBlob(repository, blob)) !== null,
        `${reference} references ${blob}, which is not there`,
      );
    }
    for (const { digest: child } of content.manifests ?? []) {
      assert.ok(
        (await this.pullManifest(repository, child)) !== null,
        `${reference} references ${child}, which is not there`,
      );
    }
    return digest;
  }

  #note(target: string): void {
    const { pathname, searchParams } = new URL(target, this.home.url);
    const [, name] =
      /^\/v2\/(.+)\/(?:blobs|manifests|tags|referrers)\//.exec(
        pathname.replace('/blobs/uploads/', '/blobs/'),
      ) ?? [];
    if (name !== undefined) this.repositories.add(name);
    const [, blob] = /\/blobs\/(sha\d+:[0-9a-f]+)$/.exec(pathname) ?? [];
    for (const digest of [searchParams.get('digest'), searchParams.get('mount'), blob]) {
      if (typeof digest === 'string') this.digests.add(digest);
    }
  }
}

export function locationOf({ headers }: Answer): string {
  assert.equal(typeof headers.location, 'string');
  return headers.location ?? '';
}

export function withDigest(location: string, digest: string): string {
  return `${location}&digest=${digest}`;
}

/** Bytes that an upload has received, by its Range header, which cannot tell none from one. */
export function offsetOf({ headers }: Answer): number {
  const [, last = '0'] = /^0-(\d+)$/.exec(String(headers.range)) ?? [];
  return Number(last) === 0 ? 0 : Number(last) + 1;
}

/** The headers of a chunk that begins at an offset. */
export function rangeOf(first: number, size: number): Record<string, string> {
  return { 'Content-Range': `${first}-${first + size - 1}`, 'Content-Type': 'application/octet-stream' };
}

/** The answer is this error of the specification. */
export function assertRefused({ status, body }: Answer, wanted: number, code: string): void {
  assert.equal(status, wanted, body.toString());
  assert.equal(JSON.parse(body.toString()).errors[0].code, code);
}
