/** What a repository tells the consistency check. It writes nothing. */
import { isInlineKey } from '../../worker/blobs/storage-key.ts';
import type { Inventory, InventoryPlace, KnownBlob, MissingName } from '../../worker/objects/check.ts';
import type { LinkIdentity } from '../../worker/objects/repository.ts';
import { parseManifest } from '../../worker/oci/manifest.ts';
import { allRows, firstRow } from '../rows.ts';
import type { Manifests } from './manifests.ts';

/** A page of up to `count` rows: first the blobs that are in the store, then what manifests name. `manifests`: those that are served. */
export function inventoryOf(
  sql: SqlStorage,
  manifests: Manifests | null,
  from: InventoryPlace | null,
  count: number,
): Inventory<KnownBlob | MissingName> {
  const [table = 'blobs', ...after] = from ?? [];
  const blobs = table === 'blobs' ? blobsAfter(sql, after, count) : [];
  const stored = blobs.filter(({ key }) => !isInlineKey(key));
  const lastBlob = blobs.length === count ? blobs.at(-1) : undefined;
  if (lastBlob !== undefined) return { entries: stored, next: ['blobs', lastBlob.digest] };
  const left = count - blobs.length;
  const named = namedAfter(sql, table === 'named_by' ? after : [], left);
  const last = named.length === left ? named.at(-1) : undefined;
  const missing = manifests === null ? [] : named.filter((name) => isMissing(sql, manifests, name));
  return {
    entries: [...stored, ...missing],
    next: last === undefined ? null : ['named_by', last.digest, last.manifest],
  };
}

/**
 * Whether a manifest that is not deleted names a blob that must be there, and is not. The children of an index may be missing, because
 * clients may delete them.
 */
export function isMissing(
  sql: SqlStorage,
  manifests: Manifests,
  { digest, manifest }: Pick<MissingName, 'digest' | 'manifest'>,
): boolean {
  const query = 'SELECT 1 FROM blobs WHERE digest = ? AND deleted_at IS NULL';
  if (firstRow(sql, query, digest) !== null) return false;
  // A subject need not be there, and children are manifests.
  if (firstRow(sql, 'SELECT 1 FROM manifests WHERE digest = ?', digest) !== null) return false;
  const found = manifests.byDigest(manifest, true);
  return found !== null && parseManifest(found.bytes, found.mediaType).blobs.includes(digest);
}

/** Those of the uuids whose content a blob of the repository has. */
export function blobsAmong(sql: SqlStorage, ids: string[]): string[] {
  const rows = allRows<{ id: string }>(
    sql,
    `SELECT DISTINCT substr(key, 7, 36) AS id FROM blobs
     WHERE substr(key, 7, 36) IN (SELECT value FROM json_each(?))`,
    JSON.stringify(ids),
  );
  return rows.map(({ id }) => id);
}

/** Whether the repository has removed a link, and its shard may not know of it yet. */
export function isReleasing(sql: SqlStorage, { link }: LinkIdentity): boolean {
  return firstRow(sql, 'SELECT 1 FROM released_links WHERE link = ?', link) !== null;
}

function blobsAfter(sql: SqlStorage, [digest = '']: string[], count: number): KnownBlob[] {
  const query = 'SELECT digest, key, size, link FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?';
  const rows = allRows<Omit<KnownBlob, 'kind'>>(sql, query, digest, count);
  return rows.map((row) => ({ kind: 'blob', ...row }));
}

function namedAfter(sql: SqlStorage, [digest = '', manifest = '']: string[], count: number): MissingName[] {
  const query = `SELECT digest, manifest FROM named_by WHERE (digest, manifest) > (?, ?)
    ORDER BY digest, manifest LIMIT ?`;
  const rows = allRows<Omit<MissingName, 'kind'>>(sql, query, digest, manifest, count);
  return rows.map((row) => ({ kind: 'missing', ...row }));
}
