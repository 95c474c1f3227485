/** What happened in a run: requests by kind and status, violations, and connections that were lost without being cut. */

const VIOLATIONS_SHOWN = 20;

export class Report {
  readonly seed: number;
  /** Kind of request -> status (0: no answer) -> how many. */
  readonly requests = new Map<string, Map<number, number>>();
  readonly violations: string[] = [];
  operations = 0;
  /** Connections that we cut. */
  cut = 0;
  bytesPushed = 0;
  bytesPulled = 0;
  readonly #log: (line: string) => void;

  constructor(seed: number, log: (line: string) => void) {
    this.seed = seed;
    this.#log = log;
  }

  count(kind: string, status: number): void {
    const statuses = this.requests.get(kind) ?? new Map<number, number>();
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    this.requests.set(kind, statuses);
  }

  violation(what: string, trail: string[]): void {
    this.violations.push(what);
    if (this.violations.length <= VIOLATIONS_SHOWN) {
      this.#log(`VIOLATION ${what}\n${trail.map((line) => `    ${line}`).join('\n')}`);
    }
  }

  say(line: string): void {
    this.#log(line);
  }

  /** Requests by kind and status, one kind a line. */
  table(): string {
    const rows = [...this.requests].sort(([one], [other]) => (one < other ? -1 : 1));
    return rows
      .map(([kind, statuses]) => {
        const counts = [...statuses].sort(([one], [other]) => one - other);
        return `  ${kind.padEnd(28)} ${counts.map(([status, count]) => `${status || 'lost'}: ${count}`).join('  ')}`;
      })
      .join('\n');
  }

  total(status: number): number {
    let total = 0;
    for (const statuses of this.requests.values()) total += statuses.get(status) ?? 0;
    return total;
  }
}
