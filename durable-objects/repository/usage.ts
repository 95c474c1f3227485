/**
 * What a repository uses, counted in its row with each change. Every method is one step of a transaction that `Repository` opens, and
 * `flush` is its last one.
 *
 * A blob counts once, as long as a manifest names it: as used if one that is not deleted does, otherwise as trashed. A change looks at the
 * blobs of its manifests before and after. In a repository of an earlier release, the alarm counts manifest by manifest in the order
 * of their digests. Until it has ended, manifests after the last one do not count at all.
 */
import type { RepositoryUsage } from '../../worker/objects/repository.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, firstRow } from '../rows.ts';
import type { Trash } from './trash.ts';

/** Manifests of an earlier release that one step counts. */
const COUNTED_AT_A_TIME = 200;
const DIGESTS_AT_A_TIME = 5000;
/** After all digests. */
const END = '~';

type Counts = Omit<RepositoryUsage, 'isCounted'>;

const COLUMNS =
  'used_bytes AS bytes, trashed_bytes AS trashedBytes, tag_count AS tags, manifest_count AS manifests';
const NOTHING: Counts = { bytes: 0, trashedBytes: 0, tags: 0, manifests: 0 };

export class Usage {
  readonly #sql: SqlStorage;
  readonly #trash: Trash;
  /** What the transaction has changed so far. */
  #change = NOTHING;
  /** Everything is to be counted again. */
  #isStale = false;
  /** The last manifest that counts; undefined if it is not read yet. */
  #countedTo: string | undefined;

  constructor(sql: SqlStorage, trash: Trash) {
    this.#sql = sql;
    this.#trash = trash;
  }

