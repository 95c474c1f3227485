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
  UNKNOWN: { status: 500, message: 'an unexpected error of the registry' }, // *
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

/**
 * What a client can do about each code, in one or two sentences. `docs/errors.md` says more.
 */
const HELP: Record<ErrorCode, string> = {
  BLOB_UNKNOWN: 'Push the image again. To pull it, check the repository name and the digest.',
  BLOB_UPLOAD_INVALID: 'Ask for the offset with GET on the upload, and send the next chunk from there.',
  BLOB_UPLOAD_UNKNOWN: 'Start the upload again. An upload lives for a day.',
  CONFLICT: 'Choose another name, or change the one that exists.',
  DENIED:
    'A policy, a limit on tags or an expired URL forbids this. Ask an admin, or ask for the blob again.',
  DIGEST_INVALID:
    'Send the content again. Its digest is "sha256:" or "sha512:" and lowercase hexadecimal digits.',
  INPUT_INVALID: 'Correct the fields that the message names. /api/v1/openapi.json describes them.',
  MANIFEST_BLOB_UNKNOWN: 'Push the missing layers, configs or manifests first, to the same repository.',
  MANIFEST_INVALID: 'Correct the manifest or its Content-Type. Docker schema 1 is not supported.',
  MANIFEST_UNKNOWN: 'Check the tag or the digest. It may have been deleted.',
  NAME_INVALID:
    'Use lowercase letters and digits, with ".", "_", "-" and "/" between them. With 421, set PUBLIC_URL.',
  NAME_UNKNOWN: 'Check the repository name. A repository exists from its first push.',
  NOT_FOUND: 'Check the name or the id. /api/v1/openapi.json lists the paths.',
  PAGINATION_NUMBER_INVALID: 'Send n as a whole number from 0.',
  RANGE_INVALID: 'Ask for a range inside the content, or for all of it.',
  SIZE_INVALID: 'Send as many bytes as announced. With 413 the content is over a limit.',
  TAG_INVALID: 'Use letters, digits, "_", "." and "-": at most 128, and not "." or "-" first.',
  TOOMANYREQUESTS: 'Wait for the time in Retry-After, then try again.',
  UNAUTHORIZED: 'Log in again, or ask an admin for the access that the message names.',
  UNAVAILABLE: 'Try again after the time in Retry-After. If it stays, tell the operator the message.',
  UNKNOWN: 'This is a bug. Tell the operator the requestId: the log has the rest.',
  UNSUPPORTED:
    'The header Allow names the methods. A blob that a manifest references is deleted after the manifest.',
};

/** Where the registry serves `helpPage`, and the page with more of it in this repository. */
export const HELP_PATH = '/docs/errors.md';

/** `Link` of every error (RFC 8288). Errors to HEAD have it too, and no client mistakes it for content. */
export function helpLink(code: ErrorCode): string {
  return `<${HELP_PATH}#${code.toLowerCase()}>; rel="help"`;
}

/** Every code with its status, its meaning and what to do, as Markdown. */
export function helpPage(): string {
  const sections = Object.entries(ERRORS).map(
    ([code, { status, message }]) => `## ${code}\n\n${status}: ${message}. ${HELP[code as ErrorCode]}\n`,
  );
  return `# Errors of the registry\n\n${sections.join('\n')}`;
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
    this.headers = { Link: helpLink(code), ...options.headers };
  }

  /** `{"errors":[{"code","message","detail"?}]}` */
  body(): string {
    const detail = this.detail === undefined ? {} : { detail: this.detail };
    return JSON.stringify({ errors: [{ code: this.code, message: this.message, ...detail }] });
  }
}

/** The rest of such a body is not read, because that would take the memory that it is refused. */
export class TooManyBodies extends OciError {
  constructor() {
    super('UNAVAILABLE', {
      message: 'too many uploads are running at once: finish some of them, or try again in a few seconds',
      headers: { 'Retry-After': '5' },
    });
  }
}
