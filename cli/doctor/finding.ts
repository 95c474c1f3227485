// What a check has found.

export interface Finding {
  check: string;
  /** `note`: nothing is wrong, and something may be better. */
  state: 'ok' | 'note' | 'wrong';
  result: string;
  /** What to do; empty if there is nothing. */
  advice: string;
}

export function ok(check: string, result: string): Finding {
  return { check, state: 'ok', result, advice: '' };
}

export function note(check: string, result: string, advice: string): Finding {
  return { check, state: 'note', result, advice };
}

export function wrong(check: string, result: string, advice: string): Finding {
  return { check, state: 'wrong', result, advice };
}

/** The first line of an error. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}
