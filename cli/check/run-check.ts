// Runs a check: reads all records, compares them, and lets the registry look again at what does not fit. It can be stopped anywhere.
import { setTimeout as wait } from 'node:timers/promises';
import { type Client, RefusedRequest } from '../client.ts';
import { CommandFailure } from '../failure.ts';
import { Comparison, type Finding, type Leftover } from './comparison.ts';

export interface CheckOptions {
  repair: boolean;
  /** Calls that one request may make. */
  calls: number;
}

export interface Result {
  kind: Finding['kind'] | 'leftover' | 'multipart';
  /** The repository, manifest, digest, storage key and id that it is about, as it has them. */
  about: Record<string, string | number>;
  state: 'found' | 'repaired' | 'lost';
  advice: string;
}

export interface CheckReport {
  counts: Comparison['counts'];
  results: Result[];
}

type LeftoversAsked = { token: string } | { leftovers: Leftover[] };

/** As many as the registry takes in one request. */
const AT_A_TIME = 100;
const TRIES = 4;
const RETRY_MS = 1000;

export async function runCheck(client: Client, options: CheckOptions): Promise<CheckReport> {
  const comparison = new Comparison();
  for (let after: string | null = null; ; ) {
    const { records, next } = await readPage(client, after, options);
    for (const record of records) comparison.add(record);
    if (next === null) break;
    if (next === after) throw new CommandFailure('The registry does not go on with the check: try again.');
    after = next;
  }
  const { findings, leftovers } = comparison.end();
  const results = [
    ...(await examineAll(client, findings, options)),
    ...(await examineLeftovers(client, leftovers, options)),
  ];
  return { counts: comparison.counts, results };
}

async function readPage(client: Client, after: string | null, { calls }: CheckOptions) {
  const query = { calls: String(calls), ...(after === null ? {} : { after }) };
  const { data } = await retried(() => client.GET('/check/records', { params: { path: {}, query } }));
  return data ?? incomplete();
}

async function examineAll(
  client: Client,
  findings: Finding[],
  { repair, calls }: CheckOptions,
): Promise<Result[]> {
  const all: Result[] = [];
  for (let at = 0; at < findings.length; ) {
    const some = findings.slice(at, at + AT_A_TIME);
    const body = { findings: some, repair, calls };
    const { data } = await retried(() => client.POST('/check/findings', { params: { path: {} }, body }));
    const results = data?.results ?? [];
    if (results.length === 0 || results.length > some.length) return incomplete();
    for (const [index, { state, advice }] of results.entries()) {
      const { kind, ...about } = some[index] as Finding;
      if (state !== 'gone') all.push({ kind, about, state, advice });
    }
    at += results.length;
  }
  return all;
}

async function examineLeftovers(
  client: Client,
  leftovers: Leftover[],
  { repair, calls }: CheckOptions,
): Promise<Result[]> {
  const all: Result[] = [];
  for (let at = 0; at < leftovers.length; at += AT_A_TIME) {
    let what: LeftoversAsked | null = { leftovers: leftovers.slice(at, at + AT_A_TIME) };
    while (what !== null) {
      const step = await askLeftovers(client, { ...what, repair, calls });
      all.push(...step.leftovers.map((leftover) => resultOf(leftover, repair)));
      what = step.token === null ? null : { token: step.token };
    }
  }
  return all;
}

async function askLeftovers(client: Client, body: LeftoversAsked & CheckOptions) {
  const { data } = await retried(() => client.POST('/check/leftovers', { params: { path: {} }, body }));
  return data ?? incomplete();
}

function resultOf({ id, uploadId }: Leftover, repair: boolean): Result {
  const state = repair ? 'repaired' : 'found';
  const what = uploadId === null ? 'Nothing knows it' : 'No upload knows it';
  const advice = repair ? `${what}, so it was deleted.` : `${what}. Repairing deletes it.`;
  return uploadId === null
    ? { kind: 'leftover', about: { key: `blobs/${id}` }, state, advice }
    : { kind: 'multipart', about: { key: `blobs/${id}`, uploadId }, state, advice };
}

/** Every request of a check can be repeated. A long one is not given up for one that fails. */
async function retried<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (attempt === TRIES || error instanceof RefusedRequest) throw error;
      await wait(RETRY_MS * 2 ** (attempt - 1));
    }
  }
}

function incomplete(): never {
  throw new CommandFailure('The answer of the registry is not complete.');
}
