/**
 * OCI image layouts, in a folder or in an archive. Image spec, "Image Layout". docker, podman, skopeo, BuildKit, crane, oras and
 * containerd write them.
 */
import { MEDIA_TYPES } from '../../../worker/oci/descriptor.ts';
import { isDigest } from '../../../worker/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../../worker/oci/limits.ts';
import type { Source, SourceDescriptor, SourceOptions } from '../source.ts';
import type { Content } from '../upload.ts';
import { type ImageFiles, readWhole, verifiedBlob } from './content.ts';
import {
  blobPath,
  type Entry,
  matches,
  type Platform,
  parseEntry,
  parseObject,
  parsePlatform,
  platformOf,
  platformText,
} from './descriptor.ts';
import { sourceFailure } from './failure.ts';
import { type ContentStore, type Graph, isIndex, readGraph } from './graph.ts';
import { LayerCompressor } from './layers.ts';
import { familiarName } from './name.ts';
import { compressedImage } from './uncompressed.ts';

const INDEX_MAX_BYTES = MANIFEST_MAX_BYTES;
const CONFIG_MAX_BYTES = 8 * 1024 * 1024;
const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';

export interface LayoutOptions extends SourceOptions {
  /** For messages. */
  readonly name: string;
  /** A tag, a name, or a digest. Null for the only image. */
  readonly reference: string | null;
  /** One that works already. Disposed of with the source. */
  readonly compressor?: LayerCompressor;
  /** See `Selection`. */
  readonly takesOnlyPresent: boolean;
}

/** The image of a layout. Problems of the layout are thrown by `blobs` and `manifests`. */
export function layoutSource(files: ImageFiles, options: LayoutOptions): Source {
  let compressor: LayerCompressor | null = null;
  const create = async () => {
    compressor = options.compressor ?? (await LayerCompressor.create(options));
    return compressor;
  };
  const read = once(async () => {
    const graph = await readLayout(files, options);
    return { graph, compressed: await compressedImage(graph, create, files.name) };
  });
  return {
    name: options.name,
    async *blobs() {
      const { graph, compressed } = await read();
      yield* compressed?.blobs ?? graph.blobs;
    },
    async manifests() {
      const { graph, compressed } = await read();
      const manifests = compressed === null ? [...graph.manifests] : [await compressed.manifest()];
      await files.complete();
      return manifests;
    },
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]();
      await (compressor ?? options.compressor)?.[Symbol.asyncDispose]();
    },
  };
}

async function readLayout(files: ImageFiles, options: LayoutOptions): Promise<Graph> {
  const index = await files.find('index.json');
  if (index === null) {
    throw sourceFailure(
      `${files.name} has no index.json, so it is not an OCI layout.\nUse what docker save, podman save or skopeo copy wrote.`,
    );
  }
  const what = `index.json in ${files.name}`;
  const json = parseObject(await readWhole(index, INDEX_MAX_BYTES, what), what);
  if (!Array.isArray(json.manifests)) {
    throw sourceFailure(`${what} has no list of manifests.\nWrite the layout again.`);
  }
  const entries = json.manifests.map((value, at) => parseEntry(value, `${what}: manifests[${at}]`));
  const platform = options.platform === undefined ? null : parsePlatform(options.platform);
  const named = select(entries, options.reference, files.name);
  const fitting =
    platform === null
      ? named
      : named.filter(
          (entry) => isIndex(entry.mediaType) || entry.platform === null || matches(platform, entry.platform),
        );
  const root = onlyOne(fitting, options, files.name);
  const { takesOnlyPresent, report } = options;
  const store = storeOf(files);
  const graph = await readGraph(store, root, { platform, takesOnlyPresent, report });
  if (platform !== null) await checkPlatform(graph, platform, files);
  return graph;
}

