// One repository as the conformance table sees it: a method for each endpoint that returns whatever was
// answered, and `push...` methods that set the stage and fail where the registry does not play along.

import { randomUUID } from 'node:crypto';
import { type Algorithm, digest, type Manifest } from '../support/fixtures.ts';
import { type Answer, expectStatus } from './answer.ts';
import type { Registry, Sent } from './registry.ts';

type Headers = Record<string, string | string[]>;

export class Repository {
  readonly registry: Registry;
  readonly name: string;

  constructor(registry: Registry, name: string) {
    this.registry = registry;
    this.name = name;
  }

  /** Sends a request to a path below this repository, such as `/tags/list`. */
  send(method: string, path: string, sent: Sent = {}): Promise<Answer> {
    return this.registry.send(method, `/v2/${this.name}${path}`, sent);
  }

  getBlob(of: string, headers: Headers = {}): Promise<Answer> {
    return this.send('GET', `/blobs/${of}`, { headers });
  }

  headBlob(of: string, headers: Headers = {}): Promise<Answer> {
    return this.send('HEAD', `/blobs/${of}`, { headers });
  }

  deleteBlob(of: string): Promise<Answer> {
    return this.send('DELETE', `/blobs/${of}`);
  }

  /** Accepts every type of manifest unless the headers say otherwise. */
  getManifest(reference: string, headers: Headers = {}): Promise<Answer> {
    return this.send('GET', `/manifests/${reference}`, { headers: { ...acceptAll, ...headers } });
  }

  headManifest(reference: string, headers: Headers = {}): Promise<Answer> {
    return this.send('HEAD', `/manifests/${reference}`, { headers: { ...acceptAll, ...headers } });
  }

  /** The reference may carry a query, as in `sha256:...?tag=a`. */
  putManifest(reference: string, manifest: Manifest, contentType = manifest.mediaType): Promise<Answer> {
    const headers = { 'Content-Type': contentType };
    return this.send('PUT', `/manifests/${reference}`, { headers, body: manifest.bytes });
  }

  deleteManifest(reference: string): Promise<Answer> {
    return this.send('DELETE', `/manifests/${reference}`);
  }

  tags(query = ''): Promise<Answer> {
    return this.send('GET', `/tags/list${query}`);
  }

  referrers(of: string, artifactType?: string): Promise<Answer> {
    const query = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
    return this.send('GET', `/referrers/${of}${query}`);
  }

  /** POST to the uploads; the query says which of its uses is meant. */
  postUpload(query = '', body?: Buffer, sent: Sent = {}): Promise<Answer> {
    return this.send('POST', `/blobs/uploads/${query}`, {
      ...sent,
      ...(body && { body, headers: { ...octets, ...sent.headers } }),
    });
  }

  patchUpload(location: string, chunk: Buffer, first?: number, sent: Sent = {}): Promise<Answer> {
    const headers = { ...octets, ...contentRange(chunk, first), ...sent.headers };
    return this.registry.send('PATCH', location, { ...sent, body: chunk, headers });
  }

  /** Closes an upload; the body, if any, is its last chunk, which begins at `first` where that is given. */
  putUpload(location: string, of: string, body?: Buffer, first?: number, sent: Sent = {}): Promise<Answer> {
    const headers = body ? { ...octets, ...contentRange(body, first), ...sent.headers } : { ...sent.headers };
    return this.registry.send('PUT', withQuery(location, `digest=${of}`), {
      ...sent,
      headers,
      ...(body && { body }),
    });
  }

  /** Begins an upload and gives its location. */
  async startUpload(query = ''): Promise<string> {
    const answer = await this.postUpload(query);
    expectStatus(answer, 202);
    return answer.location();
  }

  /** Pushes a blob in the plainest way, and gives its digest. */
  async pushBlob(bytes: Buffer, algorithm: Algorithm = 'sha256'): Promise<string> {
    const of = digest(bytes, algorithm);
    const location = await this.startUpload(algorithm === 'sha256' ? '' : `?digest-algorithm=${algorithm}`);
    expectStatus(await this.putUpload(location, of, bytes), 201);
    return of;
  }

  async pushBlobs(manifest: Manifest): Promise<void> {
    for (const bytes of manifest.blobs) await this.pushBlob(bytes);
  }

  /** Pushes a manifest and what it refers to, by its digest where no reference is given. */
  async pushManifest(manifest: Manifest, reference: string = manifest.digest): Promise<Answer> {
    await this.pushBlobs(manifest);
    const answer = await this.putManifest(reference, manifest);
    expectStatus(answer, 201);
    return answer;
  }
}

/** Adds a query to a location that may have one already. */
function withQuery(location: string, query: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}${query}`;
}

/** The Location of an upload that was never begun, in the shape of a real one. */
export function neverBegun(location: string): string {
  const url = new URL(location);
  const id = uuid.test(url.pathname) ? uuid : /[^/]+$/;
  url.pathname = url.pathname.replace(id, randomUUID());
  return url.href;
}

/** What the id of an upload has to have in it; not everybody writes the hyphens. */
export const uuid = /[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}/i;

const octets = { 'Content-Type': 'application/octet-stream' };

const acceptAll = {
  Accept: [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.list.v2+json',
    '*/*;q=0.5',
  ].join(', '),
};

function contentRange(chunk: Buffer, first?: number): Headers {
  return first === undefined ? {} : { 'Content-Range': `${first}-${first + chunk.byteLength - 1}` };
}
