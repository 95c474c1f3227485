/** What the tests of deletions ask a repository, past the API, and how they let time pass. */
import assert from 'node:assert/strict';
import type { Deletion, Removed, Restored, TagMove } from '../../worker/oci/upkeep.ts';
import { Client } from '../faults/client.ts';
import * as homes from '../support/homes.ts';

export const DAY_MS = 24 * 3600 * 1000;
/** Days until a deletion of now has freed its bytes: the window, two graces, and a day for alarms that wait for each other. */
export const FREED_DAYS = 14 + 5;

/** As the tests of faults: every read asks the repository and the store, and all blobs are in the store. */
const VARS = { BLOB_DELIVERY: 'stream', CACHE_LIFETIME: '0', INLINE_BLOB_BYTES: '0' };

export function eachHome(define: (home: homes.Home) => void, vars: Record<string, string> = {}): void {
  homes.eachHome(define, { vars: { ...VARS, ...vars } });
}

const BY = { actor: 'user:bob', address: '192.0.2.1', maintains: [] };

/** A repository. */
export class Kept extends Client {
  readonly name: string;

  constructor(home: homes.Home, name: string) {
    super(home);
    this.name = name;
    this.repositories.add(name);
  }

  delete(removal: object, options: object = {}): Promise<Removed> {
    const all = { ...BY, why: 'delete', dryRun: false, deletion: null, ...options };
    return this.home.call('REPOSITORY', this.name, 'delete', removal, all);
  }

  restore(what: object, options: object = {}): Promise<Restored | string> {
    const all = { ...BY, why: 'restore', dryRun: false, force: false, ...options };
    return this.home.call('REPOSITORY', this.name, 'restore', this.name, what, all);
  }

  async deletions(): Promise<Deletion[]> {
    const page = await this.home.call<{ entries: Deletion[] } | null>(
      'REPOSITORY',
      this.name,
      'deletions',
      null,
      100,
    );
    return page?.entries ?? [];
  }

  async moves(tag: string | null): Promise<TagMove[]> {
    const page = await this.home.call<{ entries: TagMove[] } | null>(
      'REPOSITORY',
      this.name,
      'history',
      tag,
      null,
      100,
    );
    return page?.entries ?? [];
  }

  /** Rings the alarm of the repository until nothing is due, and returns how often that was. */
  async settle(): Promise<number> {
    for (let rings = 0; ; rings++) if (!(await this.home.ringDue('REPOSITORY', this.name))) return rings;
  }

  /** All pages; null if the repository is unknown. */
  async tagsOf(): Promise<string[] | null> {
    const found: string[] = [];
    for (let next: string | undefined = `/v2/${this.name}/tags/list`; next !== undefined; ) {
      const answer = await this.send('GET', next);
      if (answer.status === 404) return null;
      found.push(...(JSON.parse(answer.body.toString()) as { tags: string[] }).tags);
      next = /<([^>]+)>/.exec(String(answer.headers.link ?? ''))?.[1];
    }
    return found;
  }

  async statusOf(path: string, method = 'GET'): Promise<number> {
    return (await this.send(method, `/v2/${this.name}/${path}`)).status;
  }

  async referrersOf(digest: string): Promise<string[]> {
    const { body } = await this.want(200, 'GET', `/v2/${this.name}/referrers/${digest}`);
    const { manifests } = JSON.parse(body.toString()) as { manifests: { digest: string }[] };
    return manifests.map((manifest) => manifest.digest).sort();
  }
}

/** In bytes: the blobs in the store that the client has to do with. */
export async function bytesInStore({ home, digests }: Kept): Promise<number> {
  let bytes = 0;
  const shards = new Set([...digests].map((digest) => digest.slice(7, 9)));
  for (const shard of home.name === 'disk' ? ['all'] : shards) {
    const rows = await home.rows('BLOB_SHARD', shard, 'SELECT digest, key, size FROM objects');
    for (const { digest, key, size } of rows) {
      if (!digests.has(String(digest))) continue;
      const found = await home.storedBytes(String(key));
      assert.equal(found?.length, Number(size));
      bytes += Number(size);
    }
  }
  return bytes;
}
