// Reads an image from its manifest or index down to its blobs, and checks that all is there.
import { createHash } from 'node:crypto';
import { MEDIA_TYPES } from '../../../worker/oci/descriptor.ts';
import { algorithmOf, type Digest, digestFrom, encodedOf } from '../../../worker/oci/digest.ts';
import { OciError } from '../../../worker/oci/errors.ts';
import { MANIFEST_MAX_BYTES } from '../../../worker/oci/limits.ts';
import { isManifestType, type Manifest, parseManifest } from '../../../worker/oci/manifest.ts';
import type { CommandFailure } from '../../failure.ts';
import type { SourceBlob, SourceDescriptor, SourceManifest } from '../source.ts';
import { wrongDigest } from './content.ts';
import {
  type Entry,
  type Json,
  matches,
  type Platform,
  parseEntry,
  parseObject,
  platformText,
} from './descriptor.ts';
import { sourceFailure } from './failure.ts';

/** Indexes in indexes. */
const DEPTH_MAX = 8;
/** Of all manifests of an image together, because they are held in memory. */
const MANIFESTS_MAX_BYTES = 64 * 1024 * 1024;
/** In a message about what is missing. */
const NAMED_MAX = 5;

/** Content by digest. */
export interface ContentStore {
  readonly name: string;
  /** At most MANIFEST_MAX_BYTES. Null if it is missing. */
  manifest(descriptor: SourceDescriptor): Promise<Uint8Array | null>;
  /** Null if it is missing. `canBeMissing`: clients may fetch it elsewhere, as the base layers of Windows. */
  blob(descriptor: SourceDescriptor, canBeMissing: boolean): Promise<SourceBlob | null>;
}

export interface Graph {
  readonly blobs: readonly SourceBlob[];
  /** Children before parents. */
  readonly manifests: readonly SourceManifest[];
}

export interface Selection {
  readonly platform: Platform | null;
  /**
   * Where an index names platforms that are missing, take the only one that is there. The stores of docker and containerd keep the
   * index of an image of which they pulled one platform.
   */
  readonly takesOnlyPresent: boolean;
  readonly report: (message: string) => void;
}

/** Throws a CommandFailure if anything is missing or invalid. */
export async function readGraph(store: ContentStore, root: Entry, selection: Selection): Promise<Graph> {
  const { platform, takesOnlyPresent, report } = selection;
  const start = platform === null ? root : await pick(store, root, platform);
  const walk = new Walk(store);
  await walk.visit(start, 0);
  if (walk.missing.length === 0) return walk;
  const children = await childrenOf(store, root);
  const present: { child: Entry; graph: Walk }[] = [];
  for (const child of children) {
    const graph = new Walk(store);
    if (isPlatform(child.platform)) await graph.visit(child, 1);
    if (isPlatform(child.platform) && graph.missing.length === 0) present.push({ child, graph });
  }
  const [only, another] = present;
  if (takesOnlyPresent && platform === null && only !== undefined && another === undefined) {
    report(
      `Of the ${children.filter(({ platform }) => isPlatform(platform)).length} platforms of ${store.name}, only ${platformText(only.child.platform)} is here. It is sent alone.`,
    );
    return only.graph;
  }
  throw incomplete(store.name, walk.missing, present);
}

/** The manifest of one platform. */
async function pick(store: ContentStore, root: Entry, platform: Platform): Promise<Entry> {
  const known: string[] = [];
  const find = async (descriptor: Entry, depth: number): Promise<Entry | null> => {
    if (depth > DEPTH_MAX) throw tooDeep(store.name);
    for (const child of await childrenOf(store, descriptor)) {
      if (matches(platform, child.platform)) return child;
      if (isIndex(child.mediaType)) {
        const found = await find(child, depth + 1);
        if (found !== null) return found;
      } else if (isPlatform(child.platform)) {
        known.push(platformText(child.platform));
      }
    }
    return null;
  };
  // The manifest of one platform: the caller compares it with the config.
  if (!isIndex(root.mediaType)) return root;
  const found = await find(root, 0);
  if (found !== null) return found;
  throw sourceFailure(
    `${store.name} has no platform ${platformText(platform)}. It has ${[...new Set(known)].slice(0, 20).join(', ') || 'none'}.\nUse one of these with --platform.`,
  );
}

async function childrenOf(store: ContentStore, descriptor: Entry): Promise<Entry[]> {
  if (!isIndex(descriptor.mediaType)) return [];
  const bytes = await readManifest(store, descriptor);
  return bytes === null ? [] : parseNode(bytes, descriptor, store.name).manifests;
}

class Walk implements Graph {
  readonly missing: string[] = [];
  readonly #store: ContentStore;
  readonly #blobs = new Map<string, SourceBlob>();
  readonly #manifests = new Map<string, SourceManifest>();
  readonly #absent = new Set<string>();
  #manifestBytes = 0;

  constructor(store: ContentStore) {
    this.#store = store;
  }

