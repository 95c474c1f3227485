/**
 * The registry as one caller may use it. It implements the seam again and checks what the table of endpoints cannot:
 * the source of a mount, the tags of a push, and whether an upload began before the token expired. It records what was
 * done.
 */

import { checkClient, checkSubjectTags, checkTags } from '../access/conditions.ts';
import type { Access } from '../access/decide.ts';
import type { Action } from '../access/model.ts';
import { scopesOfMount } from '../access/required-scopes.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Algorithm, Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { StoredManifest } from '../oci/manifest.ts';
import type { Listing, Page } from '../oci/page.ts';
import type { Reference, RepositoryName, Tag } from '../oci/reference.ts';
import type {
  AskedUpload,
  AskingClient,
  Blob,
  DirectRequest,
  ManifestPut,
  MountSource,
  ReferrersFilter,
  Registry,
  Repository,
  Upload,
} from '../oci/registry.ts';
import type { AuditRecorder } from './audit-recorder.ts';
import { authorOf } from './author.ts';
import type { Caller } from './caller.ts';
import { challenge } from './tokens/challenge.ts';

/** With access to some tags only, the subject of a manifest has at most this many tags: each is checked. */
const SUBJECT_TAGS_CHECKED = 100;

export class AuthorizedRegistry implements Registry {
  readonly #inner: Registry;
  readonly #caller: Caller;
  readonly #access: Access;
  readonly #audit: AuditRecorder;

  /** `access` is the caller's access to the repository of the request. */
  constructor(inner: Registry, caller: Caller, access: Access, audit: AuditRecorder) {
    this.#inner = inner;
    this.#caller = caller;
    this.#access = access;
    this.#audit = audit;
  }

  repository(name: RepositoryName): Repository {
    if (name !== this.#access.name)
      throw new Error(`the access to ${this.#access.name} does not cover ${name}`);
    const { claims, client } = this.#caller;
    const inner = this.#inner.repository(name, authorOf(claims.subject, client, this.#access));
    return new AuthorizedRepository(inner, this.#caller, this.#access, this.#audit);
  }

  catalog(page: Page): Promise<Listing<string>> {
    return this.#inner.catalog(page);
  }
}

class AuthorizedRepository implements Repository {
  readonly name: RepositoryName;
  readonly #inner: Repository;
  readonly #caller: Caller;
  readonly #access: Access;
  readonly #audit: AuditRecorder;

  constructor(inner: Repository, caller: Caller, access: Access, audit: AuditRecorder) {
    this.name = inner.name;
    this.#inner = inner;
    this.#caller = caller;
    this.#access = access;
    this.#audit = audit;
  }

  blob(digest: Digest): Promise<Blob> {
    return this.#inner.blob(digest);
  }

  async deleteBlob(digest: Digest): Promise<void> {
    this.#checkAllTags();
    await this.#inner.deleteBlob(digest);
    this.#done('delete', digest);
  }

  /** Without a source, any repository that the caller may pull can be the source. Throws UNAUTHORIZED, DENIED. */
  async mountBlob(digest: Digest, from: MountSource): Promise<boolean> {
    const source = typeof from === 'string' ? this.#checkSource(from) : this.#caller.claims.pulls;
    const mounted = source !== null && (await this.#inner.mountBlob(digest, source));
    if (mounted) this.#done('mount', typeof from === 'string' ? `${digest} from ${from}` : digest);
    return mounted;
  }

  /** Does nothing for a caller that may not push. */
  async ask(client: AskingClient, digest: Digest, isDirect: boolean): Promise<boolean> {
    const mayPush = this.#access.actions.includes('push');
    return mayPush && this.#inner.ask(client, digest, isDirect);
  }

  startAsked(client: AskingClient, named: Digest | null): Promise<AskedUpload | null> {
    this.#checkNotExpired(Date.now());
    return this.#inner.startAsked(client, named);
  }

  endTurn(client: AskingClient): Promise<void> {
    return this.#inner.endTurn(client);
  }

  startUpload(algorithm: Algorithm, direct: DirectRequest | null): Promise<Upload> {
    this.#checkNotExpired(Date.now());
    return this.#inner.startUpload(algorithm, direct);
  }

  /** An upload may end after the token has expired, if it began before. */
  async upload(id: string, token: string): Promise<Upload> {
    const upload = await this.#inner.upload(id, token);
    this.#checkNotExpired(upload.startedAt);
    return upload;
  }

  headManifest(reference: Reference): Promise<StoredManifest> {
    return this.#inner.headManifest(reference);
  }

  async getManifest(reference: Reference): Promise<StoredManifest & { bytes: Uint8Array }> {
    const manifest = await this.#inner.getManifest(reference);
    this.#done('pull', reference.kind === 'tag' ? reference.tag : reference.digest);
    return manifest;
  }

  async putManifest(put: ManifestPut): Promise<void> {
    this.#refuses('push', () => checkTags(this.#access, 'push', put.tags));
    if (this.#access.tags?.push !== undefined) {
      await this.#checkSubject(put);
      await this.#checkSameType(put);
    }
    await this.#whileAllowed('push', () => this.#inner.putManifest(put));
    this.#done('push', [...put.tags, put.digest].join(' '));
  }

  /** Also deletes the tags that point to the manifest, so it needs access to all tags. */
  async deleteManifest(digest: Digest): Promise<void> {
    this.#checkAllTags();
    await this.#whileAllowed('delete', () => this.#inner.deleteManifest(digest));
    this.#done('delete', digest);
  }

  async deleteTag(tag: Tag): Promise<void> {
    this.#refuses('delete', () => checkTags(this.#access, 'delete', [tag]));
    await this.#whileAllowed('delete', () => this.#inner.deleteTag(tag));
    this.#done('delete', tag);
  }

  tagsOf(digest: Digest, count: number): Promise<string[]> {
    return this.#inner.tagsOf(digest, count);
  }

  tags(page: Page): Promise<Listing<string>> {
    return this.#inner.tags(page);
  }

  referrers(subject: Digest, filter: ReferrersFilter): Promise<Listing<Descriptor>> {
    return this.#inner.referrers(subject, filter);
  }

  /**
   * The source of a mount. Null if the caller may not pull from it: the client then uploads the blob. Throws
   * UNAUTHORIZED with the scopes of both repositories if the token was not requested for the source.
   */
  #checkSource(from: RepositoryName): RepositoryName | null {
    const { claims, client, isLive, request } = this.#caller;
    if (from === this.name && this.#access.actions.includes('pull')) return from;
    const access = claims.access.find(({ name }) => name === from);
    if (access?.actions.includes('pull')) {
      try {
        checkClient(access, client);
        return from;
      } catch {
        return null;
      }
    }
    if (isLive || claims.denials.some(({ name }) => name === from)) return null;
    throw challenge(
      request,
      scopesOfMount(this.name, from),
      `a mount also needs pull on ${from}: request a token with both scopes`,
      'insufficient_scope',
    );
  }

  #checkNotExpired(at: number): void {
    const { claims, request } = this.#caller;
    if (claims.expiresAt * 1000 > at) return;
    throw challenge(
      request,
      [{ type: 'repository', name: this.name, actions: ['pull', 'push'] }],
      'this token expired before the upload began: get a new one',
      'invalid_token',
    );
  }

  #checkAllTags(): void {
    this.#refuses('delete', () => {
      if (this.#access.tags?.delete === undefined) return;
      throw new OciError('DENIED', {
        message: 'access to some tags deletes only those tags, and this would delete others',
      });
    });
  }

