/**
 * The layer that tests put under the registry: it counts every call to a binding, lets a test make any one of them fail or
 * hang, and enforces the limits of production where the local runtimes are laxer.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Env } from '../../worker/env.ts';
import { countRows, fresh, RowMeter } from './counts.ts';
import { sizeOf } from './sizes.ts';

const MiB = 1024 * 1024;
const SUBREQUESTS_MAX = 1000;
const RPC_MAX_BYTES = 32 * MiB;
const ROW_MAX_BYTES = 2_000_000;
const PARAMETERS_MAX = 100;

/** What befalls one call: the one of a number, counted from 0 at the last reset, or the first of a name. */
export interface Fault {
  at: number | string;
  /**
   * `before`: it is not made; `after`: it is made, and its answer lost; `hang`: it is made, and its answer never comes;
   * `wait`: it is made, and its answer comes when the test says so.
   */
  how: 'before' | 'after' | 'hang' | 'wait';
}

export const observation = {
  counts: fresh(),
  fault: null as Fault | null,
  /** Set when a call that waits is to go on. */
  goesOn: false,
  /** The call that the fault befell. */
  reached: null as string | null,
  /** A key of the store that cannot be deleted. */
  undeletable: null as string | null,
  /** Limits of production that were passed. */
  violations: [] as string[],
  /** The most that one invocation has made. */
  subrequests: 0,
  /** Calls, and work of Durable Objects after their answers, that have not ended. */
  underWay: 0,
  /** The keys of the multipart uploads that were neither completed nor aborted, by id. */
  multiparts: new Map<string, string>(),
  reset(fault: Fault | null): void {
    this.counts = fresh();
    this.fault = fault;
    this.reached = null;
    this.goesOn = false;
    this.undeletable = null;
    this.subrequests = 0;
    outside.subrequests = 0;
  },
};

const invocations = new AsyncLocalStorage<{ subrequests: number }>();
const outside = { subrequests: 0 };

/** Runs one invocation of the Worker or of a Durable Object: production counts the subrequests of each apart. */
export function invocation<T>(run: () => T): T {
  return invocations.run({ subrequests: 0 }, run);
}

const meters = new WeakMap<DurableObjectState, RowMeter>();

/** Runs a method of an object that was called, or its alarm. */
export function observedCall<T>(ctx: DurableObjectState, run: () => T): T {
  meters.get(ctx)?.called();
  return invocation(run);
}

export async function observedAlarm(ctx: DurableObjectState, run: () => Promise<void>): Promise<void> {
  const meter = meters.get(ctx);
  if (meter !== undefined) meter.isRinging = true;
  await invocation(run).finally(() => {
    if (meter !== undefined) meter.isRinging = false;
  });
}

/** The same bindings, observed. */
export function observed(env: Env): Env {
  const seen: Env = { ...env };
  for (const name of [
    'REPOSITORY',
    'UPLOAD_SESSION',
    'BLOB_SHARD',
    'CATALOG',
    'ACCOUNTS',
    'AUDIT',
  ] as const) {
    seen[name] = observedNamespace(name, env[name] as DurableObjectNamespace) as never;
  }
  if (env.BLOBS !== undefined) seen.BLOBS = observedBucket(env.BLOBS);
  if (env.DISK !== undefined) seen.DISK = observedDisk(env.DISK, 'disk');
  if (env.SYNC !== undefined) seen.SYNC = observedDisk(env.SYNC, 'sync');
  return seen;
}

function observedNamespace(binding: string, namespace: DurableObjectNamespace): DurableObjectNamespace {
  return wrap(namespace, (method, original) =>
    method !== 'getByName'
      ? original
      : (name: string) => observedStub(binding, name, namespace.getByName(name)),
  );
}

function observedStub(binding: string, name: string, stub: DurableObjectStub): DurableObjectStub {
  return new Proxy(stub, {
    get(target, method) {
      if (typeof method !== 'string' || method === 'then') return Reflect.get(target, method);
      return (...args: unknown[]) =>
        step(`${binding}.${method}`, 'durableObjects', async () => {
          checkMessage(`arguments to ${binding}(${name}).${method}`, args);
          const methods = target as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
          const answer = await methods[method]?.(...args);
          checkMessage(`answer of ${binding}(${name}).${method}`, [answer]);
          return answer;
        });
    },
  });
}

