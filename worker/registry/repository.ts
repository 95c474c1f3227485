/** The repository of oci/registry.ts: its state is in a Repository object, its bytes are in the blob store. */

import { inlineKey } from '../blobs/storage-key.ts';
import type { Env } from '../env.ts';
import { remembered } from '../memory/answers.ts';
import type { LinkContent, StoredBlob } from '../objects/blob-shard.ts';
import type {
  ArrivingBlob,
  DeleteAnswer,
  LinkedBlob,
  Looked,
  ManifestAnswer,
  NotFound,
  PutAnswer,
  Refused,
  RepositoryObject,
} from '../objects/repository.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Algorithm, Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { REDIRECT_MIN_BYTES } from '../oci/limits.ts';
import { type StoredManifest, sizesIn } from '../oci/manifest.ts';
import type { Listing, Page } from '../oci/page.ts';
import { matchesEach } from '../oci/pattern.ts';
import type { ByteRange } from '../oci/range.ts';
import { pastTag, type Reference, type RepositoryName, type Tag } from '../oci/reference.ts';
import type {
  AskedUpload,
  AskingClient,
  Blob,
  DirectRequest,
  ManifestPut,
  MountSource,
  ReferrersFilter,
  Repository,
  Upload,
} from '../oci/registry.ts';
import type { Author } from '../oci/upkeep.ts';
import { platformOf } from '../platform.ts';
import { hasRepository, repositoryOf, type Stub, shardOf } from '../stubs.ts';
import { bytesKey, type EdgeCache, edgeKey } from './edge-cache.ts';
import { pullKnown, reportPull } from './pulls.ts';
import { readBlob } from './read-blob.ts';
import { heardOfRoom } from './room.ts';
import { SilentUploads } from './silent-uploads.ts';
import { rememberHolder, smallHoldersOf } from './small-holders.ts';
import { DurableUpload } from './upload.ts';
import type { UploadIds } from './upload-id.ts';

/** Repositories with a small blob that a mount without a source asks. */
const HOLDERS_ASKED_MAX = 3;

/** The memory of a remembered answer besides its bytes, in bytes. */
const ENTRY_BYTES = 500;

/** Where the bytes of a blob are: in the store under its storage key, or here. */
type FoundBytes = LinkedBlob & { bytes: Uint8Array | null };

/** What happens to a manifest whose references are missing. */
export interface ManifestRules {
  /** It is accepted. */
  allowsSparse: boolean;
  /** Blobs that have arrived past the Worker are linked first. */
  takesArrived: boolean;
}

export class DurableRepository implements Repository {
  readonly name: RepositoryName;
  readonly #env: Env;
  readonly #uploadIds: UploadIds;
  readonly #edge: EdgeCache | null;
  readonly #rules: ManifestRules;
  readonly #by: Author;

  constructor(
    env: Env,
    uploadIds: UploadIds,
    edge: EdgeCache | null,
    rules: ManifestRules,
    name: RepositoryName,
    by: Author,
  ) {
    this.#env = env;
    this.#uploadIds = uploadIds;
    this.#edge = edge;
    this.#rules = rules;
    this.#by = by;
    this.name = name;
    this.#by = by;
  }

  async blob(digest: Digest): Promise<Blob> {
    const located = await this.#linked(digest);
    const { key, size } = located;
    return { digest, size, key, read: (range) => this.#read(located, range) };
  }

  async deleteBlob(digest: Digest): Promise<void> {
    const result = await this.#forgetting('blobs', digest, async () =>
      this.#ask('unknown', (state) => state.deleteBlob(digest)),
    );
    if (result === 'unknown') throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
    if (result === 'deleted') return;
    throw new OciError('UNSUPPORTED', {
      message: 'a manifest references this blob: delete the manifest, and the blob is deleted automatically',
      detail: { digest, ...result },
    });
  }

