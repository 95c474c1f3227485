/** Manifests: end-3, end-7 and end-9. Distribution spec, "Pulling manifests", "Pushing Manifests", "Deleting Manifests". */
import { answerWith, type Content, IMMUTABLE, REVALIDATE } from '../delivery/content.ts';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { MANIFEST_MAX_BYTES, TAGS_PER_MANIFEST_PUT_MAX } from '../oci/limits.ts';
import { isManifestType, parseManifest, type StoredManifest } from '../oci/manifest.ts';
import type { ByteRange } from '../oci/range.ts';
import { readAtMost } from '../oci/read-body.ts';
import { parseOwnTag, parseReference, type Reference, type Tag } from '../oci/reference.ts';
import type { Exchange } from './exchange.ts';

export async function headManifest(exchange: Exchange): Promise<Response> {
  const reference = wanted(exchange);
  const manifest = await exchange.repository.headManifest(reference);
  return answerWith(exchange.request, contentOf({ ...manifest, bytes: new Uint8Array() }, reference));
}

export async function getManifest(exchange: Exchange): Promise<Response> {
  const { repository, request, services } = exchange;
  const reference = wanted(exchange);
  const manifest = await repository.getManifest(reference);
  services.prefetch.begin(repository, manifest, request);
  return answerWith(request, contentOf(manifest, reference));
}

export async function putManifest(exchange: Exchange): Promise<Response> {
  const { repository } = exchange;
  const reference = parseReference(exchange.param('reference'));
  const tags = tagsOf(exchange, reference);
  const bytes = await readManifest(exchange);
  const digest = await identify(bytes, reference);
  const manifest = parseManifest(bytes, exchange.header('Content-Type'));
  await repository.putManifest({ digest, bytes, manifest, tags });
  return new Response(null, {
    status: 201,
    headers: {
      Location: `/v2/${repository.name}/manifests/${digest}`,
      'Docker-Content-Digest': digest,
      'Content-Length': '0',
      ...(manifest.subject === null ? {} : { 'OCI-Subject': manifest.subject }),
      ...(reference.kind === 'digest' && tags.length > 0 ? { 'OCI-Tag': tags.join(', ') } : {}),
    },
  });
}

export async function deleteManifest(exchange: Exchange): Promise<Response> {
  const { repository } = exchange;
  const reference = parseReference(exchange.param('reference'));
  if (reference.kind === 'tag') await repository.deleteTag(parseOwnTag(reference.tag));
  else await repository.deleteManifest(reference.digest);
  return new Response(null, { status: 202 });
}

/** The reference of a pull. A malformed tag is answered as an unknown manifest: clients and the v1.1 suite expect 404. */
function wanted(exchange: Exchange): Reference {
  try {
    return parseReference(exchange.param('reference'));
  } catch (error) {
    if (!(error instanceof OciError) || error.code !== 'TAG_INVALID') throw error;
    throw new OciError('MANIFEST_UNKNOWN', { message: error.message, detail: error.detail });
  }
}

function contentOf(manifest: StoredManifest & { bytes: Uint8Array }, reference: Reference): Content {
  const { digest, size, bytes } = manifest;
  // Earlier releases accepted any type that ends in "json".
  const mediaType = isManifestType(manifest.mediaType) ? manifest.mediaType : 'application/json';
  const cacheControl = reference.kind === 'tag' ? REVALIDATE : IMMUTABLE;
  const read = async (range: ByteRange | null) =>
    range === null ? bytes : bytes.slice(range.first, range.last + 1);
  return { digest, mediaType, size, cacheControl, read };
}

/** The tag of the path, or those of `?tag=` beside a digest (end-7b). */
function tagsOf({ query }: Exchange, reference: Reference): Tag[] {
  if (reference.kind === 'tag') return [parseOwnTag(reference.tag)];
  const tags = [...new Set(query.getAll('tag').map(parseOwnTag))];
  if (tags.length > TAGS_PER_MANIFEST_PUT_MAX) {
    throw new OciError('TAG_INVALID', {
      message: `one push sets at most ${TAGS_PER_MANIFEST_PUT_MAX} tags`,
    });
  }
  return tags;
}

async function readManifest(exchange: Exchange): Promise<Uint8Array> {
  const { request, services } = exchange;
  const tooLarge = new OciError('SIZE_INVALID', {
    message: `a manifest has at most ${MANIFEST_MAX_BYTES} bytes`,
    status: 413,
  });
  if ((exchange.contentLength() ?? 0) > MANIFEST_MAX_BYTES) throw tooLarge;
  const bytes = await services.guard.whileReceiving(request, (arrived) =>
    // Twice, because the pieces are joined at the end.
    readAtMost(request.body, MANIFEST_MAX_BYTES, (bytes) => arrived(2 * bytes)).catch((error) => {
      if (error instanceof OciError) throw error;
      throw new OciError('SIZE_INVALID', { message: 'the manifest was cut off: send it again' });
    }),
  );
  if (bytes === null) throw tooLarge;
  return bytes;
}

/** The digest of a pushed manifest: the one in the path, if it matches, or the sha256 where the path has a tag. */
async function identify(bytes: Uint8Array, reference: Reference): Promise<Digest> {
  if (reference.kind === 'tag') return digestOf('sha256', bytes);
  const digest = await digestOf(algorithmOf(reference.digest), bytes);
  if (digest === reference.digest) return digest;
  throw new OciError('DIGEST_INVALID', {
    message: 'the manifest does not have the digest of the path',
    detail: { expected: reference.digest, actual: digest },
  });
}
