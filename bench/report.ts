// The results, as a table for people and as JSON for programs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, totalmem } from 'node:os';
import { dirname } from 'node:path';
import type { HomeName } from './homes.ts';
import type { Unit } from './row.ts';

export interface Result {
  readonly home: HomeName;
  readonly row: string;
  readonly unit: Unit;
  readonly measured: readonly Measured[];
}

export interface Measured {
  readonly target: string;
  /** Every round, in order. */
  readonly rounds: readonly number[];
  /** Why there are no rounds, or no further ones. */
  readonly error?: string;
  /** Resident memory at the end of the row. */
  readonly memoryBytes?: number;
}

/** Width of the column of names, in characters. */
const ROW_WIDTH = 34;

const HOME_TITLES: Record<HomeName, string> = {
  machine: 'One machine: workerd, blobs in a folder',
  r2: "Cloudflare's bindings, simulated: Miniflare's R2 and Durable Objects",
};

/** The best round, because other work on the machine can only make a round slower. */
export function best({ rounds }: Measured): number | null {
  return rounds.length === 0 ? null : Math.max(...rounds);
}

export function titleOf(home: HomeName, targets: readonly string[]): string {
  const others = targets.slice(1).map((target) => `${target.padStart(14)} ratio`);
  return `\n${HOME_TITLES[home]}\n${['row'.padEnd(ROW_WIDTH), 'unit'.padEnd(10), 'longshore'.padStart(10), ...others, 'MB'.padStart(5)].join('  ')}`;
}

/** One line of the table, with the ratio of Longshore to each other target. */
export function lineOf({ row, unit, measured }: Result): string {
  const [own, ...others] = measured;
  const ours = own === undefined ? null : best(own);
  const cells = others.map((other) => {
    const theirs = best(other);
    const ratio = ours === null || theirs === null ? '–' : (ours / theirs).toFixed(2);
    return `${figure(theirs).padStart(14)} ${ratio.padStart(5)}`;
  });
  const memory = own?.memoryBytes === undefined ? '–' : String(Math.round(own.memoryBytes / 1e6));
  const line = [
    row.padEnd(ROW_WIDTH),
    unit.padEnd(10),
    figure(ours).padStart(10),
    ...cells,
    memory.padStart(5),
  ].join('  ');
  const errors = measured.filter(({ error }) => error !== undefined);
  return [line, ...errors.map(({ target, error }) => `  ! ${target}: ${error}`)].join('\n');
}

/** Writes the results, with the versions and the machine that they belong to. */
export function writeResults(path: string, results: readonly Result[], seconds: number): void {
  const machine = {
    platform: platform(),
    arch: arch(),
    cpus: cpus().map(({ model }) => model),
    memory: totalmem(),
  };
  mkdirSync(dirname(path), { recursive: true });
  const content = {
    at: new Date().toISOString(),
    seconds: Math.round(seconds),
    machine,
    node: process.version,
    results,
  };
  writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`);
}

function figure(value: number | null): string {
  if (value === null) return 'failed';
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1);
}
