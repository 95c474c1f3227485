/**
 * Archives of `docker save` before Docker 25, and of podman, kaniko, Bazel and crane: a manifest.json that names a config and layers.
 * The manifest of the registry is made here. Docker docs, "Image specification v1.2".
 */
import { createHash } from 'node:crypto';
import { MEDIA_TYPES } from '../../../worker/oci/descriptor.ts';
import { type Digest, digestFrom, encodedOf, isDigest } from '../../../worker/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../../worker/oci/limits.ts';
import { Slots } from '../slots.ts';
import type { Source, SourceBlob, SourceDescriptor, SourceOptions } from '../source.ts';
import { digestOfLayer } from './compressed-layer.ts';
import { type ImageFile, type ImageFiles, readWhole, verifiedBlob, wrongDigest } from './content.ts';
import {
  isObject,
  matches,
  parseJson,
  parseObject,
  parsePlatform,
  platformOf,
  platformText,
} from './descriptor.ts';
import { sourceFailure } from './failure.ts';
import { beginningOf, formOf, type LayerCompressor } from './layers.ts';
import { familiarName } from './name.ts';

const CONFIG_MAX_BYTES = 8 * 1024 * 1024;
/** Layers that are uncompressed at once to check them. */
const CHECKS_AT_ONCE = 2;
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const GZIP_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const ZSTD_TYPE = 'application/vnd.oci.image.layer.v1.tar+zstd';

export interface DockerArchiveOptions extends SourceOptions {
  /** For messages. */
  readonly name: string;
  /** A name with its tag, or an image's ID. Null for the only image. */
  readonly reference: string | null;
}

/** An image in manifest.json. */
interface Listed {
  config: string;
  names: string[];
  layers: string[];
}

/** A layer that clients fetch from its URLs: a base layer of Windows. */
interface Foreign extends SourceDescriptor {
  urls: string[];
}

interface Image {
  config: SourceBlob;
  /** In the order of the image. They become ready one after the other. */
  layers: readonly Promise<SourceBlob | Foreign>[];
}

/** The image of an archive. Problems of the archive are thrown by `blobs` and `manifests`. */
export function dockerArchiveSource(
  files: ImageFiles,
  compressor: LayerCompressor,
  options: DockerArchiveOptions,
): Source {
  let image: Promise<Image> | null = null;
  const read = () => {
    image ??= readImage(files, compressor, options);
    return image;
  };
  return {
    name: options.name,
    async *blobs() {
      const { config, layers } = await read();
      yield config;
      const seen = new Set<Digest>();
      for (const layer of layers) {
        const blob = await layer;
        if (!('open' in blob) || seen.has(blob.descriptor.digest)) continue;
        seen.add(blob.descriptor.digest);
        yield blob;
      }
    },
    async manifests() {
      const { config, layers } = await read();
      const ready = await Promise.all(layers);
      await files.complete();
      const descriptors = ready.map((layer) => ('open' in layer ? layer.descriptor : layer));
      const mediaType = MEDIA_TYPES.imageManifest;
      const manifest = { schemaVersion: 2, mediaType, config: config.descriptor, layers: descriptors };
      const bytes = Buffer.from(JSON.stringify(manifest));
      return [{ descriptor: { mediaType, digest: sha256(bytes), size: bytes.length }, bytes }];
    },
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]();
      await compressor[Symbol.asyncDispose]();
    },
  };
}

async function readImage(
  files: ImageFiles,
  compressor: LayerCompressor,
  options: DockerArchiveOptions,
): Promise<Image> {
  const { config: configPath, layers: paths } = await listed(files, options.reference);
  const what = `The config ${JSON.stringify(configPath.slice(0, 200))} in ${files.name}`;
  const bytes = await readWhole(await existing(files, configPath), CONFIG_MAX_BYTES, what);
  const digest = sha256(bytes);
  checkName(configPath, digest, files.name);
  const config = parseObject(bytes, what);
  checkPlatform(config, options.platform, files.name);
  const diffIds = diffIdsOf(config, what);
  if (diffIds.length !== paths.length) {
    throw sourceFailure(
      `${files.name} has ${paths.length} layers, but its config states ${diffIds.length}.\nThe archive is damaged: write it again.`,
    );
  }
  const sources = await foreignLayers(files, options.reference);
  const checks = new Slots(CHECKS_AT_ONCE);
  const layers = diffIds.map((diffId, at) => {
    const path = paths[at] ?? '';
    const layer = layerOf(files, compressor, path, diffId, sources.get(diffId) ?? null, checks);
    // Its error is thrown when its turn comes.
    layer.catch(() => {});
    return layer;
  });
  const descriptor = { mediaType: CONFIG_TYPE, digest, size: bytes.length };
  const open = async function* (start: number, end: number) {
    yield bytes.subarray(start, end);
  };
  return { config: { descriptor, size: bytes.length, open }, layers };
}