/** R2's classes of operations; deleting and aborting are free. Cloudflare docs, "R2 pricing". */
const CLASSES: Record<string, Counted> = {
  put: 'classA',
  list: 'classA',
  createMultipartUpload: 'classA',
  uploadPart: 'classA',
  complete: 'classA',
  get: 'classB',
  head: 'classB',
  delete: 'deletes',
  abort: 'deletes',
};

const lastWrites = new Map<string, number>();

function observedBucket(bucket: R2Bucket): R2Bucket {
  return wrap(bucket, (method, original) => {
    if (method === 'resumeMultipartUpload') {
      return (key: string, id: string) => observedMultipart(bucket.resumeMultipartUpload(key, id));
    }
    if (method === 'createMultipartUpload') {
      return async (key: string, options?: R2MultipartOptions) =>
        observedMultipart(
          (await step(`R2.${method}`, 'classA', () => create(bucket, key, options))) as never,
        );
    }
    return (...args: unknown[]) => {
      if (method === 'delete' && Array.isArray(args[0]) && args[0].length > 1000) {
        violation(`a delete of ${args[0].length} keys`);
      }
      return step(`R2.${method}`, CLASSES[method] ?? 'classB', () => {
        if (method === 'put') checkWrite(String(args[0]));
        if (method === 'delete') [args[0]].flat().forEach(checkDelete);
        return original(...args);
      });
    };
  });
}

async function create(
  bucket: R2Bucket,
  key: string,
  options?: R2MultipartOptions,
): Promise<R2MultipartUpload> {
  const upload = await bucket.createMultipartUpload(key, options);
  observation.multiparts.set(upload.uploadId, key);
  return upload;
}

/** The sizes of the parts of each multipart upload, which R2 checks only when it is completed. */
const partSizes = new Map<string, Map<number, number>>();
const completed = new Set<string>();

function observedMultipart(upload: R2MultipartUpload): R2MultipartUpload {
  return wrap(upload, (method, original) => (...args: unknown[]) => {
    if (method === 'uploadPart') {
      const [number, bytes] = args as [number, Uint8Array];
      const sizes = partSizes.get(upload.uploadId) ?? new Map<number, number>();
      partSizes.set(upload.uploadId, sizes.set(number, sizeOf(bytes)));
      if (number > 10_000) violation(`part number ${number}`);
    }
    if (method === 'complete') {
      // Of parts from before a restart nothing is known.
      const parts = (args[0] as R2UploadedPart[])
        .map((part) => partSizes.get(upload.uploadId)?.get(part.partNumber))
        .filter((size) => size !== undefined);
      // R2 knows nothing any more of an upload that was completed: to complete it again writes nothing.
      const whole = parts.length === (args[0] as R2UploadedPart[]).length;
      if (whole && !completed.has(upload.uploadId)) checkParts(parts);
    }
    return step(`R2.${method}`, CLASSES[method] ?? 'classA', async () => {
      if (method === 'complete' && !completed.has(upload.uploadId)) checkWrite(upload.key);
      const answer = await original(...args);
      if (method === 'complete') completed.add(upload.uploadId);
      if (method === 'complete' || method === 'abort') observation.multiparts.delete(upload.uploadId);
      return answer;
    });
  });
}

function observedDisk(disk: Fetcher, name: string): Fetcher {
  return wrap(disk, (_method, original) => (...args: unknown[]) => {
    const { method = 'GET', body } = (args[1] as RequestInit | undefined) ?? {};
    const make = () => {
      if (method === 'DELETE') checkDelete(new URL(String(args[0])).pathname.slice(1));
      return original(...args);
    };
    return step(`${name}.${method}`, 'disk', make).catch(async (fault) => {
      // A fetch that fails releases its body, and the writer of the body gets the error.
      if (body instanceof ReadableStream && !body.locked) await body.cancel(fault);
      throw fault;
    });
  });
}

/** Deleted with it is what is below it. */
function checkDelete(key: unknown): void {
  if (`${observation.undeletable}/`.startsWith(`${key}/`)) throw new Error('a test keeps a key');
}