  /**
   * A referrer appears in the list of its subject, so access to some tags attaches only to subjects with no other tags.
   * A subject without a tag may be part of an image with other tags, and a missing one may be pushed by others later.
   */
  async #checkSubject({ manifest: { subject } }: ManifestPut): Promise<void> {
    if (subject === null) return;
    const tags = await this.#inner.tagsOf(subject, SUBJECT_TAGS_CHECKED + 1);
    this.#refuses('push', () => {
      if (tags.length === 0 || tags.length > SUBJECT_TAGS_CHECKED) {
        const what = tags.length === 0 ? 'no tag here' : `more than ${SUBJECT_TAGS_CHECKED} tags`;
        throw new OciError('DENIED', {
          message: `access to some tags cannot attach to ${subject}, which has ${what}: give it a tag that this access covers first`,
        });
      }
      checkSubjectTags(this.#access, subject, tags);
    });
  }

  /** Other tags may point to the same manifest, so access to some tags must not change its media type. */
  async #checkSameType({ digest, manifest }: ManifestPut): Promise<void> {
    const known = await this.#inner.headManifest({ kind: 'digest', digest }).catch((error: unknown) => {
      if (error instanceof OciError && error.status === 404) return null;
      throw error;
    });
    if (known === null || known.mediaType === manifest.mediaType) return;
    this.#refuses('push', () => {
      throw new OciError('DENIED', {
        message: 'access to some tags cannot change the media type of a manifest',
      });
    });
  }

  #refuses(action: Action, check: () => void): void {
    try {
      check();
    } catch (error) {
      throw this.#denied(action, error);
    }
  }

  /** Makes a change that a lifecycle policy may forbid. */
  async #whileAllowed(action: Action, change: () => Promise<void>): Promise<void> {
    try {
      await change();
    } catch (error) {
      throw error instanceof OciError && error.code === 'DENIED' ? this.#denied(action, error) : error;
    }
  }

  #denied(action: Action, error: unknown): unknown {
    this.#audit.denied(this.#caller, action, this.name, error instanceof OciError ? error.message : '');
    return error;
  }

  #done(action: string, reference: string): void {
    this.#audit.allowed(this.#caller, action, this.name, reference, this.#access.rule);
  }
}
