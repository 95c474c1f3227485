// A reason why the registry cannot start that the person who started it can do something about:
// its message is all that they see, so it says what is wrong and what to change.
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}

/** Node's code of a failed system call, such as EACCES, or undefined for any other error. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
