/** What the tests of the consistency check share: how it is run, and the damage that they make past the registry. */
import assert from 'node:assert/strict';
import { type CheckReport, type Result, runCheck } from '../../cli/check/run-check.ts';
import { connect } from '../../cli/client.ts';
import type { Home } from '../support/homes.ts';

export const DAY_MS = 24 * 3600 * 1000;

/** Every read asks the repository and the store, and all blobs are in the store. */
export const VARS = { BLOB_DELIVERY: 'stream', CACHE_LIFETIME: '0', INLINE_BLOB_BYTES: '0' };

export class Checked {
  readonly home: Home;

  constructor(home: Home) {
    this.home = home;
  }

  run(repair = false, calls = 40): Promise<CheckReport> {
    return runCheck(connect(this.home.url, {}), { repair, calls });
  }

  /** What is found, without the repair of it. */
  async kinds(): Promise<Result['kind'][]> {
    return (await this.run()).results.map(({ kind }) => kind).sort();
  }

  rowsOfShard(digest: string, query: string) {
    return this.home.rows('BLOB_SHARD', digest.slice(7, 9), query);
  }

  /** The row of a blob. */
  async blobOf(repository: string, digest: string): Promise<{ key: string; link: string }> {
    const query = `SELECT key, link FROM blobs WHERE digest = '${digest}'`;
    const [row] = await this.home.rows('REPOSITORY', repository, query);
    assert.ok(row !== undefined);
    return row as { key: string; link: string };
  }

  /** Bytes that nothing knows, as a registry stores them. */
  async storeUnknown(bytes: Buffer): Promise<string> {
    const id = crypto.randomUUID();
    await this.home.tamper(this.home.name === 'disk' ? `blobs/${id}/1` : `blobs/${id}`, bytes);
    return id;
  }
}
