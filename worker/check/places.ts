/**
 * The order in which a check asks everything that knows content: first the sessions, then the shards, then the repositories. A draft is
 * handed from its session to a shard before the session forgets it. So in this order, no content that is in use is missed.
 */
import type { Env } from '../env.ts';
import type { BlobShardObject } from '../objects/blob-shard.ts';
import type { RepositoryObject } from '../objects/repository.ts';
import type { UploadSessionObject } from '../objects/upload-session.ts';
import {
  catalogOf,
  repositoryOf,
  type Stub,
  sessionNamed,
  sessionNames,
  shardNamed,
  shardNames,
} from '../stubs.ts';

export type Place = { kind: 'session' | 'shard' | 'repository'; name: string };

/** Asks one object. */
export interface Asker<T> {
  session(session: Stub<UploadSessionObject>): Promise<T>;
  shard(shard: Stub<BlobShardObject>): Promise<T>;
  repository(repository: Stub<RepositoryObject>, name: string): Promise<T>;
}

export function firstPlace(env: Env): Place {
  return { kind: 'session', name: sessionNames(env)[0] ?? '' };
}

export function ask<T>(env: Env, { kind, name }: Place, asker: Asker<T>): Promise<T> {
  if (kind === 'session') return asker.session(sessionNamed(env, name));
  if (kind === 'shard') return asker.shard(shardNamed(env, name));
  return asker.repository(repositoryOf(env, name), name);
}

/** Repositories that one request may reach, and more than it can ask. */
const NAMES_AT_A_TIME = 1000;

/** Finds the place after another. It asks the catalog about twice in a request, which `Calls` allows for. */
export class Places {
  readonly #env: Env;
  #names: { after: string; names: string[] } | null = null;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Null after the last place. */
  async after({ kind, name }: Place): Promise<Place | null> {
    if (kind === 'repository') return this.#repositoryAfter(name);
    const names = kind === 'session' ? sessionNames(this.#env) : shardNames(this.#env);
    const next = names[names.indexOf(name) + 1];
    if (next !== undefined) return { kind, name: next };
    if (kind === 'shard') return this.#repositoryAfter('');
    return { kind: 'shard', name: shardNames(this.#env)[0] ?? '' };
  }

  async #repositoryAfter(name: string): Promise<Place | null> {
    if (this.#names?.after !== name || this.#names.names.length === 0) {
      const { entries } = await catalogOf(this.#env).listAll(NAMES_AT_A_TIME, name || null);
      this.#names = { after: name, names: entries };
    }
    const next = this.#names.names.shift();
    if (next === undefined) return null;
    this.#names.after = next;
    return { kind: 'repository', name: next };
  }
}
