// An error at the start that the user can correct. Only its message is printed, so the message says what is wrong and what to
// change.
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}

/** The code of a failed system call, such as EACCES. Undefined for other errors. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