/** The entries that a reference names: a tag, a name or a digest. */
function select(entries: readonly Entry[], reference: string | null, source: string): readonly Entry[] {
  if (entries.length === 0) {
    throw sourceFailure(`${source} has no image: the list in its index.json is empty.\nWrite it again.`);
  }
  if (reference === null) return entries;
  const found = entries.filter((entry) => isNamed(entry, reference));
  if (found.length > 0) return found;
  throw sourceFailure(
    `${source} has no image ${JSON.stringify(reference)}. It has ${namesIn(entries)}.\nUse one of these.`,
  );
}

function onlyOne(entries: readonly Entry[], { platform }: LayoutOptions, source: string): Entry {
  const [first, ...others] = entries;
  if (first === undefined) {
    throw sourceFailure(`${source} has no image for ${platform}.\nUse another --platform, or leave it out.`);
  }
  if (others.every(({ digest }) => digest === first.digest)) return first;
  throw sourceFailure(
    `${source} has several images: ${namesIn(entries)}.\nName one of them behind a colon, such as oci:PATH:TAG, or choose a platform with --platform.`,
  );
}

function isNamed({ annotations, digest }: Entry, reference: string): boolean {
  if (isDigest(reference)) return digest === reference;
  const name = annotations[REF_NAME];
  const full = annotations[CONTAINERD_NAME] ?? name;
  return name === reference || (full !== undefined && familiarName(full) === familiarName(reference));
}

function namesIn(entries: readonly Entry[]): string {
  const names = entries.map(
    ({ annotations, digest, platform }) =>
      annotations[CONTAINERD_NAME] ??
      annotations[REF_NAME] ??
      (platform ? `${digest} (${platformText(platform)})` : digest),
  );
  const shown = [...new Set(names)].slice(0, 10).map((name) => name.slice(0, 200));
  return `${shown.join(', ')}${names.length > 10 ? ', ...' : ''}`;
}

/** With --platform, a manifest that is not in an index must be of this platform, too. */
async function checkPlatform(
  { manifests, blobs }: Graph,
  platform: Platform,
  files: ImageFiles,
): Promise<void> {
  const image = manifests.at(-1);
  const isImage =
    image?.descriptor.mediaType === MEDIA_TYPES.imageManifest ||
    image?.descriptor.mediaType === MEDIA_TYPES.dockerManifest;
  if (image === undefined || !isImage) return;
  const { config } = parseObject(image.bytes, `The manifest ${image.descriptor.digest}`);
  const { digest } = parseEntry(config, 'config');
  const blob = blobs.find(({ descriptor }) => descriptor.digest === digest);
  if (blob === undefined || blob.size > CONFIG_MAX_BYTES) return;
  const what = `The config ${digest} of ${files.name}`;
  const bytes = await readWhole(blob, CONFIG_MAX_BYTES, what);
  // The config of another kind of artifact states no platform, and need not be JSON.
  if (bytes[0] !== 0x7b) return;
  const found = platformOf(parseObject(bytes, what));
  if (found === null || matches(platform, found)) return;
  throw sourceFailure(
    `${files.name} is for ${platformText(found)}, not for ${platformText(platform)}.\nUse another --platform, or leave it out.`,
  );
}

function storeOf(files: ImageFiles): ContentStore {
  const find = async (descriptor: SourceDescriptor): Promise<Content | null> => {
    const content = await files.find(blobPath(descriptor.digest));
    if (content === null || content.size === descriptor.size) return content;
    throw sourceFailure(
      `${descriptor.digest} in ${files.name} has ${content.size} bytes, but its descriptor states ${descriptor.size}.\nThe source is damaged: write it again.`,
    );
  };
  return {
    name: files.name,
    async manifest(descriptor) {
      const content = await find(descriptor);
      return content === null
        ? null
        : readWhole(content, MANIFEST_MAX_BYTES, `The manifest ${descriptor.digest}`);
    },
    async blob(descriptor) {
      const content = await find(descriptor);
      return content === null ? null : verifiedBlob(descriptor, content, files.name);
    },
  };
}

/** The result of the first call, for all calls. */
function once<T>(start: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null;
  return () => {
    result ??= start();
    return result;
  };
}
