/** Reads: each is compared with the model, and what comes with its digest. */
import { digest as digestOf } from '../support/fixtures.ts';
import type { RepositoryModel } from './model.ts';
import type { Random } from './random.ts';
import { type Span, Violation } from './register.ts';
import type { Session } from './session.ts';
import type { Reply } from './wire.ts';

const ACCEPT = { Accept: '*/*' };
const PAGES_MAX = 1000;

export class Pulls {
  readonly #session: Session;
  readonly #random: Random;

  constructor(session: Session, random: Random) {
    this.#session = session;
    this.#random = random;
  }

  /** Pulls by a tag, and gives the digest; null if there is no such tag or no answer. */
  async tag(
    repository: RepositoryModel,
    tag: string,
    method: 'GET' | 'HEAD' = 'GET',
  ): Promise<string | null> {
    const target = `/v2/${repository.name}/manifests/${tag}`;
    const reply = await this.#session.ask(`${method} tag`, method, target, { headers: ACCEPT }, [200, 404]);
    if (reply === null) return null;
    const digest = reply.status === 404 ? null : this.#manifestIn(reply, method);
    repository.readTag(tag, digest, reply);
    return digest;
  }

  async manifest(
    repository: RepositoryModel,
    digest: string,
    method: 'GET' | 'HEAD' = 'GET',
  ): Promise<boolean | null> {
    const target = `/v2/${repository.name}/manifests/${digest}`;
    const reply = await this.#session.ask(
      `${method} manifest`,
      method,
      target,
      { headers: ACCEPT },
      [200, 404],
    );
    if (reply === null) return null;
    if (reply.status === 200 && this.#manifestIn(reply, method) !== digest)
      throw new Violation(`the manifest ${digest} is answered with another`);
    repository.readManifest(digest, reply.status === 200, reply);
    return reply.status === 200;
  }

  /** Whether a blob is there, by HEAD. */
  async hasBlob(repository: RepositoryModel, digest: string): Promise<boolean | null> {
    const target = `/v2/${repository.name}/blobs/${digest}`;
    const reply = await this.#session.ask('HEAD blob', 'HEAD', target, {}, [200, 404]);
    if (reply === null) return null;
    repository.readBlob(digest, reply.status === 200, reply);
    if (reply.status === 404) return false;
    this.#checkSize(repository, digest, Number(reply.headers['content-length']));
    if (reply.headers['docker-content-digest'] !== digest)
      throw new Violation(`HEAD of ${digest} names another digest`);
    return true;
  }

  /** Pulls a blob as clients do, through a redirect where there is one. */
  async blob(repository: RepositoryModel, digest: string): Promise<boolean | null> {
    const reply = await this.#getBlob(repository, digest, {}, [200, 307, 404]);
    if (reply === null) return null;
    if (reply.status === 404) return false;
    if (digestOf(reply.body, algorithmOf(digest)) !== digest)
      throw new Violation(
        `${digest} of ${repository.name} is served with other bytes (${reply.body.length} of them)`,
      );
    this.#checkSize(repository, digest, reply.body.length);
    return true;
  }