  /** With the changes of the transaction. */
  get(): Counts {
    if (this.#isStale) this.flush();
    const row = firstRow<Counts>(this.#sql, `SELECT ${COLUMNS} FROM repository`);
    return plus(row ?? NOTHING, this.#change);
  }

  /** Whether all manifests of earlier releases are counted. */
  isCounted(): boolean {
    this.#countedTo ??=
      firstRow<{ after: string }>(
        this.#sql,
        'SELECT count_after AS after FROM repository WHERE count_after IS NOT NULL',
      )?.after ?? END;
    return this.#countedTo === END;
  }

  /** Makes a change of manifests. `names` are what they will name. */
  ofManifests<T>(digests: Digest[], names: Digest[], change: () => T): T {
    const blobs = [...new Set([...names, ...digests.flatMap((digest) => this.#namesOf(digest))])];
    return this.#around(() => {
      const live = digests.map((digest) => this.#manifest(digest)).reduce(plus, NOTHING);
      // A live manifest uses all its blobs. Other manifests need not be looked at.
      const isUsed = live.manifests === digests.length;
      return plus(live, isUsed ? { ...NOTHING, bytes: this.#sizeOf(blobs) } : this.#blobs(blobs));
    }, change);
  }

  /**
   * Makes a change of a manifest that is deleted already: it may be forgotten. Its blobs stay as they are while another manifest names
   * them. There may be very many of these, and they are not looked at.
   */
  ofDeleted<T>(digest: Digest, change: () => T): T {
    if (this.#isStale || !this.#isCounted(digest)) return change();
    const names = this.#namesOf(digest);
    const result = change();
    const unnamed = firstRow<{ bytes: number | null }>(
      this.#sql,
      `SELECT SUM(b.size) AS bytes FROM json_each(?) j CROSS JOIN blobs b ON b.digest = j.value
       WHERE NOT EXISTS (SELECT 1 FROM named_by n WHERE n.digest = b.digest AND ${this.#counts('n.manifest')})`,
      JSON.stringify(names),
    );
    this.#change = minus(this.#change, { ...NOTHING, trashedBytes: unnamed?.bytes ?? 0 });
    return result;
  }

  /** Makes a change of a blob. */
  ofBlob<T>(digest: Digest, change: () => T): T {
    return this.#around(() => this.#blobs([digest]), change);
  }

  /** Makes a change of a tag. */
  ofTag<T>(tag: string, change: () => T): T {
    return this.#around(() => this.#tag(tag), change);
  }

  /** All manifests are deleted at once. */
  clear(): void {
    this.flush();
    this.#sql.exec(
      `UPDATE repository SET trashed_bytes = trashed_bytes + used_bytes, used_bytes = 0, tag_count = 0, manifest_count = 0`,
    );
  }

  /** Many manifests are deleted, or are there again: `flush` counts everything. */
  recount(): void {
    this.#isStale = true;
  }

  /** Writes what the transaction has changed. */
  flush(): void {
    const change = this.#change;
    const isStale = this.#isStale;
    this.#change = NOTHING;
    this.#isStale = false;
    if (isStale) this.#countAll();
    else if (Object.values(change).some((count) => count !== 0)) {
      this.#sql.exec(
        `UPDATE repository SET used_bytes = used_bytes + ?, trashed_bytes = trashed_bytes + ?, tag_count = tag_count + ?,
           manifest_count = manifest_count + ?`,
        change.bytes,
        change.trashedBytes,
        change.tags,
        change.manifests,
      );
    }
  }

  /** Counts some manifests of an earlier release. */
  fill(): void {
    if (this.isCounted()) return;
    const inTrash = this.#trash.exists()
      ? 'UNION ALL SELECT digest FROM trashed_manifests WHERE digest > ?1'
      : '';
    const rows = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT digest FROM (SELECT digest FROM manifests WHERE digest > ?1 ${inTrash}) ORDER BY digest LIMIT ?2`,
      this.#countedTo ?? '',
      COUNTED_AT_A_TIME,
    );
    for (const { digest } of rows)
      this.ofManifests([digest], [], () => {
        this.#countedTo = digest;
      });
    const isDone = rows.length < COUNTED_AT_A_TIME;
    if (isDone) this.#countedTo = END;
    this.#sql.exec('UPDATE repository SET count_after = ?', isDone ? null : (this.#countedTo ?? ''));
  }

  /** A transaction was not committed, or the tables are gone. */
  forget(): void {
    this.#change = NOTHING;
    this.#isStale = false;
    this.#countedTo = undefined;
  }

  /** Changes are not made within others. */
  #around<T>(count: () => Counts, change: () => T): T {
    if (this.#isStale) return change();
    const before = count();
    const result = change();
    this.#change = plus(this.#change, minus(count(), before));
    return result;
  }

  #manifest(digest: Digest): Counts {
    const row = firstRow<{ tags: number }>(
      this.#sql,
      `SELECT (SELECT COUNT(*) FROM tags t WHERE t.digest = m.digest AND t.generation = m.generation) AS tags
       FROM manifests m WHERE m.digest = ? AND ${this.#counts('m.digest')} AND ${this.#trash.live('m')}`,
      digest,
    );
    return row === null ? NOTHING : { ...NOTHING, tags: row.tags, manifests: 1 };
  }

  #tag(tag: string): Counts {
    const row = firstRow(
      this.#sql,
      `SELECT 1 FROM tags t JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation
       WHERE t.name = ? AND ${this.#counts('m.digest')} AND ${this.#trash.live('m')}`,
      tag,
    );
    return row === null ? NOTHING : { ...NOTHING, tags: 1 };
  }

  #namesOf(digest: Digest): Digest[] {
    const rows = allRows<{ digest: Digest }>(
      this.#sql,
      'SELECT j.value AS digest FROM manifest_names n, json_each(n.digests) j WHERE n.manifest = ?',
      digest,
    );
    return rows.map((row) => row.digest);
  }

  /** `digests` has each once. */
  #blobs(digests: Digest[]): Counts {
    return inPieces(digests)
      .map((piece) => this.#sumOf('json_each(?) j CROSS JOIN blobs b ON b.digest = j.value', piece))
      .reduce(plus, NOTHING);
  }

  /** In bytes. `digests` has each once. */
  #sizeOf(digests: Digest[]): number {
    const query = `SELECT SUM(b.size) AS bytes FROM json_each(?) j CROSS JOIN blobs b ON b.digest = j.value`;
    return inPieces(digests)
      .map((piece) => firstRow<{ bytes: number | null }>(this.#sql, query, piece)?.bytes ?? 0)
      .reduce((sum, bytes) => sum + bytes, 0);
  }

  #sumOf(blobs: string, ...values: string[]): Counts {
    const sums = firstRow<{ bytes: number | null; trashedBytes: number | null }>(
      this.#sql,
      `SELECT SUM(CASE WHEN is_used THEN size END) AS bytes, SUM(CASE WHEN NOT is_used THEN size END) AS trashedBytes FROM
         (SELECT b.size, EXISTS (SELECT 1 FROM named_by n JOIN manifests m ON m.digest = n.manifest
            WHERE n.digest = b.digest AND ${this.#counts('n.manifest')} AND ${this.#trash.live('m')}) AS is_used
          FROM ${blobs} WHERE EXISTS
            (SELECT 1 FROM named_by n WHERE n.digest = b.digest AND ${this.#counts('n.manifest')}))`,
      ...values,
    );
    return { ...NOTHING, bytes: sums?.bytes ?? 0, trashedBytes: sums?.trashedBytes ?? 0 };
  }

  #countAll(): void {
    this.#countedTo = END;
    const { bytes, trashedBytes } = this.#sumOf('blobs b');
    const live = firstRow<{ tags: number; manifests: number }>(
      this.#sql,
      `SELECT (SELECT COUNT(*) FROM tags t JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation
           WHERE ${this.#trash.live('m')}) AS tags,
         (SELECT COUNT(*) FROM manifests m WHERE ${this.#trash.live('m')}) AS manifests`,
    );
    this.#sql.exec(
      `UPDATE repository SET used_bytes = ?, trashed_bytes = ?, tag_count = ?, manifest_count = ?, count_after = NULL`,
      bytes,
      trashedBytes,
      live?.tags ?? 0,
      live?.manifests ?? 0,
    );
  }

  #isCounted(digest: Digest): boolean {
    return this.isCounted() || digest <= (this.#countedTo ?? '');
  }

  /** The condition that a manifest is counted already. Digests have no quotation marks. */
  #counts(digest: string): string {
    return this.isCounted() ? 'TRUE' : `${digest} <= '${this.#countedTo}'`;
  }
}

/** Lists of digests (JSON) that SQLite takes as values, which have up to 2 MB. */
function inPieces(digests: Digest[]): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < digests.length; at += DIGESTS_AT_A_TIME)
    pieces.push(JSON.stringify(digests.slice(at, at + DIGESTS_AT_A_TIME)));
  return pieces;
}

function plus(one: Counts, other: Counts): Counts {
  return {
    bytes: one.bytes + other.bytes,
    trashedBytes: one.trashedBytes + other.trashedBytes,
    tags: one.tags + other.tags,
    manifests: one.manifests + other.manifests,
  };
}

function minus(one: Counts, other: Counts): Counts {
  return plus(one, {
    bytes: -other.bytes,
    trashedBytes: -other.trashedBytes,
    tags: -other.tags,
    manifests: -other.manifests,
  });
}
