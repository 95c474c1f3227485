// Descriptors and JSON documents of a source, which may say anything.
import { type Digest, isDigest } from '../../../worker/oci/digest.ts';
import { MEDIA_TYPE_MAX_LENGTH } from '../../../worker/oci/limits.ts';
import type { SourceDescriptor } from '../source.ts';
import { sourceFailure } from './failure.ts';

export interface Platform {
  os: string;
  architecture: string;
  variant: string | null;
}

/** A descriptor with what helps to choose it. */
export interface Entry extends SourceDescriptor {
  readonly platform: Platform | null;
  readonly annotations: Readonly<Record<string, string>>;
}

export type Json = Record<string, unknown>;

/** Throws a CommandFailure if the bytes are no JSON object. `what` begins the sentence: `index.json in app.tar`. */
export function parseObject(bytes: Uint8Array, what: string): Json {
  const value = parseJson(bytes, what);
  if (!isObject(value)) throw sourceFailure(`${what} is not a JSON object.\nWrite the source again.`);
  return value;
}

/** Throws a CommandFailure if the bytes are not JSON. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : String(error);
    throw sourceFailure(
      `${what} is not valid JSON: ${reason}.\nThe source is damaged, or it is not an image: write it again.`,
    );
  }
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Throws a CommandFailure if it is no descriptor. */
export function parseEntry(value: unknown, where: string): Entry {
  const { mediaType, digest, size, platform, annotations } = isObject(value) ? value : {};
  const isValid =
    typeof mediaType === 'string' &&
    mediaType !== '' &&
    mediaType.length <= MEDIA_TYPE_MAX_LENGTH &&
    typeof digest === 'string' &&
    isDigest(digest) &&
    typeof size === 'number' &&
    Number.isSafeInteger(size) &&
    size >= 0;
  if (!isValid) {
    throw sourceFailure(
      `${where} is not a descriptor with mediaType, digest and size: ${JSON.stringify(value).slice(0, 200)}.\nWrite the source again.`,
    );
  }
  return {
    mediaType,
    digest,
    size,
    platform: platformOf(platform),
    annotations: stringsOf(annotations),
  };
}

/** `linux/arm64`, `linux/arm/v7`. Throws a CommandFailure for any other text. */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, more] = text.split('/');
  if (!os || !architecture || variant === '' || more !== undefined) {
    throw sourceFailure(
      `${JSON.stringify(text)} is not a platform.\nUse OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/amd64.`,
    );
  }
  return { os, architecture, variant: variant ?? null };
}

export function matches(wanted: Platform, found: Platform | null): boolean {
  if (found === null || wanted.os !== found.os || wanted.architecture !== found.architecture) return false;
  return wanted.variant === null || variantOf(wanted) === variantOf(found);
}

export function platformText(platform: Platform | null): string {
  if (platform === null) return 'no platform';
  const { os, architecture, variant } = platform;
  return variant === null ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Also reads the platform that a config states. Null if there is none. */
export function platformOf(value: unknown): Platform | null {
  if (!isObject(value)) return null;
  const { os, architecture, variant } = value;
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '' || architecture === '')
    return null;
  return { os, architecture, variant: typeof variant === 'string' && variant !== '' ? variant : null };
}

/** The variant that is meant where none is given. containerd docs, "platforms: normalization". */
function variantOf({ architecture, variant }: Platform): string | null {
  if (architecture === 'arm64') return variant ?? 'v8';
  if (architecture === 'arm') return variant ?? 'v7';
  if (architecture === 'amd64') return variant ?? 'v1';
  return variant;
}

function stringsOf(value: unknown): Record<string, string> {
  const strings: Record<string, string> = {};
  if (!isObject(value)) return strings;
  for (const [key, text] of Object.entries(value)) if (typeof text === 'string') strings[key] = text;
  return strings;
}

/** The path of a blob in an OCI layout. Image spec, "Image Layout". */
export function blobPath(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`;
}