  get blobs(): readonly SourceBlob[] {
    return [...this.#blobs.values()];
  }

  get manifests(): readonly SourceManifest[] {
    return [...this.#manifests.values()];
  }

  async visit(descriptor: Entry, depth: number): Promise<void> {
    if (this.#manifests.has(descriptor.digest) || this.#absent.has(descriptor.digest)) return;
    if (depth > DEPTH_MAX) throw tooDeep(this.#store.name);
    const bytes = await readManifest(this.#store, descriptor);
    if (bytes === null) {
      const platform = isPlatform(descriptor.platform) ? ` (${platformText(descriptor.platform)})` : '';
      return this.#lacks(descriptor, `the manifest ${descriptor.digest}${platform}`);
    }
    this.#manifestBytes += bytes.length;
    if (this.#manifestBytes > MANIFESTS_MAX_BYTES) {
      throw sourceFailure(
        `The manifests of ${this.#store.name} have more than ${MANIFESTS_MAX_BYTES} bytes together.\nUse --platform to send one platform.`,
      );
    }
    const { mediaType, blobs, manifests, elsewhere } = parseNode(bytes, descriptor, this.#store.name);
    for (const child of manifests) {
      const canBeMissing = elsewhere.has(child.digest);
      if (!isManifestType(child.mediaType)) await this.#add(child, canBeMissing);
      else if (!canBeMissing) await this.visit(child, depth + 1);
    }
    for (const blob of blobs) await this.#add(blob, elsewhere.has(blob.digest));
    const { digest, size } = descriptor;
    this.#manifests.set(digest, { descriptor: { mediaType, digest, size }, bytes });
  }

  async #add({ mediaType, digest, size }: Entry, canBeMissing: boolean): Promise<void> {
    if (this.#blobs.has(digest) || this.#absent.has(digest)) return;
    const descriptor = { mediaType, digest, size };
    const blob = await this.#store.blob(descriptor, canBeMissing);
    if (blob !== null) this.#blobs.set(digest, blob);
    else if (!canBeMissing) this.#lacks(descriptor, `the blob ${digest} (${mediaType})`);
  }

  #lacks({ digest }: SourceDescriptor, what: string): void {
    this.#absent.add(digest);
    this.missing.push(what);
  }
}

/** Null if it is missing. Throws a CommandFailure if its bytes do not fit its descriptor. */
async function readManifest(store: ContentStore, descriptor: Entry): Promise<Uint8Array | null> {
  const { digest, size } = descriptor;
  if (size > MANIFEST_MAX_BYTES) {
    throw sourceFailure(
      `The manifest ${digest} of ${store.name} has ${size} bytes. Registries take manifests of at most ${MANIFEST_MAX_BYTES} bytes.\nCheck the source: a descriptor with the type of a manifest may name a layer.`,
    );
  }
  const bytes = await store.manifest(descriptor);
  if (bytes === null) return null;
  const hash = createHash(algorithmOf(digest)).update(bytes).digest('hex');
  if (bytes.length !== size || hash !== encodedOf(digest)) throw wrongDigest(digest, store.name);
  return bytes;
}

/** Of the bytes of a manifest that is named by a tag. */
export function digestOfManifest(bytes: Uint8Array): Digest {
  return digestFrom('sha256', createHash('sha256').update(bytes).digest());
}

interface Node {
  mediaType: string;
  blobs: Entry[];
  manifests: Entry[];
  /** Digests of what clients may fetch elsewhere. */
  elsewhere: ReadonlySet<string>;
}

/** Throws a CommandFailure for what a registry would refuse. */
function parseNode(bytes: Uint8Array, { digest, mediaType }: SourceDescriptor, source: string): Node {
  const what = `The manifest ${digest} of ${source}`;
  let manifest: Manifest;
  try {
    manifest = parseManifest(bytes, mediaType);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    throw sourceFailure(
      `${what} is invalid, and registries refuse it: ${error.message}.\nBuild the image again.`,
    );
  }
  const json = parseObject(bytes, what);
  const entries = (field: string) =>
    listOf(json, field).map((value) => parseEntry(value, `${what}: ${field}`));
  const config = json.config === undefined ? [] : [parseEntry(json.config, `${what}: config`)];
  return {
    mediaType: manifest.mediaType,
    blobs: [...config, ...entries('layers'), ...entries('blobs')],
    manifests: entries('manifests'),
    elsewhere: new Set(manifest.elsewhere),
  };
}

function listOf(json: Json, field: string): unknown[] {
  const value = json[field];
  return Array.isArray(value) ? value : [];
}

export function isIndex(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.imageIndex || mediaType === MEDIA_TYPES.dockerManifestList;
}

/** Attestations have the platform unknown/unknown. */
function isPlatform(platform: Platform | null): boolean {
  return platform !== null && platform.os !== 'unknown';
}

function tooDeep(source: string): CommandFailure {
  return sourceFailure(
    `${source} has more than ${DEPTH_MAX} indexes inside each other.\nUse --platform, or name one of its manifests by its digest.`,
  );
}

function incomplete(
  source: string,
  missing: readonly string[],
  present: readonly { child: Entry }[],
): CommandFailure {
  const named = missing.slice(0, NAMED_MAX).join(', ');
  const rest = missing.length > NAMED_MAX ? `, and ${missing.length - NAMED_MAX} more` : '';
  const platforms = present.map(({ child }) => platformText(child.platform));
  const advice =
    platforms.length > 0
      ? `Choose a platform that is here with --platform: ${platforms.join(', ')}.`
      : 'Write the source again with all of its content.';
  return sourceFailure(`${source} is incomplete: ${named}${rest} missing.\n${advice}`);
}