async function layerOf(
  files: ImageFiles,
  compressor: LayerCompressor,
  path: string,
  diffId: Digest,
  foreign: Foreign | null,
  checks: Slots,
): Promise<SourceBlob | Foreign> {
  const found = await files.find(path);
  if (found === null && foreign !== null) return foreign;
  const content = found ?? (await existing(files, path));
  const form = formOf(await beginningOf(content, 16));
  if (form === 'tar') return compressor.layer(content.path, diffId, content, files.name);
  if (form === 'other') {
    throw sourceFailure(
      `The layer ${JSON.stringify(path.slice(0, 200))} in ${files.name} is compressed with bzip2 or xz, which registries' clients cannot read.\nBuild the image again with gzip or zstd.`,
    );
  }
  // crane, kaniko and Bazel save layers compressed, as they were pulled.
  const digest = await checks.run(() =>
    digestOfLayer({ content, form, diffId, name: path, source: files.name }),
  );
  const descriptor = { mediaType: form === 'gzip' ? GZIP_TYPE : ZSTD_TYPE, digest, size: content.size };
  return verifiedBlob(descriptor, content, files.name);
}

async function listed(files: ImageFiles, reference: string | null): Promise<Listed> {
  const { images, what } = await manifestJson(files);
  const all = images.map((value, at) => parseListed(value, `${what}: image ${at}`));
  const found = reference === null ? all : all.filter((image) => isNamed(image, reference));
  const names = all
    .flatMap(({ names, config }) => (names.length > 0 ? names : [config]))
    .slice(0, 10)
    .join(', ');
  const [first, ...others] = found;
  if (first === undefined) {
    throw sourceFailure(
      reference === null
        ? `${files.name} has no image: its manifest.json is empty.\nSave the image again.`
        : `${files.name} has no image ${JSON.stringify(reference)}. It has ${names || 'none'}.\nUse one of these.`,
    );
  }
  if (others.every(({ config }) => config === first.config)) return first;
  throw sourceFailure(
    `${files.name} has several images: ${names}.\nName one of them behind a colon, such as docker-archive:PATH:NAME.`,
  );
}

async function manifestJson(files: ImageFiles): Promise<{ images: unknown[]; what: string }> {
  const what = `manifest.json in ${files.name}`;
  const images = parseJson(
    await readWhole(await existing(files, 'manifest.json'), MANIFEST_MAX_BYTES, what),
    what,
  );
  if (!Array.isArray(images)) throw sourceFailure(`${what} is not a list of images.\nSave the image again.`);
  return { images, what };
}

function parseListed(value: unknown, what: string): Listed {
  const { Config: config, RepoTags: names, Layers: layers } = isObject(value) ? value : {};
  if (
    typeof config !== 'string' ||
    !isStrings(layers) ||
    !(names === null || names === undefined || isStrings(names))
  ) {
    throw sourceFailure(`${what} needs Config, Layers and RepoTags.\nSave the image again.`);
  }
  return { config, layers, names: names ?? [] };
}

function isNamed({ names, config }: Listed, reference: string): boolean {
  if (names.some((name) => familiarName(name) === familiarName(reference))) return true;
  const id = reference.replace(/^sha256:/, '');
  return /^[0-9a-f]{12,64}$/.test(id) && (digestIn(config) ?? '').startsWith(id);
}

/** Layers that the archive leaves out. Docker writes their descriptors into LayerSources. */
async function foreignLayers(files: ImageFiles, reference: string | null): Promise<Map<Digest, Foreign>> {
  const { images, what } = await manifestJson(files);
  const found = new Map<Digest, Foreign>();
  for (const image of images) {
    if (!isObject(image) || !isObject(image.LayerSources)) continue;
    if (reference !== null && !isNamed(parseListed(image, what), reference)) continue;
    for (const [diffId, source] of Object.entries(image.LayerSources)) {
      if (!isObject(source) || !isDigest(diffId)) continue;
      const { mediaType, digest, size, urls } = source;
      if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest)) continue;
      if (typeof size !== 'number' || !isStrings(urls) || urls.length === 0) continue;
      found.set(diffId, { mediaType, digest, size, urls });
    }
  }
  return found;
}

function diffIdsOf({ rootfs }: Record<string, unknown>, what: string): Digest[] {
  const diffIds = isObject(rootfs) ? (rootfs.diff_ids ?? []) : null;
  if (Array.isArray(diffIds) && diffIds.every((id) => typeof id === 'string' && isDigest(id))) return diffIds;
  throw sourceFailure(
    `${what} has no rootfs.diff_ids, which state the digests of the layers.\nSave the image again.`,
  );
}

function checkPlatform(config: Record<string, unknown>, platform: string | undefined, source: string): void {
  const found = platformOf(config);
  if (platform === undefined || found === null) return;
  const wanted = parsePlatform(platform);
  if (matches(wanted, found)) return;
  throw sourceFailure(
    `${source} is for ${platformText(found)}, not for ${platformText(wanted)}.\nUse another --platform, or leave it out.`,
  );
}

async function existing(files: ImageFiles, path: string): Promise<ImageFile> {
  const content = await files.find(path);
  if (content !== null) return content;
  throw sourceFailure(
    `${files.name} has no file ${JSON.stringify(path.slice(0, 200))}.\nThe archive is incomplete: save the image again.`,
  );
}

/** All programs name configs by their digests. */
function checkName(path: string, digest: Digest, source: string): void {
  const stated = digestIn(path);
  if (stated !== null && stated !== encodedOf(digest)) throw wrongDigest(`sha256:${stated}`, source);
}

function digestIn(path: string): string | null {
  return /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1] ?? null;
}

function sha256(bytes: Uint8Array): Digest {
  return digestFrom('sha256', createHash('sha256').update(bytes).digest());
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}
