/**
 * The registry as the tests run it: the same Worker and Durable Objects over the observed bindings, with requests for the
 * tests beside /v2/. It is built only by them.
 */

import { recordersToFlush } from '../../worker/auth/audit-recorder.ts';
import { slowHashes } from '../../worker/auth/credentials/password.ts';
import { blobStore } from '../../worker/blob-store.ts';
import type { Env } from '../../worker/env.ts';
import * as registry from '../../worker/index.ts';
import { memory } from '../../worker/memory/budget.ts';
import type { DurableObjectBinding as Binding } from '../../worker/objects/classes.ts';
import { platformOf } from '../../worker/platform.ts';
import { answerBucket } from './bucket-requests.ts';
import {
  type Fault,
  invocation,
  observation,
  observed,
  observedAlarm,
  observedCall,
  observedState,
} from './observed.ts';

type Constructor = new (
  ctx: DurableObjectState,
  env: Env,
) => Rpc.DurableObjectBranded & { alarm?(): Promise<void> };

/** A slow hash is 160 ms of processor time, and these tests compute thousands. The cost of production has a test of its own. */
slowHashes.N = 2;

/** A Durable Object on observed bindings that a test can evict, and whose alarm it can ring. */
function tested(Class: unknown): Constructor {
  const Original = Class as Constructor & { prototype: { alarm?: () => Promise<void> } };
  class Tested extends Original {
    readonly #ctx: DurableObjectState;

    constructor(ctx: DurableObjectState, env: Env) {
      super(observedState(ctx, Original.name), observed(env));
      this.#ctx = ctx;
    }

    override async alarm(): Promise<void> {
      await observedAlarm(this.#ctx, async () => super.alarm?.());
    }

    evict(): void {
      this.#ctx.abort('evicted by a test');
    }

    async ring(): Promise<void> {
      await this.alarm?.();
    }

    /** Runs the alarm as the platform would: if it is set and due, and again later if it fails. */
    async ringDue(): Promise<boolean> {
      const { storage } = this.#ctx;
      const at = await storage.getAlarm();
      if (at === null || at > Date.now()) return false;
      await storage.deleteAlarm();
      try {
        await this.alarm?.();
      } catch (fault) {
        await storage.setAlarm(at);
        throw fault;
      }
      return true;
    }

    /** True where nothing at all is stored. */
    async isEmpty(): Promise<boolean> {
      const tables = this.#ctx.storage.sql.exec(
        "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\'",
      );
      return tables.toArray().length === 0;
    }

    rows(query: string): Record<string, SqlStorageValue>[] {
      return this.#ctx.storage.sql.exec(query).toArray();
    }

    alarmAt(): Promise<number | null> {
      return this.#ctx.storage.getAlarm();
    }

    /** As the platform does after six failures. */
    dropAlarm(): Promise<void> {
      return this.#ctx.storage.deleteAlarm();
    }
  }
  // Every call of a method is an invocation of its own.
  for (const [name, { value: method }] of Object.entries(
    Object.getOwnPropertyDescriptors(Original.prototype),
  )) {
    if (name === 'constructor' || name === 'alarm' || typeof method !== 'function') continue;
    Object.defineProperty(Tested.prototype, name, {
      value(this: { ctx: DurableObjectState }, ...args: unknown[]) {
        return observedCall(this.ctx, () => method.apply(this, args));
      },
    });
  }
  return Tested;
}

export const { CachedBlobs } = registry;
export const Accounts = tested(registry.Accounts);
export const AuditLog = tested(registry.AuditLog);
export const BlobShard = tested(registry.BlobShard);
export const Catalog = tested(registry.Catalog);
export const Repository = tested(registry.Repository);
export const UploadSession = tested(registry.UploadSession);

interface TestedObject {
  evict(): Promise<void>;
  ring(): Promise<void>;
  ringDue(): Promise<boolean>;
  isEmpty(): Promise<boolean>;
  rows(query: string): Promise<unknown[]>;
  alarmAt(): Promise<number | null>;
  dropAlarm(): Promise<void>;
}

const DAY_MS = 24 * 3600 * 1000;

const now = Date.now.bind(Date);
const observedEnvs = new WeakMap<Env, Env>();

