/**
 * The registry as the tests run it: the same Worker and Durable Objects over the observed bindings, with a door for the
 * tests beside /v2/. It is built only by them.
 */
import * as registry from '../../worker/index.ts';
import { blobStore } from '../../worker/storage/blobs.ts';
import { buffers } from '../../worker/storage/body.ts';
import type { Env } from '../../worker/env.ts';
import { type Fault, observation, observed, observedState } from './observed.ts';

type Constructor = new (ctx: DurableObjectState, env: Env) => Rpc.DurableObjectBranded & { alarm?(): Promise<void> };

/** A Durable Object on observed bindings that a test can evict, and whose alarm it can ring. */
function tested(Class: unknown): Constructor {
  const Original = Class as Constructor & { prototype: { alarm?: () => Promise<void> } };
  return class extends Original {
    readonly #ctx: DurableObjectState;

    constructor(ctx: DurableObjectState, env: Env) {
      super(observedState(ctx), observed(env));
      this.#ctx = ctx;
    }

    evict(): void {
      this.#ctx.abort('evicted by a test');
    }

    async ring(): Promise<void> {
      await super.alarm?.();
    }

    /** True where nothing at all is stored. */
    async isEmpty(): Promise<boolean> {
      const tables = this.#ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\'");
      return tables.toArray().length === 0;
    }

    rows(query: string): Record<string, SqlStorageValue>[] {
      return this.#ctx.storage.sql.exec(query).toArray();
    }

    alarmAt(): Promise<number | null> {
      return this.#ctx.storage.getAlarm();
    }
  };
}

export const Accounts = tested(registry.Accounts);
export const BlobShard = tested(registry.BlobShard);
export const Catalog = tested(registry.Catalog);
export const Repository = tested(registry.Repository);
export const UploadSession = tested(registry.UploadSession);

interface Door {
  evict(): Promise<void>;
  ring(): Promise<void>;
  isEmpty(): Promise<boolean>;
  rows(query: string): Promise<unknown[]>;
  alarmAt(): Promise<number | null>;
}

const now = Date.now.bind(Date);
const observedEnvs = new WeakMap<Env, Env>();

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname.startsWith('/test/')) return door(url, request, env);
    let seen = observedEnvs.get(env);
    if (seen === undefined) {
      seen = observed(env);
      observedEnvs.set(env, seen);
    }
    return registry.default.fetch(request as never, seen, ctx);
  },
};

/** What a test can do beside the API; `test/support/homes.ts` calls it. */
async function door(url: URL, request: Request, env: Env): Promise<Response> {
  const what = url.pathname.slice('/test/'.length);
  if (what === 'reset') {
    observation.reset((await request.json()) as Fault | null);
    return Response.json(null);
  }
  if (what === 'counts') return Response.json(observation.counts);
  if (what === 'violations') return Response.json(observation.violations.splice(0));
  if (what === 'reached') return Response.json(await observation.reached.promise);
  if (what === 'buffers') {
    const { held, peak } = buffers;
    buffers.peak = held;
    return Response.json({ held, peak });
  }
  if (what === 'clock') {
    const ahead = Number(url.searchParams.get('ahead'));
    Date.now = () => now() + ahead;
    return Response.json(null);
  }
  if (what === 'store') return Response.json(await storedKeys(env));
  if (what === 'read') {
    const body = await blobStore(env).get(url.searchParams.get('key') ?? '');
    return new Response(body, { status: body === null ? 404 : 200 });
  }
  const binding = url.searchParams.get('binding') as 'REPOSITORY';
  const object = env[binding].getByName(url.searchParams.get('name') ?? '') as unknown as Door;
  if (what === 'evict') await object.evict().catch(() => undefined);
  if (what === 'ring') await object.ring();
  if (what === 'empty') return Response.json(await object.isEmpty());
  if (what === 'rows') return Response.json(await object.rows(await request.text()));
  if (what === 'alarm') return Response.json(await object.alarmAt());
  return Response.json(null);
}

/** Every key that has bytes, whatever knows of them. */
async function storedKeys(env: Env): Promise<string[]> {
  if (env.DISK !== undefined) return diskKeys(env.DISK, 'blobs');
  const listing = await env.BLOBS?.list({ prefix: '' });
  return listing?.objects.map((object) => object.key) ?? [];
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
