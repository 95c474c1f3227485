/**
 * The errors of the distribution API: one table from code to status and message, and the one class that is thrown.
 * Everything else that is thrown anywhere is a bug, and is answered as a bare 500.
 */

/** Code -> HTTP status and default message. Distribution spec, "Error Codes"; * marks codes that `distribution` added. */
export const ERRORS = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to this repository' },
  BLOB_UPLOAD_INVALID: { status: 416, message: 'the chunk does not begin where the upload stands' },
  BLOB_UPLOAD_UNKNOWN: {
    status: 404,
    message: 'no such upload: it was never started, has ended or has expired',
  },
  CONFLICT: { status: 409, message: 'there is one of this name already' }, // of the management API
  DENIED: { status: 403, message: 'access to this is denied' },
  DIGEST_INVALID: { status: 400, message: 'the digest is malformed, or is not that of the content' },
  INPUT_INVALID: { status: 400, message: 'the request is not valid' }, // of the management API
  MANIFEST_BLOB_UNKNOWN: {
    status: 400,
    message: 'the manifest references content that this repository lacks',
  },
  MANIFEST_INVALID: { status: 400, message: 'the manifest is not valid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to this repository' },
  NAME_INVALID: { status: 400, message: 'the repository name is not valid' },
  NAME_UNKNOWN: { status: 404, message: 'no repository of this name' },
  NOT_FOUND: { status: 404, message: 'nothing of this name' }, // of the management API
  PAGINATION_NUMBER_INVALID: { status: 400, message: 'n must be a whole number that is not negative' }, // *
  RANGE_INVALID: { status: 416, message: 'the range lies outside the content' }, // *
  SIZE_INVALID: { status: 400, message: 'the length announced is not the length sent' },
  TAG_INVALID: { status: 400, message: 'the tag is not valid' }, // *
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  UNAVAILABLE: { status: 503, message: 'a part of the registry did not answer: try again' }, // *
  UNKNOWN: { status: 500, message: 'an unexpected fault of the registry' }, // *
  UNSUPPORTED: { status: 405, message: 'this operation is not supported' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  /** What was wrong with this request, for a person. */
  message?: string;
  /** Facts for a program: plain JSON. */
  detail?: unknown;
  /** Where the usual status of the code does not fit (413 for a manifest past the limit). */
  status?: number;
  headers?: Record<string, string>;
}

/** Name of the error of a Durable Object whose tables a newer release wrote. Over RPC an error loses its class, but not its name. */
export const TABLES_TOO_NEW = 'TablesTooNew';

/** An error that the client is told of, in the shape of the specification ("Error Codes"). */
export class OciError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: unknown;
  readonly headers: Record<string, string>;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(options.message ?? ERRORS[code].message);
    this.name = 'OciError';
    this.code = code;
    this.status = options.status ?? ERRORS[code].status;
    this.detail = options.detail;
    this.headers = options.headers ?? {};
  }

  /** `{"errors":[{"code","message","detail"?}]}` */
  body(): string {
    const detail = this.detail === undefined ? {} : { detail: this.detail };
    return JSON.stringify({ errors: [{ code: this.code, message: this.message, ...detail }] });
  }
}