/** Requests that ended since the last reset, whether or not their client was still there. */
const requests = { ended: 0 };

/** What is being put into the data centre's cache. */
const cachePuts = { underWay: 0 };
const openCache = caches.open.bind(caches);
caches.open = async (name) => {
  const cache = await openCache(name);
  const put = cache.put.bind(cache);
  cache.put = (...args) => {
    cachePuts.underWay++;
    return put(...args).finally(() => cachePuts.underWay--);
  };
  return cache;
};

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    // Of two Host headers there is no URL: what then happens is the registry's to say.
    const url = URL.canParse(request.url) ? new URL(request.url) : null;
    if (url?.pathname.startsWith('/test/')) return answerTest(url, request, env);
    let seen = observedEnvs.get(env);
    if (seen === undefined) {
      seen = observed(env);
      observedEnvs.set(env, seen);
    }
    const bindings = seen;
    const ended = invocation(() => registry.default.fetch(request as never, bindings, ctx)).finally(() => {
      requests.ended++;
    });
    return ended;
  },
};

/** What a test can do beside the API; `test/support/homes.ts` calls it. */
async function answerTest(url: URL, request: Request, env: Env): Promise<Response> {
  const what = url.pathname.slice('/test/'.length);
  if (what === 'reset') {
    observation.reset((await request.json()) as Fault | null);
    requests.ended = 0;
    return Response.json(null);
  }
  if (what === 'counts') return Response.json(observation.counts);
  if (what === 'hashes') return Response.json(slowHashes.computed);
  if (what === 'violations') return Response.json(observation.violations.splice(0));
  if (what === 'reached') {
    await until(() => observation.reached !== null);
    return Response.json(observation.reached);
  }
  if (what === 'undeletable') {
    observation.undeletable = url.searchParams.get('key');
    return Response.json(null);
  }
  if (what === 'go-on') {
    observation.goesOn = true;
    return Response.json(null);
  }
  if (what === 'ended') {
    const count = Number(url.searchParams.get('count'));
    await until(() => requests.ended >= count);
    return Response.json(null);
  }
  if (what === 'cached') {
    await until(() => cachePuts.underWay === 0);
    return Response.json(null);
  }
  if (what === 'settled') {
    // Calls may still be under way that leave events to write.
    do {
      await until(() => observation.underWay === 0);
      for (const audit of recordersToFlush) await audit.flush();
    } while (recordersToFlush.size > 0);
    return Response.json(null);
  }
  if (what === 'memory') {
    return Response.json({ held: memory.leased, peak: memory.takePeak(), cached: memory.cached });
  }
  if (what === 'clock') {
    const ahead = Number(url.searchParams.get('ahead'));
    const at = url.searchParams.get('at');
    Date.now = at === null ? () => now() + ahead : () => Number(at);
    return Response.json(null);
  }
  if (what === 'pass-days') {
    const { days, objects } = (await request.json()) as { days: number; objects: [Binding, string][] };
    for (let day = 1; day <= days; day++) {
      Date.now = () => now() + day * DAY_MS;
      for (const [binding, name] of objects) await objectOf(binding, name, env).ringDue();
    }
    Date.now = now;
    return Response.json(null);
  }
  if (what === 'bucket' && env.BLOBS !== undefined) return answerBucket(url, request, env.BLOBS);
  if (what === 'store') return Response.json(await storedKeys(env));
  if (what === 'multiparts') return Response.json([...observation.multiparts.values()]);
  if (what === 'begin-multipart') {
    const key = url.searchParams.get('key') ?? '';
    const upload = await env.BLOBS?.createMultipartUpload(key);
    if (upload !== undefined) observation.multiparts.set(upload.uploadId, key);
    return Response.json(null);
  }
  if (what === 'complete') return Response.json(await completes(env, (await request.json()) as Draft));
  if (what === 'list') {
    const list = await env.DISK?.fetch(`http://disk/${url.searchParams.get('key')}`);
    return new Response(list?.body);
  }
  if (what === 'tamper') {
    await tamper(env, url.searchParams.get('key') ?? '', new Uint8Array(await request.arrayBuffer()));
    return Response.json(null);
  }
  if (what === 'read') {
    const found = await blobStore(env).get(url.searchParams.get('key') ?? '');
    return new Response(found?.body ?? null, { status: found === null ? 404 : 200 });
  }
  const binding = url.searchParams.get('binding') as Binding;
  const object = objectOf(binding, url.searchParams.get('name') ?? '', env);
  if (what === 'evict') await object.evict().catch(() => undefined);
  if (what === 'ring') await object.ring();
  if (what === 'ring-due') return Response.json(await object.ringDue());
  if (what === 'empty') return Response.json(await object.isEmpty());
  if (what === 'rows') return Response.json(await object.rows(await request.text()));
  if (what === 'alarm') return Response.json(await object.alarmAt());
  if (what === 'drop-alarm') await object.dropAlarm();
  if (what === 'alarm-set') await until(async () => (await object.alarmAt()) !== null);
  if (what === 'call') {
    const { method, args } = (await request.json()) as { method: string; args: unknown[] };
    const methods = object as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    return Response.json((await methods[method]?.(...args)) ?? null);
  }
  return Response.json(null);
}

