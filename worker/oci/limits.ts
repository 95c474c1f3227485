/**
 * The limits of the distribution API that clients meet, and those that several layers share. Every other limit is in the file that
 * applies it.
 */
const KiB = 1024;
const MiB = 1024 * KiB;

/** The length of a repository name. The specification counts the host too. */
export const NAME_MAX_LENGTH = 255;

/** The specification asks for 4 MiB or more ("Pushing Manifests"). */
export const MANIFEST_MAX_BYTES = 4 * MiB;
/** Descriptors in one manifest, so that one transaction stays short. */
export const MANIFEST_MAX_REFERENCES = 10_000;
/** RFC 6838, section 4.2: a type and a subtype have at most 127 characters each. */
export const MEDIA_TYPE_MAX_LENGTH = 255;
/** Annotations of a manifest with a subject. They are stored in one row, for the list of referrers. */
export const REFERRER_ANNOTATIONS_MAX_BYTES = 1 * MiB;
/** Tags that one manifest PUT may set; the specification asks for 10. */
export const TAGS_PER_MANIFEST_PUT_MAX = 100;

/** Tags or names in one page: without `n`, and the most that `n` gives. */
export const PAGE_DEFAULT = 10_000;
export const PAGE_MAX = 10_000;

/** The value of `OCI-Chunk-Min-Length`. regctl then sends chunks of this size. */
export const CHUNK_RECOMMENDED_BYTES = 32 * MiB;

/** Ranges in one request. Each is a read of its own. Clients that pull partially pull the whole blob after a refusal. */
export const RANGES_MAX = 100;
/** Smaller blobs are never redirected: a redirect would cost the client more than the bytes. */
export const REDIRECT_MIN_BYTES = 64 * KiB;

/** The difference of clocks that tokens allow for ("Token Authentication Specification"). */
export const CLOCK_SKEW_S = 60;

/** The time from the POST of an upload until it expires. */
export const UPLOAD_LIFETIME_MS = 24 * 3600 * 1000;
