// Images whose layers have no compression: docker 25 and newer saves layouts of this kind. Their layers are compressed for the registry.
import { MEDIA_TYPES } from '../../../worker/oci/descriptor.ts';
import type { SourceBlob, SourceManifest } from '../source.ts';
import { isObject, type Json, parseObject } from './descriptor.ts';
import { digestOfManifest, type Graph } from './graph.ts';
import { beginningOf, formOf, type LayerCompressor } from './layers.ts';

const PLAIN_LAYER = 'application/vnd.oci.image.layer.v1.tar';
const IMAGE_CONFIGS = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

export interface CompressedImage {
  readonly blobs: AsyncIterable<SourceBlob>;
  manifest(): Promise<SourceManifest>;
}

/**
 * Null if the image stays as it is: its layers are compressed, an index or a subject refers to its digest, or it is no image of
 * containers, whose clients would not expect compression.
 */
export async function compressedImage(
  { blobs, manifests }: Graph,
  compressor: () => Promise<LayerCompressor>,
  source: string,
): Promise<CompressedImage | null> {
  const [image, another] = manifests;
  if (image === undefined || another !== undefined) return null;
  if (image.descriptor.mediaType !== MEDIA_TYPES.imageManifest) return null;
  const json = parseObject(image.bytes, `The manifest ${image.descriptor.digest}`);
  const { config, layers, subject } = json;
  if (!isObject(config) || !IMAGE_CONFIGS.includes(String(config.mediaType)) || !Array.isArray(layers))
    return null;
  if (subject !== undefined && subject !== null) return null;
  const plain = new Map<string, SourceBlob>();
  for (const blob of blobs) {
    if (blob.descriptor.mediaType !== PLAIN_LAYER) continue;
    if (formOf(await beginningOf(blob, 16)) === 'tar') plain.set(blob.descriptor.digest, blob);
  }
  if (plain.size === 0) return null;
  const made = compressAll(plain, await compressor(), source);
  return {
    blobs: (async function* () {
      for (const blob of blobs) if (!plain.has(blob.descriptor.digest)) yield blob;
      for (const layer of made.values()) yield await layer;
    })(),
    async manifest() {
      const replaced = await Promise.all(
        (layers as Json[]).map(async (layer) => ({
          ...layer,
          ...(await made.get(String(layer.digest)))?.descriptor,
        })),
      );
      const bytes = Buffer.from(JSON.stringify({ ...json, layers: replaced }));
      const digest = digestOfManifest(bytes);
      return { descriptor: { mediaType: MEDIA_TYPES.imageManifest, digest, size: bytes.length }, bytes };
    },
  };
}

function compressAll(
  plain: ReadonlyMap<string, SourceBlob>,
  compressor: LayerCompressor,
  source: string,
): Map<string, Promise<SourceBlob>> {
  const made = new Map<string, Promise<SourceBlob>>();
  for (const [digest, blob] of plain) {
    const layer = compressor.layer(digest, blob.descriptor.digest, blob, source);
    // Its error is thrown when its turn comes.
    layer.catch(() => {});
    made.set(digest, layer);
  }
  return made;
}
