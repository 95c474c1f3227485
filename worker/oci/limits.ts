/**
 * The limits that clients and the platform meet, named, in one place. Those of the platform are the ones of production, which
 * the local runtimes do not all enforce; the rest are ours.
 */
const KiB = 1024;
const MiB = 1024 * KiB;
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** Repository names: the specification counts host, slash and name together; we count the name. */
export const NAME_MAX_LENGTH = 255;

/** The specification asks for 4 MiB at the least ("Pushing Manifests"). */
export const MANIFEST_MAX_BYTES = 4 * MiB;
/** Descriptors in one manifest, so that one transaction stays short. */
export const MANIFEST_MAX_REFERENCES = 10_000;
/** RFC 6838, section 4.2: a type and a subtype have at most 127 characters each. */
export const MEDIA_TYPE_MAX_LENGTH = 255;
/** Annotations of a manifest with a subject are kept beside it, in one row, for the list of referrers. */
export const REFERRER_ANNOTATIONS_MAX_BYTES = 1 * MiB;
/** Tags that one manifest PUT may set; the specification asks for 10. */
export const TAGS_PER_MANIFEST_PUT_MAX = 100;

/** Tags or names in one answer when the client does not say `n`; more are linked. */
export const PAGE_DEFAULT = 10_000;
export const PAGE_MAX = 10_000;

/** What `OCI-Chunk-Min-Length` recommends: regctl then sends chunks of this size. */
export const CHUNK_RECOMMENDED_BYTES = 32 * MiB;

/** Ranges in one request: each is a read of its own. Clients that pull partially fall back from a refusal. */
export const RANGES_MAX = 100;
/** Blobs below this are answered directly: a redirect would cost the client more than the bytes. */
export const REDIRECT_MIN_BYTES = 64 * KiB;
/** Cloudflare's cache keeps no larger objects (Free to Business). */
export const CACHED_BLOB_MAX_BYTES = 512 * MiB;

/** What one manifest may prefetch, in bytes together, and how many blobs at a time. */
export const PREFETCH_BYTES_MAX = 1024 * MiB;
export const PREFETCH_AT_A_TIME = 4;

/** Of a body that is refused, this much is read before the answer, and less where no credentials came with it. */
export const DRAIN_MAX_BYTES = 128 * MiB;
/**
 * A client may send a chunk of the recommended size before it logs in. It sees a broken connection, and not the challenge, where
 * the chunk is not read to its end.
 */
export const DRAIN_STRANGER_MAX_BYTES = CHUNK_RECOMMENDED_BYTES;

/** A pattern of names. */
export const PATTERN_MAX_LENGTH = 255;
/** With access to some tags only, the subject of a manifest has at most this many tags: each is checked. */
export const SUBJECT_TAGS_CHECKED = 100;
/** Stars in a pattern, where `**` is one. */
export const PATTERN_STARS_MAX = 8;
/** Patterns that an isolate keeps ready for matching: about 2 KB each where they are as long as they may be. */
export const PATTERNS_COMPILED = 500;
/**
 * Scopes that one token may be asked for, the length of one with its actions, and that of all names together: each name is
 * matched against every rule of the caller.
 */
export const SCOPES_MAX = 50;
export const SCOPE_MAX_LENGTH = 400;
export const SCOPE_NAMES_MAX_LENGTH = 4096;
/** The form of a token request: the token of an issuer is the longest thing in it. */
export const TOKEN_FORM_MAX_BYTES = 64 * KiB;
/** An Authorization header: Cloudflare takes 128 KB of headers in all. */
export const AUTHORIZATION_MAX_LENGTH = 32 * KiB;
/** A login token stands for a password this long. */
export const LOGIN_TOKEN_LIFETIME_S = 3600;
/** In a token, which has to fit into a header: patterns of what may be pulled, and refusals with their reasons. */
export const PULL_PATTERNS_MAX = 50;
export const DENIALS_EXPLAINED_MAX = 5;
/** Beyond so many characters of claims, what mounts without a source could use is left out: some proxies stop at 8 KB. */
export const TOKEN_PAYLOAD_MAX_LENGTH = 4000;
/** How long an isolate remembers who showed Basic credentials, at the most. */
export const IDENTITY_LIFETIME_MAX_S = 300;
/**
 * Slow hashes that an isolate computes: for those who have logged in from their address before, and for all others. One is 160 ms of
 * the one thread.
 */
export const HASHES_OF_STRANGERS = { burst: 10, perSecond: 2 };
export const HASHES_OF_KNOWN = { burst: 10, perSecond: 2 };
/** A failed login takes at least this long, whether a hash was computed or not; in an htpasswd file, for each round of bcrypt. */
export const FAILED_LOGIN_MIN_MS = 300;
export const BCRYPT_ROUND_MS = 0.15;
/** A proxy that is not trusted is told of in the log no more often than this. */
export const FORWARDED_WARNING_MS = 1 * hour;
/** How far clocks may be apart ("Token Authentication Specification"). */
export const CLOCK_SKEW_S = 60;
/**
 * An isolate asks for the keys and the revocations again after this long, in the background before that. So long does a
 * credential that was revoked still work at other locations; on one machine it ends at once.
 */
