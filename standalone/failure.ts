// An error at the start that the user can correct. Only its message is printed, so the message says what is wrong and what to
// change. Wrong settings are one failure with a problem for each of them.
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
  readonly problems: readonly string[];

  constructor(...problems: string[]) {
    super(problems.length === 1 ? problems[0] : listed(problems));
    this.problems = problems;
  }
}

function listed(problems: string[]): string {
  const items = problems.map((problem) => `- ${problem.replaceAll('\n', '\n  ')}`);
  return `${problems.length} settings are wrong:\n${items.join('\n')}`;
}

/** Adds the problems of a StartFailure to a list. Returns null if there is one, else what `check` returns. */
export async function collect<T>(problems: string[], check: () => T | Promise<T>): Promise<T | null> {
  try {
    return await check();
  } catch (error) {
    if (!(error instanceof StartFailure)) throw error;
    problems.push(...error.problems);
    return null;
  }
}

/** The code of a failed system call, such as EACCES. Undefined for other errors. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
