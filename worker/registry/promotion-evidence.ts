/**
 * The attestation of a promotion: an in-toto statement, attached to the image as a referrer. It is not signed; the audit log says the same.
 * https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
 */
import type { ManifestCopy } from '../objects/promotion.ts';
import { MEDIA_TYPES } from '../oci/descriptor.ts';
import { type Digest, digestOf, encodedOf, parseDigest } from '../oci/digest.ts';
import type { StoredManifest } from '../oci/manifest.ts';

const IN_TOTO = 'application/vnd.in-toto+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const PREDICATE_TYPE = 'urn:longshore:promotion:v1';

const utf8 = new TextEncoder();

/** The config of an artifact without one. Image spec, "Guidance for an Empty Descriptor". */
export const EMPTY_CONFIG = utf8.encode('{}');
export const EMPTY_CONFIG_DIGEST = parseDigest(
  'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
);

export interface Evidence {
  manifest: ManifestCopy;
  statement: Uint8Array;
}

export interface PromotionFacts {
  image: StoredManifest;
  /** The image in the source, such as `dev/api:sha-abc`. */
  source: string;
  target: string;
  tags: string[];
  /** Empty where access control is off. */
  actor: string;
  at: Date;
}

/** The annotations of the attestation that do not depend on the time. One with the same says the same. */
export function statedBy(source: string, tags: string[]): Record<string, string> {
  return {
    'in-toto.io/predicate-type': PREDICATE_TYPE,
    'longshore.promotion.source': source,
    'longshore.promotion.tags': tags.join(' '),
  };
}

export async function evidenceOf({
  image,
  source,
  target,
  tags,
  actor,
  at,
}: PromotionFacts): Promise<Evidence> {
  const [algorithm = 'sha256'] = image.digest.split(':');
  const statement = utf8.encode(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: target, digest: { [algorithm]: encodedOf(image.digest) } }],
      predicateType: PREDICATE_TYPE,
      predicate: { source, target, tags, actor, at: at.toISOString() },
    }),
  );
  const bytes = utf8.encode(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.imageManifest,
      artifactType: IN_TOTO,
      config: { mediaType: EMPTY, digest: EMPTY_CONFIG_DIGEST, size: EMPTY_CONFIG.length },
      layers: [{ mediaType: IN_TOTO, digest: await digestOf('sha256', statement), size: statement.length }],
      subject: image,
      annotations: { ...statedBy(source, tags), 'org.opencontainers.image.created': at.toISOString() },
    }),
  );
  const digest: Digest = await digestOf('sha256', bytes);
  return { manifest: { digest, mediaType: MEDIA_TYPES.imageManifest, size: bytes.length, bytes }, statement };
}
