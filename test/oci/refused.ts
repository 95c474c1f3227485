/** How the tests of the parsers say that something is refused: as an `OciError` of a code, never as anything else. */
import assert from 'node:assert/strict';
import { type ErrorCode, OciError } from '../../worker/oci/errors.ts';

/** The code that this is refused with; null where it is taken. Anything thrown but an `OciError` is thrown on. */
export function codeOf(parse: () => unknown): ErrorCode | null {
  try {
    parse();
    return null;
  } catch (fault) {
    if (fault instanceof OciError) return fault.code;
    throw fault;
  }
}

export function assertRefused(parse: () => unknown, code: ErrorCode, what: string): void {
  assert.equal(codeOf(parse), code, what);
}
