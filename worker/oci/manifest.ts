/**
 * Manifests: what the registry needs to know of one, parsed once from the pushed bytes. The bytes are stored unchanged. Image spec,
 * "Image Manifest" and "Image Index".
 */
import { type Descriptor, MEDIA_TYPES } from './descriptor.ts';
import { type Digest, isDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { MANIFEST_MAX_REFERENCES, MEDIA_TYPE_MAX_LENGTH, REFERRER_ANNOTATIONS_MAX_BYTES } from './limits.ts';

export interface Manifest {
  mediaType: string;
  /** True where the bytes have a `mediaType` field, so that every push of them has the same type. */
  statesMediaType: boolean;
  /** Of an image manifest that says none, the media type of its config ("Pushing Manifests with Subject"). */
  artifactType: string | null;
  annotations: Record<string, string> | null;
  /** The manifest that this one refers to. It need not be in the repository. */
  subject: Digest | null;
  /** Content that must be in the repository: as a blob, or (`manifests`) as a manifest or blob. */
  blobs: Digest[];
  manifests: Digest[];
  /** Content that clients may fetch elsewhere. What the repository has of it is kept. */
  elsewhere: Digest[];
}

/** A manifest as it is kept and served. */
export interface StoredManifest {
  digest: Digest;
  mediaType: string;
  size: number;
}

type Json = Record<string, unknown>;
type References = Pick<Manifest, 'blobs' | 'manifests' | 'elsewhere'>;

const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1';
const NON_DISTRIBUTABLE = /(?:nondistributable|foreign\.diff)/;
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;

/**
 * The types of manifests: those of the vendor, personal and unregistered trees (RFC 6838, section 3) that are JSON, and plain
 * JSON. A browser makes a page of none of these, as it might of `application/xhtml+json` some day.
 */
const MANIFEST_TYPE = /^application\/(?:(?:vnd|prs|x)\.[a-z0-9!#$&^_.+-]+[+.]json|json)$/i;

/** True for the media type of a manifest. */
export function isManifestType(mediaType: string): boolean {
  return MEDIA_TYPE.test(mediaType) && MANIFEST_TYPE.test(mediaType);
}

/**
 * Reads a manifest pushed with this Content-Type header (or none). Throws MANIFEST_INVALID.
 * Manifests of unknown types are accepted too: they must be JSON objects, and what they reference by the usual fields must be in
 * the repository.
 */
export function parseManifest(bytes: Uint8Array, contentType: string | null): Manifest {
  const json = parseObject(bytes);
  const mediaType = mediaTypeOf(json, contentType);
  const references: References = { blobs: [], manifests: [], elsewhere: [] };
  const isIndex = mediaType === MEDIA_TYPES.imageIndex || mediaType === MEDIA_TYPES.dockerManifestList;
  const isImage = mediaType === MEDIA_TYPES.imageManifest || mediaType === MEDIA_TYPES.dockerManifest;

  if ((isIndex || isImage) && json.schemaVersion !== 2) throw invalid('schemaVersion must be 2');
  if (isImage && json.config === undefined) throw invalid('an image manifest needs a config');
  if (isImage && json.manifests !== undefined) throw invalid('an image manifest has no manifests');
  if (isIndex && (json.config !== undefined || json.layers !== undefined)) {
    throw invalid('an image index has neither config nor layers');
  }
  const config = json.config === undefined ? null : descriptorOf(json.config, 'config');
  if (config !== null) references.blobs.push(config.digest);
  for (const field of ['layers', 'blobs']) collect(json, field, references.blobs, references.elsewhere);
  collect(json, 'manifests', references.manifests, references.elsewhere);
  const subject =
    json.subject === undefined || json.subject === null ? null : descriptorOf(json.subject, 'subject');

  const { blobs, manifests, elsewhere } = references;
  if (blobs.length + manifests.length + elsewhere.length > MANIFEST_MAX_REFERENCES) {
    throw invalid(`a manifest may reference at most ${MANIFEST_MAX_REFERENCES} others`);
  }
  const said = optionalString(json, 'artifactType');
  if (said !== null && said.length > MEDIA_TYPE_MAX_LENGTH) throw invalid('the artifactType is too long');
  const annotations = annotationsOf(json);
  if (subject !== null && annotations !== null) checkReferrer(annotations);
  return {
    mediaType,
    statesMediaType: Boolean(json.mediaType),
    artifactType: said !== null && said !== '' ? said : isImage && config !== null ? config.mediaType : null,
    annotations,
    subject: subject === null ? null : subject.digest,
    blobs: [...new Set(blobs)],
    manifests: [...new Set(manifests)],
    elsewhere: [...new Set(elsewhere)],
  };
}

/** The sizes that a manifest states, by digest. The bytes were parsed before. */
export function sizesIn(bytes: Uint8Array): Map<string, number> {
  const { config, layers, blobs, manifests } = parseObject(bytes);
  const lists = [config, layers, blobs, manifests].flat().filter(isObject);
  return new Map(lists.map(({ digest, size }) => [String(digest), Number(size)]));
}

/** Every digest that a manifest names. Only `elsewhere` and the subject may be missing from the repository. */
export function namesOf({ blobs, manifests, elsewhere, subject }: Manifest): Digest[] {
  return [...new Set([...blobs, ...manifests, ...elsewhere, ...(subject === null ? [] : [subject])])];
}

function parseObject(bytes: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw invalid(
      `a manifest is JSON in UTF-8: ${error instanceof Error ? error.message : String(error)}`.slice(0, 300),
    );
  }
  if (!isObject(value)) throw invalid('a manifest is a JSON object');
  return value;
}

/** The Content-Type without parameters. A mediaType field must have the same value. */
function mediaTypeOf(json: Json, contentType: string | null): string {
  const field = optionalString(json, 'mediaType');
  const header = contentType === null ? '' : (contentType.split(';')[0] ?? '').trim();
  if (header !== '' && field !== null && field !== '' && field !== header) {
    throw new OciError('MANIFEST_INVALID', {
      message: 'the mediaType of the manifest is not the Content-Type of the request',
      detail: { mediaType: field.slice(0, 256), contentType: header.slice(0, 256) },
    });
  }
  const mediaType = header !== '' ? header : (field ?? '');
  if (mediaType === '')
    throw invalid('the manifest has no media type: set Content-Type, or the field mediaType');
  if (!MEDIA_TYPE.test(mediaType)) throw invalid('the media type is malformed');
  if (mediaType.startsWith(SCHEMA_1)) {
    throw invalid('Docker schema 1 manifests are not supported: push with a newer client');
  }
  if (!isManifestType(mediaType)) {
    throw invalid(
      `"${mediaType}" is not the media type of a manifest, which is application/vnd.<name>+json: push with another Content-Type`,
    );
  }
  return mediaType;
}

/** Adds the digests of a list of descriptors, to `elsewhere` those that clients fetch from elsewhere. */
function collect(json: Json, field: string, here: Digest[], elsewhere: Digest[]): void {
  const list = json[field];
  if (list === undefined || list === null) return; // Go writes an empty list as null.
  if (!Array.isArray(list)) throw invalid(`${field} must be a list`);
  for (const [index, entry] of list.entries()) {
    const descriptor = descriptorOf(entry, `${field}[${index}]`);
    const mayBeElsewhere = NON_DISTRIBUTABLE.test(descriptor.mediaType) || hasUrls(entry);
    (mayBeElsewhere ? elsewhere : here).push(descriptor.digest);
  }
}

function hasUrls(entry: unknown): boolean {
  return isObject(entry) && Array.isArray(entry.urls) && entry.urls.length > 0;
}

function descriptorOf(value: unknown, where: string): Descriptor {
  if (!isObject(value)) throw invalid(`${where} must be a descriptor`);
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== 'string' || mediaType === '' || mediaType.length > MEDIA_TYPE_MAX_LENGTH) {
    throw invalid(`${where} needs a mediaType of at most ${MEDIA_TYPE_MAX_LENGTH} characters`);
  }
  if (typeof digest !== 'string' || !isDigest(digest))
    throw invalid(`${where} needs a sha256 or sha512 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${where} needs a size, in bytes`);
  }
  return { mediaType, digest, size };
}

function annotationsOf(json: Json): Record<string, string> | null {
  const { annotations } = json;
  if (annotations === undefined || annotations === null) return null;
  if (!isObject(annotations)) throw invalid('annotations must be an object');
  for (const value of Object.values(annotations)) {
    if (typeof value !== 'string') throw invalid('the values of annotations must be strings');
  }
  return annotations as Record<string, string>;
}

/** Throws where the annotations of a referrer would not fit into the row that lists it. */
function checkReferrer(annotations: Record<string, string>): void {
  const bytes = new TextEncoder().encode(JSON.stringify(annotations)).length;
  if (bytes <= REFERRER_ANNOTATIONS_MAX_BYTES) return;
  throw invalid(`with a subject, annotations may have at most ${REFERRER_ANNOTATIONS_MAX_BYTES} bytes`);
}

function optionalString(json: Json, field: string): string | null {
  const value = json[field];
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw invalid(`${field} must be a string`);
  return value;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(message: string): OciError {
  return new OciError('MANIFEST_INVALID', { message });
}