function checkParts(sizes: number[]): void {
  const [first = 0] = sizes;
  const unequal = sizes.slice(0, -1).some((size) => size !== first) || (sizes.at(-1) ?? 0) > first;
  if (unequal) violation(`unequal parts: ${sizes.join(', ')}`);
  if (sizes.length > 1 && first < 5 * MiB) violation(`a part of ${first} bytes that is not the last`);
}

function checkWrite(key: string): void {
  const now = performance.timeOrigin + performance.now();
  const last = lastWrites.get(key);
  if (last !== undefined && now - last < 1000) violation(`two writes of ${key} within a second`);
  lastWrites.set(key, now);
}

/** What crosses to a Durable Object or back is serialized whole. */
function checkMessage(what: string, values: unknown[]): void {
  const bytes = values.reduce<number>((sum, value) => sum + sizeOf(value), 0);
  if (bytes > RPC_MAX_BYTES) violation(`${bytes} bytes of ${what}`);
}

/**
 * The same storage, whose rows are counted for its class, and whose SQL refuses what production refuses: values, and rows of
 * values, over 2 MB, over 100 parameters. Cloudflare docs, "Durable Objects: Limits".
 */
export function observedState(ctx: DurableObjectState, className: string): DurableObjectState {
  const meter = new RowMeter(className, () => observation.counts);
  meters.set(ctx, meter);
  countRows(ctx.storage, meter);
  const later = ctx.waitUntil.bind(ctx);
  Object.defineProperty(ctx, 'waitUntil', { value: (work: Promise<unknown>) => later(underWay(work)) });
  const { sql } = ctx.storage;
  const exec = sql.exec.bind(sql);
  sql.exec = ((query: string, ...values: unknown[]) => {
    const bytes = values.reduce<number>((sum, value) => sum + sizeOf(value), 0);
    if (bytes > ROW_MAX_BYTES) violation(`a row of ${bytes} bytes in: ${query.slice(0, 60)}`);
    if (values.length > PARAMETERS_MAX) violation(`${values.length} parameters in: ${query.slice(0, 60)}`);
    return exec(query, ...(values as SqlStorageValue[]));
  }) as typeof sql.exec;
  return ctx;
}

function violation(what: string): never {
  observation.violations.push(what);
  throw new Error(`production would refuse this: ${what}`);
}

async function underWay<T>(work: Promise<T>): Promise<T> {
  observation.underWay++;
  return work.finally(() => observation.underWay--);
}

type Counted = 'durableObjects' | 'classA' | 'classB' | 'deletes' | 'disk';

function step<T>(call: string, count: Counted, make: () => T | Promise<T>): Promise<T> {
  return underWay(stepped(call, count, make));
}

async function stepped<T>(call: string, count: Counted, make: () => T | Promise<T>): Promise<T> {
  const { counts, fault } = observation;
  const number = counts.calls.push(call) - 1;
  counts[count]++;
  // A machine has no such limit: its disk is not counted.
  if (count !== 'disk') countSubrequest(call);
  if (fault === null || (fault.at !== number && fault.at !== call)) return make();
  observation.fault = null;
  if (fault.how === 'before') {
    observation.reached = call;
    throw new Error(`a test made ${call} fail`);
  }
  const answer = await make();
  observation.reached = call;
  if (fault.how === 'wait') {
    while (!observation.goesOn) await scheduler.wait(1);
    return answer;
  }
  // Not a promise that is never resolved: the runtime would notice, and end the request.
  while (fault.how === 'hang') await scheduler.wait(60_000);
  if (answer instanceof Response) await answer.body?.cancel();
  throw new Error(`a test lost the answer of ${call}`);
}

function countSubrequest(call: string): void {
  const current = invocations.getStore() ?? outside;
  current.subrequests++;
  observation.subrequests = Math.max(observation.subrequests, current.subrequests);
  if (current.subrequests > SUBREQUESTS_MAX)
    violation(`more than 1,000 subrequests of one invocation: ${call}`);
}

type Method = (...args: unknown[]) => unknown;

/** An object whose methods are replaced by what `replace` makes of them. */
function wrap<T extends object>(object: T, replace: (name: string, original: Method) => unknown): T {
  return new Proxy(object, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function' || typeof name !== 'string') return value;
      return replace(name, value.bind(target) as Method);
    },
  });
}