  /** Asks the source repository itself, because an entry of the edge cache may be stale and must not grant access. */
  async mountBlob(digest: Digest, from: MountSource): Promise<boolean> {
    if (typeof from === 'string') return this.#mountFrom(digest, from);
    const small = smallHoldersOf(digest).filter((name) => matchesEach(from, name));
    for (const name of small.slice(0, HOLDERS_ASKED_MAX)) {
      if (await this.#mountFrom(digest, name)) return true;
    }
    return this.#mount(digest, { among: from });
  }

  async #mountFrom(digest: Digest, from: string): Promise<boolean> {
    if (!(await hasRepository(this.#env, from))) return false;
    const source = await repositoryOf(this.#env, from).blob(digest);
    if (source === null) return false;
    if (source.bytes !== null) return this.#mountInline(source, source.bytes);
    return this.#mount(digest, { key: source.key, size: source.size, proven: true });
  }

  async #mount(digest: Digest, content: LinkContent): Promise<boolean> {
    const link = crypto.randomUUID();
    const object = await shardOf(this.#env, digest).link({ link, digest, repository: this.name, content });
    if (object === null) return false;
    const blob = { digest, key: object.key, size: object.size, link };
    return this.#state().linkBlob(this.name, blob, null);
  }

  /** Copies a small blob, because its bytes are kept beside its link. */
  async #mountInline({ digest, size }: LinkedBlob, bytes: Uint8Array): Promise<boolean> {
    const blob = { digest, key: inlineKey(this.name, digest), size, link: crypto.randomUUID() };
    rememberHolder(digest, this.name);
    return this.#state().linkBlob(this.name, blob, null, bytes);
  }

  async startUpload(algorithm: Algorithm, direct: DirectRequest | null): Promise<Upload> {
    const { id, token, claim } = await this.#uploadIds.mint(this.name, algorithm);
    const upload = new DurableUpload(this.#env, this.name, id, token, claim, true);
    if (direct !== null) await upload.startDirect(direct);
    return upload;
  }

  async upload(id: string, token: string): Promise<Upload> {
    const claim = await this.#uploadIds.check(this.name, id, token);
    if (claim === null) throw new OciError('BLOB_UPLOAD_UNKNOWN');
    return new DurableUpload(this.#env, this.name, id, token, claim, false);
  }

  async ask({ key: caller }: AskingClient, digest: Digest, isDirect: boolean): Promise<boolean> {
    const asked = { caller, digest, isDirect };
    const wait = () => this.#state().awaitTurn(asked, false);
    // An object that restarts ends all that wait. Its successor takes the same question.
    const arriving = await wait().catch(wait);
    if (arriving.length === 0) return false;
    // Content that must be read first waits for the manifest.
    if (await this.#linkArrived(arriving, null)) return true;
    await this.#state().awaitTurn(asked, true);
    return false;
  }

  async startAsked({ key: caller }: AskingClient, named: Digest | null): Promise<AskedUpload | null> {
    const { id, token, claim } = await this.#uploadIds.mint(this.name, 'sha256');
    const draft = crypto.randomUUID();
    const recorded = { upload: id, draft, expiresAt: claim.expiresAt };
    const digest = await this.#state().takeTurn(this.name, caller, named, recorded);
    if (digest === null) return null;
    const upload = new DurableUpload(this.#env, this.name, id, token, claim, true);
    return { id, key: await upload.startArriving(draft), digest };
  }

  async endTurn({ key: caller }: AskingClient): Promise<void> {
    await this.#state().takeTurn(this.name, caller, null, null);
  }

  async headManifest(reference: Reference): Promise<StoredManifest> {
    return this.#manifest(reference, false);
  }

  async getManifest(reference: Reference): Promise<StoredManifest & { bytes: Uint8Array }> {
    return this.#manifest(reference, true);
  }

  async putManifest(put: ManifestPut): Promise<void> {
    const write = async () => this.#write(put);
    // Without a mediaType field in the bytes, another push may have given them another media type.
    const { missing, refused } = await (this.#edge === null || put.manifest.statesMediaType
      ? write()
      : this.#forgetting('manifests', put.digest, write));
    if (refused != null) throw new OciError('DENIED', { message: refused });
    if (missing.length === 0) return;
    throw new OciError('MANIFEST_BLOB_UNKNOWN', {
      message: `${missing.length} of what the manifest references is not in this repository: push it first`,
      detail: { missing: missing.slice(0, 20) },
    });
  }

  /** Links the blobs that have arrived past the Worker, and then writes the manifest. */
  async #write(put: ManifestPut): Promise<PutAnswer> {
    const { allowsSparse, takesArrived } = this.#rules;
    const change = { ...this.#by, why: 'push' } as const;
    const written = await this.#state().putManifest(this.name, put, allowsSparse && !takesArrived, change);
    if (!takesArrived || written.missing.length === 0) return written;
    const isChanged = await this.#linkArrived(written.arriving, sizesIn(put.bytes));
    if (!isChanged && !allowsSparse) return written;
    return this.#state().putManifest(this.name, put, allowsSparse, change);
  }

  /**
   * Links each blob if the bytes of one of its uploads are good. `sizes` are those that a manifest states; without them, content whose
   * digest the store has not compared is not read. Returns whether a blob was linked.
   */
  async #linkArrived(arriving: ArrivingBlob[], sizes: Map<string, number> | null): Promise<boolean> {
    const blobs = [...Map.groupBy(arriving, ({ digest }) => digest)];
    // One that fails does not cut off the others in the middle.
    const linked = await Promise.allSettled(
      blobs.map(async ([digest, uploads]) => {
        for (const { upload: id, draft, expiresAt } of uploads) {
          const claim = { algorithm: 'sha256', expiresAt, begun: true } as const;
          const upload = new DurableUpload(this.#env, this.name, id, '', claim, false);
          const size = sizes === null ? null : sizes.get(digest);
          if (size !== undefined && (await upload.linkArrived(digest, draft, size))) return true;
        }
        return false;
      }),
    );
    const failed = linked.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return linked.some((result) => result.status === 'fulfilled' && result.value);
  }

  async deleteManifest(digest: Digest): Promise<void> {
    const result = await this.#forgetting('manifests', digest, async () =>
      this.#ask<DeleteAnswer>('repository', (state) =>
        state.deleteManifest(digest, { ...this.#by, why: 'delete' }),
      ),
    );
    if (result !== 'deleted') throw this.#notDeleted(result, { digest });
  }

  async deleteTag(tag: Tag): Promise<void> {
    const result = await this.#ask<DeleteAnswer>('repository', (state) =>
      state.deleteTag(tag, { ...this.#by, why: 'delete' }),
    );
    if (result !== 'deleted') throw this.#notDeleted(result, { tag });
  }

  async tags(page: Page): Promise<Listing<string>> {
    const ask = () => this.#ask(null, (state) => state.tags(page.count, page.last));
    // Only the first page is worth remembering: a client reads each of the others once.
    const listing =
      page.last === null
        ? await this.#remembered(`tags ${page.count}`, ask, (answer) => sizeOfPage(answer))
        : await ask();
    if (listing === null) throw new OciError('NAME_UNKNOWN', { detail: { name: this.name } });
    return listing;
  }

  async tagsOf(digest: Digest, count: number): Promise<string[]> {
    return this.#state().tagsOf(digest, count);
  }

  async referrers(subject: Digest, { artifactType, last }: ReferrersFilter): Promise<Listing<Descriptor>> {
    return this.#ask({ entries: [], more: false }, (state) => state.referrers(subject, artifactType, last));
  }

  async #linked(digest: Digest): Promise<FoundBytes> {
    const key = edgeKey(this.name, 'blobs', digest);
    const kept = await this.#edge?.find<FoundBytes>(key, false);
    if (kept) return kept.about;
    const since = (await this.#edge?.begin()) ?? 0;
    const { blob, abandonedAt, room } = await this.#remembered<Looked>(
      digest,
      () => this.#ask({ blob: null, abandonedAt: null }, (state) => state.look(digest)),
      (answer) => (answer.blob === null ? null : ENTRY_BYTES + (answer.blob.bytes?.length ?? 0)),
      (answer) => answer.blob?.safeUntil ?? null,
    );
    new SilentUploads(this.#env, this.name).heard(abandonedAt);
    heardOfRoom(this.name, room);
    if (blob === null) throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
    this.#edge?.keep(key, { about: blob, bytes: new Uint8Array() }, since);
    return blob;
  }

  /** A small blob that is read whole, such as an image's config, is kept in the edge cache under its storage key. */
  async #read(located: FoundBytes, range: ByteRange | null): Promise<ReadableStream<Uint8Array>> {
    const { digest, key, size, bytes: inline } = located;
    if (inline instanceof Uint8Array)
      return streamOf(range === null ? inline : inline.subarray(range.first, range.last + 1));
    const blob = { digest, key, size };
    const edge = size < REDIRECT_MIN_BYTES && range === null ? this.#edge : null;
    if (edge === null) return this.#readStored(blob, range);
    const kept = await edge.find<null>(bytesKey(key), true);
    if (kept !== null) return streamOf(kept.bytes);
    const since = await edge.begin();
    const bytes = new Uint8Array(await new Response(await this.#readStored(blob, null)).arrayBuffer());
    edge.keep(bytesKey(key), { about: null, bytes }, since);
    return streamOf(bytes);
  }

  /** If the bytes are lost, the repository removes the blob, so that the next client pushes it again. */
  async #readStored(blob: StoredBlob, range: ByteRange | null): Promise<ReadableStream<Uint8Array>> {
    try {
      return await readBlob(this.#env, blob, range);
    } catch (error) {
      const { digest, key } = blob;
      if (error instanceof OciError && error.code === 'BLOB_UNKNOWN')
        await this.#forgetting('blobs', digest, async () => this.#state().dropLostBlob(digest, key));
      throw error;
    }
  }

  /** A manifest that is asked for by digest may come from the edge cache. Every manifest that is read whole is kept there. */
  async #manifest(reference: Reference, withBytes: boolean): Promise<ManifestAnswer> {
    if (reference.kind === 'digest') {
      const key = edgeKey(this.name, 'manifests', reference.digest);
      const kept = await this.#edge?.find<StoredManifest>(key, withBytes);
      if (kept && withBytes) reportPull(this.#env, this.name, reference.digest);
      if (kept) return { ...kept.about, bytes: kept.bytes };
    }
    const since = (await this.#edge?.begin()) ?? 0;
    const answer = await this.#askForManifest(reference, withBytes);
    if (withBytes && !answer.isPast) {
      const { bytes, ...about } = answer;
      this.#edge?.keep(edgeKey(this.name, 'manifests', answer.digest), { about, bytes }, since);
    }
    return answer;
  }

  async #askForManifest(reference: Reference, withBytes: boolean): Promise<ManifestAnswer> {
    const name = reference.kind === 'tag' ? reference.tag : reference.digest;
    const past = reference.kind === 'tag' ? pastTag(reference.tag) : null;
    if (past !== null) return this.#askForPast(past, withBytes, name);
    const isPull = withBytes || reference.kind === 'tag';
    const answer = await this.#remembered<ManifestAnswer | NotFound>(
      `${withBytes ? 'GET' : 'HEAD'} ${name}`,
      () => {
        // The repository itself records it.
        if (isPull) pullKnown(this.name, name);
        return this.#ask('repository', async (state) =>
          reference.kind === 'tag'
            ? state.manifestByTag(reference.tag, withBytes)
            : state.manifestByDigest(reference.digest, withBytes),
        );
      },
      (found) => (typeof found === 'string' || found.isPast ? null : found.bytes.length + ENTRY_BYTES),
    );
    if (typeof answer === 'string') throw this.#unknownManifest(answer, { reference: name });
    if (isPull) reportPull(this.#env, this.name, name);
    return answer;
  }

  /** A tag as it was at a time. */
  async #askForPast(
    { tag, at }: { tag: Tag; at: number },
    withBytes: boolean,
    reference: string,
  ): Promise<ManifestAnswer> {
    const answer = await this.#ask<ManifestAnswer | NotFound | 'past'>('repository', async (state) =>
      state.manifestByTime(tag, at, withBytes),
    );
    if (answer === 'past') {
      throw new OciError('MANIFEST_UNKNOWN', {
        message: `what ${tag} was at ${new Date(at).toISOString()} is not known any more: the history of tags is kept for UNDO_DAYS`,
        detail: { name: this.name, reference },
      });
    }
    if (typeof answer === 'string') throw this.#unknownManifest(answer, { reference });
    return { ...answer, isPast: true };
  }

  /** Makes a change, and then drops the entry of the edge cache, even if the answer to the change is lost. */
  async #forgetting<T>(kind: 'blobs' | 'manifests', digest: Digest, change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } finally {
      await this.#edge?.forget(edgeKey(this.name, kind, digest));
    }
  }

  #notDeleted(why: NotFound | Refused, detail: Record<string, string>): OciError {
    return typeof why === 'string'
      ? this.#unknownManifest(why, detail)
      : new OciError('DENIED', { message: why.refused });
  }

  #unknownManifest(what: NotFound, detail: Record<string, string>): OciError {
    return what === 'repository'
      ? new OciError('NAME_UNKNOWN', { detail: { name: this.name } })
      : new OciError('MANIFEST_UNKNOWN', { detail: { name: this.name, ...detail } });
  }

  /** On one machine, answers are remembered until the repository changes. */
  #remembered<T>(
    key: string,
    ask: () => Promise<T>,
    sizeOf: (answer: T) => number | null,
    untilOf?: (answer: T) => number | null,
  ): Promise<T> {
    return platformOf(this.#env).isSingleIsolate ? remembered(this.name, key, ask, sizeOf, untilOf) : ask();
  }

  /** Asks the repository if it exists, or else returns `unknown`. */
  async #ask<T>(unknown: NoInfer<T>, ask: (state: Stub<RepositoryObject>) => Promise<T>): Promise<T> {
    return (await hasRepository(this.#env, this.name)) ? ask(this.#state()) : unknown;
  }

  #state(): Stub<RepositoryObject> {
    return repositoryOf(this.#env, this.name);
  }
}

/** The memory of a remembered page, in bytes. Null for an empty page. */
function sizeOfPage(page: Listing<string> | null): number | null {
  if (page === null || page.entries.length === 0) return null;
  return page.entries.reduce((bytes, entry) => bytes + 2 * entry.length + 50, 0);
}

/** A stream with a known length. */
function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new Response(bytes as BodyInit).body ?? new ReadableStream();
}
