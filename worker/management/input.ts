/** Reads the input of a request: the body within its limit, parsed by the schema of the operation. */
import type * as z from 'zod/mini';
import en from 'zod/v4/locales/en.js';
import { OciError } from '../oci/errors.ts';
import { readAtMost } from '../oci/read-body.ts';

/** The management API: the key set of an issuer is the longest thing in a body. */
export const MANAGEMENT_BODY_MAX_BYTES = 64 * 1024;

const { localeError } = en();

/**
 * Parses a value by a schema. Throws INPUT_INVALID, which names the fields and what is wrong with each. It quotes no
 * values, which may be secret.
 */
export function parsed(schema: z.ZodMiniType, value: unknown): unknown {
  const result = schema.safeParse(value, { error: localeError });
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => ({ field: path.join('.'), message }));
  throw new OciError('INPUT_INVALID', {
    message: problems
      .map(({ field, message }) => (field === '' ? message : `${field}: ${message}`))
      .join('; '),
    detail: problems,
  });
}

/**
 * The JSON of a request. Other media types are refused, because a page of another site can make a browser send them
 * with the credentials that it remembers.
 *
 * Throws UNSUPPORTED (415), SIZE_INVALID (413), INPUT_INVALID.
 */
export async function jsonOf(request: Request): Promise<unknown> {
  const type = request.headers.get('Content-Type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new OciError('UNSUPPORTED', {
      message: 'the Content-Type must be application/json',
      status: 415,
    });
  }
  const text = await textOf(request);
  try {
    return JSON.parse(text);
  } catch {
    throw new OciError('INPUT_INVALID', { message: 'the body is not JSON' });
  }
}

async function textOf({ headers, body }: Request): Promise<string> {
  if (Number(headers.get('Content-Length') ?? 0) > MANAGEMENT_BODY_MAX_BYTES) throw tooLarge();
  const bytes = await readAtMost(body, MANAGEMENT_BODY_MAX_BYTES);
  if (bytes === null) throw tooLarge();
  return new TextDecoder().decode(bytes);
}

function tooLarge(): OciError {
  return new OciError('SIZE_INVALID', {
    message: `a body has at most ${MANAGEMENT_BODY_MAX_BYTES} bytes`,
    status: 413,
  });
}
