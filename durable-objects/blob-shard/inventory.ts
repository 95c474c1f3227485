/**
 * What a shard tells the consistency check, and how it repairs its own rows. Reading writes nothing. Every method is one step of a
 * transaction that `BlobShard` opens.
 */
import type {
  Inventory,
  InventoryPlace,
  KnownContent,
  KnownLink,
  LinkOfRepository,
} from '../../worker/objects/check.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, firstRow } from '../rows.ts';

type ContentRow = {
  digest: Digest;
  key: string;
  size: number;
  stored: number;
  deleting: number;
  is_left: number;
};
type LinkRow = {
  digest: Digest;
  key: string;
  repository: string;
  id: string;
  confirm_at: number | null;
  has_content: number;
};

/** No link holds the content `o`, and it has no time at which it is deleted. */
const IS_LEFT = `o.delete_at IS NULL AND o.deleting = 0
  AND NOT EXISTS (SELECT 1 FROM links l WHERE l.digest = o.digest AND l.key = o.key)`;

/** A page of up to `count` rows: first the contents, then the links. */
export function inventoryOf(
  sql: SqlStorage,
  from: InventoryPlace | null,
  count: number,
): Inventory<KnownContent | KnownLink> {
  const [table = 'objects', ...after] = from ?? [];
  const contents = table === 'objects' ? contentsAfter(sql, after, count) : [];
  const lastContent = contents.length === count ? contents.at(-1) : undefined;
  if (lastContent !== undefined)
    return { entries: contents, next: ['objects', lastContent.digest, lastContent.key] };
  const left = count - contents.length;
  const links = linksAfter(sql, table === 'links' ? after : [], left);
  const last = links.length === left ? links.at(-1) : undefined;
  return {
    entries: [...contents, ...links],
    next: last === undefined ? null : ['links', last.digest, last.key, last.repository, last.link],
  };
}

/** Those of the uuids whose content a shard knows. */
export function contentsAmong(sql: SqlStorage, ids: string[]): string[] {
  const rows = allRows<{ id: string }>(
    sql,
    `SELECT DISTINCT substr(key, 7, 36) AS id FROM objects
     WHERE substr(key, 7, 36) IN (SELECT value FROM json_each(?))`,
    JSON.stringify(ids),
  );
  return rows.map(({ id }) => id);
}

/** Whether a shard knows a link and its content. */
export function knowsLink(sql: SqlStorage, { digest, key, repository, link }: LinkOfRepository): boolean {
  const query = `SELECT 1 FROM links l JOIN objects o ON o.digest = l.digest AND o.key = l.key
    WHERE l.digest = ? AND l.key = ? AND l.repository = ? AND l.id = ?`;
  return firstRow(sql, query, digest, key, repository, link) !== null;
}

/** Whether a shard counts on a link that was settled. */
export function isSettled(sql: SqlStorage, { digest, key, repository, link }: LinkOfRepository): boolean {
  const query = `SELECT 1 FROM links
    WHERE digest = ? AND key = ? AND repository = ? AND id = ? AND confirm_at IS NULL`;
  return firstRow(sql, query, digest, key, repository, link) !== null;
}

/** Whether no link holds a content that would stay for ever. */
export function isLeft(sql: SqlStorage, digest: Digest, key: string): boolean {
  return (
    firstRow(sql, `SELECT 1 FROM objects o WHERE o.digest = ? AND o.key = ? AND ${IS_LEFT}`, digest, key) !==
    null
  );
}

function contentsAfter(sql: SqlStorage, [digest = '', key = '']: string[], count: number): KnownContent[] {
  const rows = allRows<ContentRow>(
    sql,
    `SELECT digest, key, size, stored, deleting, ${IS_LEFT} AS is_left FROM objects o
     WHERE (digest, key) > (?, ?) ORDER BY digest, key LIMIT ?`,
    digest,
    key,
    count,
  );
  return rows.map(({ stored, deleting, is_left, ...content }) => ({
    kind: 'content',
    ...content,
    state: deleting === 1 ? 'deleting' : stored === 1 ? 'stored' : 'expected',
    isLeft: is_left === 1,
  }));
}

function linksAfter(
  sql: SqlStorage,
  [digest = '', key = '', repository = '', link = '']: string[],
  count: number,
): KnownLink[] {
  const rows = allRows<LinkRow>(
    sql,
    `SELECT digest, key, repository, id, confirm_at,
       EXISTS (SELECT 1 FROM objects o WHERE o.digest = l.digest AND o.key = l.key) AS has_content
     FROM links l WHERE (digest, key, repository, id) > (?, ?, ?, ?) ORDER BY digest, key, repository, id LIMIT ?`,
    digest,
    key,
    repository,
    link,
    count,
  );
  return rows.map(({ id, confirm_at, has_content, ...row }) => ({
    kind: 'link',
    ...row,
    link: id,
    settled: confirm_at === null,
    hasContent: has_content === 1,
  }));
}