export const ACCESS_STATE_LIFETIME_MS = 30 * second;
export const ACCESS_STATE_REFRESHED_MS = 20 * second;
/** While `Accounts` does not answer, what an isolate knows is used for so long. */
export const ACCESS_STATE_STALE_MAX_MS = 5 * minute;
/** On one machine changes are told, and only the rotation of keys has to be noticed. */
export const KEY_RING_LIFETIME_MS = 1 * hour;
/** A key that an isolate does not know is asked for no sooner than this. */
export const KEY_RING_RETRY_MS = 10 * second;
/** Verified tokens that an isolate remembers. A token has about 1,000 characters, and at most 16,000. */
export const ACCESS_TOKENS_REMEMBERED = 5000;
export const ACCESS_TOKENS_REMEMBERED_BYTES = 12 * MiB;
/** Results of password checks that an isolate remembers. quick-lru holds up to twice its `maxSize`, as in all its uses. */
export const PASSWORDS_REMEMBERED = 2500;
/** Identities of Basic credentials that an isolate remembers. */
export const IDENTITIES_REMEMBERED = 500;
/** What has expired is removed in passes this far apart, and so many rows at a time. */
export const AUDIT_SWEEP_MS = 1 * hour;
/** A token of a trusted issuer is taken for so long from when it was issued, however late it says that it ends. */
export const ASSERTION_MAX_AGE_S = 24 * 3600;
/** A claim that is longer meets no condition. */
export const CLAIM_MAX_LENGTH = 1024;
/** What an issuer says of itself is kept this long; its keys are fetched sooner for one that is not known. */
export const ISSUER_LIFETIME_MS = 1 * hour;
export const ISSUER_KEYS_LIFETIME_MS = 10 * minute;
export const ISSUER_KEYS_RETRY_MS = 30 * second;
/** An issuer that did not answer is asked again after this long. */
export const ISSUER_RETRY_MS = 10 * second;
export const ISSUER_TIMEOUT_MS = 5 * second;
export const ISSUER_ANSWER_MAX_BYTES = 256 * KiB;
/** Issuers, or key sets, that an isolate remembers. */
export const ISSUERS_REMEMBERED = 50;
/** From the page of the issuer, a person is back within this time. */
export const SIGN_IN_LIFETIME_S = 10 * 60;
/** Tokens of sign-ins that a user has at once, for as many machines; the oldest is dropped. */
export const SIGN_IN_TOKENS_MAX = 5;
/** Groups that are taken from one sign-in, and the length of a name that it brings. */
export const SIGN_IN_GROUPS_MAX = 200;
export const SIGN_IN_NAME_MAX_LENGTH = 100;
/** One text of an audit event. */
export const AUDIT_TEXT_MAX_LENGTH = 500;
/**
 * Changes are written this long after their answers: at once on Cloudflare, where each may be the last of its isolate, and
 * on one machine, where every write is synced to the disk, so that those of one push are written together.
 */
export const AUDIT_CHANGES_MS = { cloudflare: 0, machine: 250 };
/** A refusal that is the first of its sort waits this long for others. */
export const AUDIT_REFUSALS_MS = 2 * second;
/** Pulls, tokens, and refusals of a sort that was written already wait this long. Cloudflare gives 30 s after an answer. */
export const AUDIT_COUNTED_MS = 20 * second;
/** A flush that is late by this was cut off with its request; the next event begins another. */
export const AUDIT_STUCK_MS = 10 * second;
/** Events that wait in an isolate. When so many wait they are written at once; what then still comes is counted as lost. */
export const AUDIT_PENDING_MAX = 1000;
/** Sorts of refusals without an account that an isolate tells apart; all others are counted together. */
export const AUDIT_STRANGERS_MAX = 50;
/** What a refused event says of others that are counted with it. */
export const AUDIT_EXAMPLES_MAX = 5;
/** One row of the log: events, and characters of their JSON. Production refuses rows over 2 MB. */
export const AUDIT_ROW_EVENTS_MAX = 1000;
export const AUDIT_ROW_MAX_LENGTH = 256 * KiB;
/** Rows of nothing but refusals that the log takes in a minute, of all isolates together. */
export const AUDIT_REFUSAL_ROWS_A_MINUTE = 60;
/** The log drops its oldest rows beyond this: a Durable Object has 10 GB at most. */
export const AUDIT_MAX_BYTES = 8 * 1024 * MiB;
/** What one page of the log may look through, in rows and in characters. */
export const AUDIT_SCAN_ROWS_MAX = 1000;
export const AUDIT_SCAN_MAX_LENGTH = 8 * MiB;

/** The management API: the key set of an issuer is the longest thing in a body. */
export const MANAGEMENT_BODY_MAX_BYTES = 64 * KiB;
export const MANAGEMENT_PAGE_DEFAULT = 100;
export const MANAGEMENT_PAGE_MAX = 1000;
export const PASSWORD_MIN_LENGTH = 12;
export const PASSWORD_MAX_LENGTH = 256;
/** Grants of one token or trust, groups of one user, networks of one policy, conditions of one trust. */
export const GRANTS_MAX = 100;
/** The farthest end that a token may be given. */
export const TOKEN_EXPIRY_MAX_S = 10 * 366 * 24 * 3600;

/** From its POST, an upload may take this long. */
export const UPLOAD_LIFETIME_MS = 1 * day;

/** Users, robots and addresses that are counted on one machine at once. */
export const REQUESTERS_MAX = 50_000;
