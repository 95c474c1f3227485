/**
 * The layer that tests put under the registry: it counts every call to a binding, lets a test make any one of them fail or
 * hang, and enforces the limits of production where the local runtimes are laxer.
 */
import type { Env } from '../../worker/env.ts';

const MiB = 1024 * 1024;

/** What went to the bindings since the last reset. */
export interface Counts {
  durableObjects: number;
  classA: number;
  classB: number;
  deletes: number;
  disk: number;
  /** The calls by name, in order. */
  calls: string[];
}

/** What befalls the call of a number (counted from 0 at the last reset). */
export interface Fault {
  at: number;
  /** `before`: it is not made; `after`: it is made, and its answer lost; `hang`: it is made, and its answer never comes. */
  how: 'before' | 'after' | 'hang';
}

const fresh = (): Counts => ({ durableObjects: 0, classA: 0, classB: 0, deletes: 0, disk: 0, calls: [] });

export const observation = {
  counts: fresh(),
  fault: null as Fault | null,
  /** Resolved when the fault has befallen a call. */
  reached: Promise.withResolvers<string>(),
  /** Limits of production that were passed. */
  violations: [] as string[],
  subrequests: 0,
  reset(fault: Fault | null): void {
    this.counts = fresh();
    this.fault = fault;
    this.reached = Promise.withResolvers<string>();
    this.subrequests = 0;
  },
};

/** The same bindings, observed. */
export function observed(env: Env): Env {
  const seen: Env = { ...env };
  for (const name of ['REPOSITORY', 'UPLOAD_SESSION', 'BLOB_SHARD', 'CATALOG', 'ACCOUNTS'] as const) {
    seen[name] = observedNamespace(name, env[name] as DurableObjectNamespace) as never;
  }
  if (env.BLOBS !== undefined) seen.BLOBS = observedBucket(env.BLOBS);
  if (env.DISK !== undefined) seen.DISK = observedDisk(env.DISK);
  return seen;
}

function observedNamespace(binding: string, namespace: DurableObjectNamespace): DurableObjectNamespace {
  return wrap(namespace, (method, original) =>
    method !== 'getByName' ? original : (name: string) => observedStub(binding, name, namespace.getByName(name)),
  );
}

function observedStub(binding: string, name: string, stub: DurableObjectStub): DurableObjectStub {
  return new Proxy(stub, {
    get(target, method) {
      if (typeof method !== 'string' || method === 'then') return Reflect.get(target, method);
      return (...args: unknown[]) =>
        step(`${binding}.${method}`, 'durableObjects', () => {
          checkArguments(`${binding}(${name}).${method}`, args);
          return (target as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[method]?.(...args);
        });
    },
  });
}

/** R2's classes of operations; deleting and aborting are free. Cloudflare docs, "R2 pricing". */
const CLASSES: Record<string, keyof Counts> = {
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
      return async (key: string) => observedMultipart((await step(`R2.${method}`, 'classA', () => original(key))) as never);
    }
    return (...args: unknown[]) => {
      if (method === 'put') checkWrite(String(args[0]));
      if (method === 'delete' && Array.isArray(args[0]) && args[0].length > 1000) {
        violation(`a delete of ${args[0].length} keys`);
      }
      return step(`R2.${method}`, CLASSES[method] ?? 'classB', () => original(...args));
    };
  });
}

/** The sizes of the parts of each multipart upload, which R2 checks only when it is completed. */
const partSizes = new Map<string, Map<number, number>>();

function observedMultipart(upload: R2MultipartUpload): R2MultipartUpload {
  return wrap(upload, (method, original) => (...args: unknown[]) => {
    if (method === 'uploadPart') {
      const [number, bytes] = args as [number, Uint8Array];
      const sizes = partSizes.get(upload.uploadId) ?? new Map<number, number>();
      partSizes.set(upload.uploadId, sizes.set(number, bytes.length));
      if (number > 10_000) violation(`part number ${number}`);
    }
    if (method === 'complete') {
      const parts = (args[0] as R2UploadedPart[]).map((part) => partSizes.get(upload.uploadId)?.get(part.partNumber) ?? 0);
      checkParts(parts);
      checkWrite(upload.key);
    }
    return step(`R2.${method}`, CLASSES[method] ?? 'classA', () => original(...args));
  });
}

function observedDisk(disk: Fetcher): Fetcher {
  return wrap(disk, (_method, original) => (...args: unknown[]) => {
    const method = (args[1] as RequestInit | undefined)?.method ?? 'GET';
    return step(`disk.${method}`, 'disk', () => original(...args));
  });
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

/** Strings and bytes that an object keeps go into rows: none of them may pass 2 MB unless it is cut first. */
function checkArguments(call: string, args: unknown[]): void {
  const bytes = args.reduce<number>((sum, arg) => sum + sizeOf(arg), 0);
  if (bytes > 32 * MiB) violation(`${bytes} bytes of arguments to ${call}`);
}

function sizeOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.length;
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  return Object.values(value).reduce<number>((sum, field) => sum + sizeOf(field), 0);
}

/** The same storage, whose SQL refuses what production refuses: strings and blobs over 2 MB, over 100 parameters. */
export function observedState(ctx: DurableObjectState): DurableObjectState {
  const { sql } = ctx.storage;
  const exec = sql.exec.bind(sql);
  sql.exec = ((query: string, ...values: unknown[]) => {
    for (const value of values) {
      const size = value instanceof ArrayBuffer ? value.byteLength : typeof value === 'string' ? value.length : 0;
      if (size > 2_000_000) violation(`a value of ${size} bytes in: ${query.slice(0, 60)}`);
    }
    if (values.length > 100) violation(`${values.length} parameters in: ${query.slice(0, 60)}`);
    return exec(query, ...(values as SqlStorageValue[]));
  }) as typeof sql.exec;
  return ctx;
}

function violation(what: string): never {
  observation.violations.push(what);
  throw new Error(`production would refuse this: ${what}`);
}

async function step<T>(call: string, count: keyof Counts, make: () => T | Promise<T>): Promise<T> {
  const { counts, fault } = observation;
  const number = counts.calls.push(call) - 1;
  (counts[count] as number)++;
  if (++observation.subrequests > 1000) violation('more than 1,000 subrequests since the count began');
  if (fault === null || fault.at !== number) return make();
  if (fault.how === 'before') {
    observation.reached.resolve(call);
    throw new Error(`a test made ${call} fail`);
  }
  const answer = await make();
  observation.reached.resolve(call);
  if (fault.how === 'hang') await new Promise(() => undefined);
  if (answer instanceof Response) await answer.body?.cancel();
  throw new Error(`a test lost the answer of ${call}`);
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