/** Puts other bytes under a key past the registry, or with none removes what is there. */
async function tamper(env: Env, key: string, bytes: Uint8Array): Promise<void> {
  const gone = bytes.length === 0;
  const init = gone ? { method: 'DELETE' } : { method: 'PUT', body: bytes as BodyInit };
  await (await env.DISK?.fetch(`http://disk/${key}`, init))?.body?.cancel();
  if (gone) await env.BLOBS?.delete(key);
  else await env.BLOBS?.put(key, bytes);
}

function objectOf(binding: Binding, name: string, env: Env): TestedObject {
  // Each class has the methods of the tests, so the type of one binding is enough.
  const namespace = env[binding as 'REPOSITORY'];
  return namespace.getByName(nameOf(binding, name, env)) as unknown as TestedObject;
}

/** The tests name a shard by the first byte of a digest, and a session by the upload; on one machine there is but one of each. */
function nameOf(binding: string, name: string, env: Env): string {
  if (binding !== 'BLOB_SHARD' && binding !== 'UPLOAD_SESSION') return name;
  return platformOf(env).isSingleIsolate ? 'all' : name.slice(0, 2);
}

/** What `home.completes` sends: an upload as its session knew it. */
interface Draft {
  key: string;
  multipart: string;
  parts: R2UploadedPart[];
}

/** True where R2 still makes an object of a multipart upload. */
async function completes(env: Env, { key, multipart, parts }: Draft): Promise<boolean> {
  const upload = env.BLOBS?.resumeMultipartUpload(key, multipart);
  return upload === undefined
    ? false
    : upload.complete(parts).then(
        () => true,
        () => false,
      );
}

const UNTIL_MS = 20_000;

/** A request that waits for nothing but another request counts as hung: this one looks again and again. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const began = performance.now(); !(await condition()); await scheduler.wait(1)) {
    if (performance.now() - began > UNTIL_MS) throw new Error('what a test waits for does not come');
  }
}

/** Every key that has bytes, whatever knows of them. */
async function storedKeys(env: Env): Promise<string[]> {
  if (env.DISK !== undefined) return diskKeys(env.DISK, 'blobs');
  const keys: string[] = [];
  for (let cursor: string | undefined, more = true; more; ) {
    const listing: R2Objects | undefined = await env.BLOBS?.list(cursor === undefined ? {} : { cursor });
    keys.push(...(listing?.objects.map((object) => object.key) ?? []));
    more = listing?.truncated === true;
    cursor = listing?.truncated ? listing.cursor : undefined;
  }
  return keys;
}

async function diskKeys(disk: Fetcher, folder: string): Promise<string[]> {
  const response = await disk.fetch(`http://disk/${folder}/`);
  if (!response.ok) return [];
  const entries = (await response.json()) as { name: string; type: string }[];
  const keys = await Promise.all(
    entries.map(async ({ name, type }) =>
      type === 'directory' ? diskKeys(disk, `${folder}/${name}`) : [`${folder}/${name}`],
    ),
  );
  return keys.flat();
}
