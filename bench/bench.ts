// `npm run bench`: measures the registry in both homes, the floor, and other registries. Targets take turns in short rounds,
// so that other work on the machine affects all of them. The best round counts.
import { join } from 'node:path';
import { type HomeName, peer, startTarget, type Target } from './homes.ts';
import { type Options, readOptions } from './options.ts';
import { benchPushes } from './push-rows.ts';
import { lineOf, type Measured, type Result, titleOf, writeResults } from './report.ts';
import type { Group, Place, Row } from './row.ts';
import { rows } from './rows.ts';

const RESULTS = join(import.meta.dirname, '../results/bench.json');

const options = readOptions(process.argv.slice(2), process.env);
const isWhole = options === null || (await (options.push ? benchPushes(options) : bench(options)));
if (!isWhole) process.exitCode = 1;

/** False if something could not be measured. */
async function bench(options: Options): Promise<boolean> {
  const start = performance.now();
  const results: Result[] = [];
  console.log(`The best of ${options.rounds} rounds; MB is workerd's resident memory at the end of the row.`);
  for (const home of options.homes) results.push(...(await measureHome(home, options)));
  const seconds = (performance.now() - start) / 1000;
  writeResults(RESULTS, results, seconds);
  console.log(`\n${Math.round(seconds)} s; every round is in results/bench.json.`);
  return results.every(({ measured }) => measured.every(({ error }) => error === undefined));
}

async function measureHome(home: HomeName, options: Options): Promise<Result[]> {
  const peers = home === 'machine' ? options.peers : [];
  let title = '';
  const wanted = rows(options.scale).filter(({ name }) => options.only.test(name));
  const results: Result[] = [];
  for (const [group, members] of Map.groupBy(wanted, (row) => row.group)) {
    const targets = await startTargets(home, group, peers);
    try {
      const own = titleOf(
        home,
        targets.map(({ name }) => name),
      );
      if (own !== title) console.log(own);
      title = own;
      for (const result of await measureGroup(home, group, members, targets, options)) results.push(result);
    } finally {
      for (const target of targets) await target.stop();
    }
  }
  return results;
}

async function startTargets(home: HomeName, group: Group, peers: Options['peers']): Promise<Target[]> {
  const targets = [
    await startTarget(home, group.besideGuarded === undefined ? 'longshore' : 'guarded', group.delivery),
  ];
  for (const kind of group.besideGuarded ?? ['floor' as const]) targets.push(await startTarget(home, kind));
  if (group.besideGuarded !== undefined) return targets;
  return [...targets, ...peers.map(({ name, url }) => peer(name, url))];
}

async function measureGroup(
  home: HomeName,
  group: Group,
  members: readonly Row[],
  targets: readonly Target[],
  options: Options,
): Promise<Result[]> {
  const places: (Place | Error)[] = [];
  for (const target of targets) places.push(await group.prepare(target).catch(asError));
  const results: Result[] = [];
  for (const row of members) {
    const measured = await measureRow(row, targets, places, options);
    const result = { home, row: row.name, unit: row.unit, measured };
    console.log(lineOf(result));
    results.push(result);
  }
  return results;
}

async function measureRow(
  row: Row,
  targets: readonly Target[],
  places: readonly (Place | Error)[],
  { rounds, rowBudgetMs }: Options,
): Promise<Measured[]> {
  const turns = targets.map((target, at) => ({
    target,
    place: places[at],
    rounds: [] as number[],
    error: '',
  }));
  const end = performance.now() + rowBudgetMs;
  for (let round = 0; round < rounds && (round === 0 || performance.now() < end); round++) {
    // Every round begins with another target, so that no target always runs after the same one.
    for (let turn = 0; turn < turns.length; turn++) {
      const one = turns[(round + turn) % turns.length];
      if (one === undefined || one.error !== '') continue;
      const value =
        one.place === undefined || one.place instanceof Error
          ? one.place
          : await row.measure(one.place).catch(asError);
      if (typeof value === 'number') one.rounds.push(value);
      else one.error = value?.message ?? 'not prepared';
    }
  }
  return turns.map(({ target, rounds, error }) => {
    const memoryBytes = target.memoryBytes();
    return {
      target: target.name,
      rounds: rounds.map((value) => Math.round(value * 10) / 10),
      ...(error === '' ? {} : { error }),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
    };
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
