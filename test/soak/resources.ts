/** What the registry uses while it is soaked: memory, descriptors and files. Linux only: it reads /proc. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

export interface Sample {
  /** Since the run began, in ms. */
  at: number;
  memoryBytes: number;
  descriptors: number;
  /** Files below the state folder, by the first two folders of their path. */
  files: Map<string, number>;
  fileBytes: number;
}

const MiB = 1024 * 1024;

/** The processes that this one has started and that serve the registry. */
export function workerds(): number[] {
  const own = new Set<number>([process.pid]);
  const found: number[] = [];
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((one, other) => one - other);
  for (const pid of processes) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
      if (!own.has(parent)) continue;
      own.add(pid);
      if (/^Name:\s+workerd$/m.test(status)) found.push(pid);
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

export function sample(began: number, stateDir: string): Sample {
  let [memoryBytes, descriptors] = [0, 0];
  for (const pid of workerds()) {
    memoryBytes +=
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
    descriptors += descriptorsOf(pid);
  }
  const files = new Map<string, number>();
  let fileBytes = 0;
  for (const path of filesBelow(stateDir)) {
    const group = relative(stateDir, path).split('/').slice(0, -1).slice(0, 3).join('/');
    files.set(group, (files.get(group) ?? 0) + 1);
    fileBytes += sizeOf(path);
  }
  return { at: performance.now() - began, memoryBytes, descriptors, files: grouped(files), fileBytes };
}

/** Folders of which there are many count as one. */
function grouped(files: Map<string, number>): Map<string, number> {
  const groups = new Map<string, number>();
  for (const [folder, count] of files) {
    const name = folder.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32,}/g, '*').replace(/\/\*$/, '');
    groups.set(name, (groups.get(name) ?? 0) + count);
  }
  return groups;
}

/** But for connections, of which the clients decide. */
function descriptorsOf(pid: number): number {
  let count = 0;
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      if (!readlinkSync(`/proc/${pid}/fd/${name}`).startsWith('socket:')) count++;
    } catch {
      // It was closed meanwhile.
    }
  }
  return count;
}

function filesBelow(folder: string): string[] {
  const paths: string[] = [];
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    try {
      for (const entry of readdirSync(next, { withFileTypes: true })) {
        if (entry.isDirectory()) folders.push(join(next, entry.name));
        else paths.push(join(next, entry.name));
      }
    } catch {
      // It was deleted meanwhile.
    }
  }
  return paths;
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}

/** What may still grow from the third quarter to the last, over the median: noise, and what is under way. */
interface Tolerance {
  share: number;
  plus: number;
}

const MEMORY: Tolerance = { share: 0.1, plus: 24 * MiB };
const DESCRIPTORS: Tolerance = { share: 0.1, plus: 20 };
/** Content comes and goes by graces: its amount swings by more. */
const FILES: Tolerance = { share: 0.2, plus: 60 };

/** What has grown in the second half of a run: the medians of its third and last quarters are compared. */
export function growth(samples: Sample[]): string[] {
  const last = samples.at(-1)?.at ?? 0;
  const quarter = (n: number) =>
    samples.filter(({ at }) => at > (last * n) / 4 && at <= (last * (n + 1)) / 4);
  const [third, fourth] = [quarter(2), quarter(3)];
  const grown: string[] = [];
  const compare = (what: string, of: (one: Sample) => number, { share, plus }: Tolerance, unit: number) => {
    const [before, after] = [median(third.map(of)), median(fourth.map(of))];
    if (after <= before * (1 + share) + plus) return;
    grown.push(
      `${what} grew from ${(before / unit).toFixed(0)} to ${(after / unit).toFixed(0)} in the second half`,
    );
  };
  compare('memory (MiB)', ({ memoryBytes }) => memoryBytes, MEMORY, MiB);
  compare('descriptors', ({ descriptors }) => descriptors, DESCRIPTORS, 1);
  for (const group of new Set(samples.flatMap(({ files }) => [...files.keys()])))
    compare(`files in ${group}`, ({ files }) => files.get(group) ?? 0, FILES, 1);
  return grown;
}

export function shown({ at, memoryBytes, descriptors, files, fileBytes }: Sample): string {
  const groups = [...files].filter(([, count]) => count > 0).map(([group, count]) => `${group} ${count}`);
  return (
    `${(at / 1000).toFixed(0).padStart(4)} s  memory ${(memoryBytes / MiB).toFixed(0)} MiB  descriptors ${descriptors}  ` +
    `files ${[...files.values()].reduce((sum, count) => sum + count, 0)} (${groups.join(', ')})  ` +
    `on disk ${(fileBytes / MiB).toFixed(0)} MiB`
  );
}

function median(values: number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