  /** Pulls a range of a blob, which may lie outside. */
  async range(repository: RepositoryModel, digest: string): Promise<void> {
    const bytes = repository.blobs.get(digest)?.blob.bytes();
    if (bytes === undefined) return;
    const first = this.#random.below(bytes.length + 2);
    const last = first + this.#random.below(bytes.length + 1);
    const [range, want] = this.#random.weighted<[string, Buffer]>([
      [5, [`bytes=${first}-${last}`, bytes.subarray(first, last + 1)]],
      [2, [`bytes=${first}-`, bytes.subarray(first)]],
      [2, [`bytes=-${first}`, first === 0 ? Buffer.alloc(0) : bytes.subarray(-first)]],
      [1, ['bytes=0-1', bytes.subarray(0, 2)]],
    ]);
    const statuses = want.length === 0 ? [416] : [206];
    const reply = await this.#getBlob(repository, digest, { Range: range }, [...statuses, 307, 404]);
    if (reply === null || reply.status === 404) return;
    if (!statuses.includes(reply.status))
      throw new Violation(`${range} of ${digest} (${bytes.length} bytes): ${reply.status}`);
    if (reply.status === 206 && !reply.body.equals(want))
      throw new Violation(`${range} of ${digest} (${bytes.length} bytes) has other bytes`);
  }

  /** Asks for what the client has already. */
  async notModified(repository: RepositoryModel, digest: string): Promise<void> {
    const headers = { 'If-None-Match': `"${digest}"` };
    const target = `/v2/${repository.name}/blobs/${digest}`;
    const reply = await this.#session.ask('GET blob, 304', 'GET', target, { headers }, [304, 404]);
    if (reply !== null) repository.readBlob(digest, reply.status === 304, reply);
  }

  /** Pulls a manifest's blobs as well, which must be there while it is. */
  async image(repository: RepositoryModel, digest: string): Promise<void> {
    const manifest = repository.manifests.get(digest)?.manifest;
    for (const blob of manifest?.blobs ?? []) await this.blob(repository, blob);
    for (const child of manifest?.manifests ?? []) await this.manifest(repository, child);
  }

  async tags(repository: RepositoryModel): Promise<void> {
    const page = this.#random.weighted([
      [3, ''],
      [1, '?n=2'],
      [1, '?n=5'],
    ]);
    const listed = await this.#pages(`/v2/${repository.name}/tags/list${page}`, 'tags', [200, 404]);
    if (listed === null) return;
    const names = new Set(listed.pages.flatMap((body) => body.tags as string[]));
    for (const name of names) repository.tag(name);
    for (const name of repository.tags.keys()) repository.readTagListed(name, names.has(name), listed.span);
  }

  async referrers(
    repository: RepositoryModel,
    subject: string,
    artifactType: string | null = null,
  ): Promise<void> {
    const query = artifactType === null ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
    const listed = await this.#pages(
      `/v2/${repository.name}/referrers/${subject}${query}`,
      'referrers',
      [200],
    );
    if (listed === null) return;
    const digests = new Set(
      listed.pages.flatMap((body) => (body.manifests as { digest: string }[]).map(({ digest }) => digest)),
    );
    for (const digest of digests) {
      const known = repository.manifests.get(digest)?.manifest;
      if (known?.subject !== subject) throw new Violation(`${digest} is listed as a referrer of ${subject}`);
    }
    for (const { manifest } of repository.manifests.values()) {
      if (manifest.subject !== subject) continue;
      if (artifactType !== null && manifest.artifactType !== artifactType) {
        if (digests.has(manifest.digest))
          throw new Violation(`${manifest.digest} is listed, and is no ${artifactType}`);
        continue;
      }
      repository.readManifest(manifest.digest, digests.has(manifest.digest), listed.span);
    }
  }

  /** `lagMs` is how long the catalog may know nothing of a repository that holds something. */
  async catalog(repositories: RepositoryModel[], always: Set<string>, lagMs: number): Promise<void> {
    const page = this.#random.chance(0.5) ? '' : '?n=3';
    const listed = await this.#pages(`/v2/_catalog${page}`, 'catalog', [200]);
    if (listed === null) return;
    const names = new Set(listed.pages.flatMap((body) => body.repositories as string[]));
    for (const name of names) {
      if (!repositories.some(({ name: known, touched }) => known === name && touched !== null))
        throw new Violation(`the catalog has ${name}, to which no client has pushed`);
    }
    for (const { name, touched } of repositories) {
      const late = touched !== null && touched + lagMs < listed.span.start;
      if (always.has(name) && late && !names.has(name))
        throw new Violation(`the catalog does not have ${name}`);
    }
  }

  async #getBlob(
    repository: RepositoryModel,
    digest: string,
    headers: Record<string, string>,
    allowed: number[],
  ): Promise<Reply | null> {
    const target = `/v2/${repository.name}/blobs/${digest}`;
    const kind = headers.Range === undefined ? 'GET blob' : 'GET blob range';
    const reply = await this.#session.ask(kind, 'GET', target, { headers }, allowed);
    if (reply === null) return null;
    repository.readBlob(digest, reply.status !== 404, reply);
    if (reply.status !== 307) return reply;
    const { location = '' } = reply.headers;
    const statuses = allowed.filter((status) => status !== 307);
    const followed = await this.#session.ask(`${kind}, redirected`, 'GET', location, { headers }, statuses);
    if (followed?.status === 404) throw new Violation(`the redirect of ${digest} leads to nothing`);
    return followed;
  }

  #manifestIn({ headers, body }: Reply, method: 'GET' | 'HEAD'): string {
    const digest = String(headers['docker-content-digest']);
    if (method === 'GET' && digestOf(body) !== digest)
      throw new Violation(`a manifest with other bytes than ${digest}`);
    return digest;
  }

  #checkSize(repository: RepositoryModel, digest: string, size: number): void {
    const want = repository.blobs.get(digest)?.blob.size;
    if (want !== undefined && want !== size)
      throw new Violation(`${digest} has ${want} bytes, and is said to have ${size}`);
  }

  /** Every page of a list. */
  async #pages(
    target: string,
    kind: string,
    allowed: number[],
  ): Promise<{ pages: Record<string, unknown>[]; span: Span } | null> {
    const pages: Record<string, unknown>[] = [];
    let start: number | null = null;
    let end = 0;
    for (let next: string | null = target; next !== null; ) {
      const reply: Reply | null = await this.#session.ask(kind, 'GET', next, {}, allowed);
      if (reply === null) return null;
      start ??= reply.start;
      end = reply.end;
      if (reply.status === 404) break;
      pages.push(JSON.parse(reply.body.toString()));
      next = /<([^>]+)>; *rel="next"/.exec(String(reply.headers.link ?? ''))?.[1] ?? null;
      if (pages.length > PAGES_MAX) throw new Violation(`${target} has no last page`);
    }
    return start === null ? null : { pages, span: { start, end } };
  }
}

function algorithmOf(digest: string): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}
