/**
 * Deletes tags and manifests, and what goes with them. Every method is one step of a transaction that `Repository` opens.
 *
 * What is deleted is gone at once. If it is much, its rows follow in steps of the alarm.
 */
import { isInlineKey } from '../../worker/blobs/storage-key.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import type { GoesBecause, Removal, Removed } from '../../worker/oci/upkeep.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME, firstRow } from '../rows.ts';
import type { Deletions } from './deletions.ts';
import type { Move } from './history.ts';
import type { Links } from './links.ts';
import type { Manifests } from './manifests.ts';
import type { Departure, Trash } from './trash.ts';
import type { Usage } from './usage.ts';

/** Manifests that go with others in one transaction. Further children stay, as untagged manifests. */
const TOGETHER_MAX = 1000;
/** Referrers of one manifest that go in the same transaction. If there are more, they follow in steps. */
const REFERRERS_AT_ONCE = 200;
/** Manifests whose rows one step moves, and about how many rows each costs. */
const MOVED_AT_A_TIME = 150;
const ROWS_OF_A_MANIFEST = 5;
/** Rows that the removal of a tag writes: its own, and one of the history with two indexes. */
const ROWS_OF_A_TAG = 4;
/** Tags of a manifest that are removed in one transaction. */
const TAGS_AT_ONCE = EXPIRED_ROWS_AT_A_TIME / ROWS_OF_A_TAG;
const DEPARTURES_AT_A_TIME = 100;
/** Tags and manifests that an answer lists. */
const DESCRIBED_MAX = 1000;
/** The tags that cosign gives to what belongs to a manifest. */
const COSIGN_SUFFIXES = ['sig', 'att', 'sbom'];

/** What a deletion removes. */
export interface Going {
  /** Tag -> the digest that it leads to. */
  tags: Map<string, Digest>;
  manifests: Map<Digest, GoesBecause>;
  /** Manifests with many referrers, which go too. */
  subjects: Digest[];
  /** What was asked for and is not there. */
  unknown: string[];
}

/** What people are told of a deletion. */
export type Described = Pick<Removed, 'tags' | 'tagCount' | 'manifests' | 'manifestCount' | 'unknown'>;

/** Content of a blob. */
export type FreedBlob = { digest: Digest; key: string; size: number };

export class Removals {
  readonly #sql: SqlStorage;
  readonly #manifests: Manifests;
  readonly #trash: Trash;
  readonly #deletions: Deletions;
  readonly #links: Links;
  readonly #usage: Usage;

  constructor(
    sql: SqlStorage,
    manifests: Manifests,
    trash: Trash,
    deletions: Deletions,
    links: Links,
    usage: Usage,
  ) {
    this.#sql = sql;
    this.#manifests = manifests;
    this.#trash = trash;
    this.#deletions = deletions;
    this.#links = links;
    this.#usage = usage;
  }

  /**
   * What goes with these tags and manifests. With `keepsChildren`, as clients delete: a manifest that a tag leads to stays, and the
   * children of an index stay.
   */
  goingWith(removal: Removal, keepsChildren: boolean): Going {
    const going: Going = { tags: new Map(), manifests: new Map(), subjects: [], unknown: [] };
    this.#follow(removal, going, keepsChildren, TOGETHER_MAX);
    return going;
  }

  /** Adds what goes with further tags, as several deletions one after another would remove it. */
  extend(going: Going, removal: Removal): void {
    this.#follow(removal, going, false, Number.POSITIVE_INFINITY);
  }

  #follow({ tags = [], manifests = [] }: Removal, going: Going, keepsChildren: boolean, most: number): void {
    const tagged = new Set<Digest>();
    for (const tag of tags) {
      const found = this.#manifests.byTag(tag, false);
      if (found === null) going.unknown.push(tag);
      else {
        going.tags.set(tag, found.digest);
        tagged.add(found.digest);
      }
    }
    const queue: [Digest, GoesBecause][] = [];
    for (const digest of manifests) {
      if (this.#manifests.byDigest(digest, false) === null) going.unknown.push(digest);
      else queue.push([digest, 'named']);
    }
    const untagged = keepsChildren ? [] : tagged;
    for (const digest of untagged) if (this.#isUnneeded(digest, going)) queue.push([digest, 'untagged']);
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [digest, why] = next;
      if (going.manifests.has(digest)) continue;
      if (why !== 'named' && going.manifests.size >= most) continue;
      going.manifests.set(digest, why);
      queue.push(...this.#dependentsOf(digest, going));
      if (keepsChildren) continue;
      for (const child of this.#childrenOf(digest))
        if (this.#isUnneeded(child, going)) queue.push([child, 'child']);
    }
  }

  /** All tags that go; null for everything. There may be very many. */
  *tagsOf(going: Going | null): Iterable<string> {
    if (going === null) {
      yield* this.#manifests.allTags();
      return;
    }
    yield* going.tags.keys();
    for (const digest of going.manifests.keys()) yield* this.#manifests.allTagsOf(digest);
  }

  /** The blobs in the store that no manifest which stays names. */
  freedBy({ manifests, subjects }: Going): FreedBlob[] {
    const listed = JSON.stringify([...manifests.keys()]);
    const leaving = `m.subject IN (SELECT value FROM json_each(?2)) AND ${this.#trash.isFree('m')}`;
    const rows = allRows<FreedBlob>(
      this.#sql,
      `SELECT b.digest, b.key, b.size FROM blobs b WHERE b.deleted_at IS NULL AND b.digest IN
         (SELECT j.value FROM manifest_names n, json_each(n.digests) j
            WHERE n.manifest IN (SELECT value FROM json_each(?1))
          UNION SELECT j.value FROM manifests m JOIN manifest_names n ON n.manifest = m.digest, json_each(n.digests) j
            WHERE ${leaving})
       AND NOT EXISTS (SELECT 1 FROM named_by o JOIN manifests m ON m.digest = o.manifest WHERE o.digest = b.digest
         AND ${this.#trash.live('m')} AND m.digest NOT IN (SELECT value FROM json_each(?1)) AND NOT (${leaving}))`,
      listed,
      JSON.stringify(subjects),
    );
    return rows.filter(({ key }) => !isInlineKey(key));
  }

  /** In bytes: all blobs in the store that are named by manifests. */
  bytesOfAll(): number {
    const query = `SELECT SUM(b.size) AS bytes FROM blobs b
      WHERE b.deleted_at IS NULL AND b.key NOT GLOB 'inline/*' AND EXISTS
        (SELECT 1 FROM named_by n JOIN manifests m ON m.digest = n.manifest
         WHERE n.digest = b.digest AND ${this.#trash.live('m')})`;
    return firstRow<{ bytes: number | null }>(this.#sql, query)?.bytes ?? 0;
  }

  /** The blobs in the store, after a digest, that are named by manifests and go with all of them. */
  freedByAll(after: string, count: number): FreedBlob[] {
    return allRows<FreedBlob>(
      this.#sql,
      `SELECT b.digest, b.key, b.size FROM blobs b
       WHERE b.digest > ? AND b.deleted_at IS NULL AND b.key NOT GLOB 'inline/*' AND EXISTS
         (SELECT 1 FROM named_by n JOIN manifests m ON m.digest = n.manifest
          WHERE n.digest = b.digest AND ${this.#trash.live('m')})
       ORDER BY b.digest LIMIT ?`,
      after,
      count,
    );
  }

  /** What goes, as people are told. */
  describe({ tags, manifests, subjects, unknown }: Going): Described {
    const listed = JSON.stringify([...manifests.keys()]);
    const types = allRows<{ digest: Digest; mediaType: string; tags: number }>(
      this.#sql,
      `SELECT m.digest, m.media_type AS mediaType,
         (SELECT COUNT(*) FROM tags t WHERE t.digest = m.digest AND t.generation = m.generation) AS tags
       FROM json_each(?) j JOIN manifests m ON m.digest = j.value`,
      listed,
    );
    const alone = [...tags].filter(([, digest]) => !manifests.has(digest));
    const some = alone.map(([tag, digest]) => ({ tag, digest }));
    for (const { digest } of types) {
      if (some.length >= DESCRIBED_MAX) break;
      const more = this.#manifests.tagsOf(digest, DESCRIBED_MAX).map((tag) => ({ tag, digest }));
      some.push(...more);
    }
    const following = firstRow<{ count: number }>(
      this.#sql,
      `SELECT COUNT(*) AS count FROM json_each(?) j JOIN manifests m ON m.subject = j.value
       WHERE ${this.#trash.isFree('m')}`,
      JSON.stringify(subjects),
    );
    return {
      tags: some.slice(0, DESCRIBED_MAX),
      tagCount: alone.length + types.reduce((sum, row) => sum + row.tags, 0),
      manifests: types.slice(0, DESCRIBED_MAX).map(({ digest, mediaType }) => ({
        digest,
        mediaType,
        why: manifests.get(digest) ?? 'named',
      })),
      manifestCount: manifests.size + (following?.count ?? 0),
      unknown,
    };
  }

  /** As `describe`, for everything. */
  describeAll(): Described {
    const counts = firstRow<{ tags: number; manifests: number }>(
      this.#sql,
      `SELECT (SELECT COUNT(*) FROM tags t JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation
           WHERE ${this.#trash.live('m')}) AS tags,
         (SELECT COUNT(*) FROM manifests m WHERE ${this.#trash.live('m')}) AS manifests`,
    );
    const tags = allRows<{ tag: string; digest: Digest }>(
      this.#sql,
      `SELECT t.name AS tag, t.digest FROM tags t JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation
       WHERE ${this.#trash.live('m')} ORDER BY t.name LIMIT ?`,
      DESCRIBED_MAX,
    );
    const manifests = allRows<{ digest: Digest; mediaType: string }>(
      this.#sql,
      `SELECT m.digest, m.media_type AS mediaType FROM manifests m WHERE ${this.#trash.live('m')} LIMIT ?`,
      DESCRIBED_MAX,
    );
    return {
      tags,
      tagCount: counts?.tags ?? 0,
      manifests: manifests.map((row) => ({ ...row, why: 'named' as const })),
      manifestCount: counts?.manifests ?? 0,
      unknown: [],
    };
  }

  /** Removes what goes. `move.deletion` is null where it cannot be undone. Returns how many tags and manifests are gone so far. */
  remove({ tags, manifests, subjects }: Going, move: Move): { tags: number; manifests: number } {
    let removed = 0;
    const digests = [...manifests.keys()];
    this.#usage.ofManifests(digests, [], () => {
      // The alarm removes the other tags.
      for (const digest of digests)
        removed += this.#move(digest, move, Math.max(0, TAGS_AT_ONCE - removed)).tags;
    });
    for (const [tag, digest] of tags) {
      if (manifests.has(digest)) continue;
      this.#manifests.removeTag(tag, move);
      this.#manifests.untagged();
      removed++;
    }
    for (const subject of subjects) this.#depart(subject, move);
    return { tags: removed, manifests: manifests.size };
  }

  /** Removes everything. */
  removeAll(move: Move): void {
    this.#depart('', move);
  }

  /** Moves the rows of a manifest that is on its way, so that it can be pushed again. */
  finish(digest: Digest): void {
    const leaving = this.#manifests.leaving(digest);
    if (leaving === null) return;
    const move = this.#moveOf(leaving);
    const { tags } = this.#usage.ofDeleted(digest, () => this.#move(digest, move, TAGS_AT_ONCE));
    this.#count(leaving.deletion, tags, 1);
  }

  /** As `finish`, also for the referrers of the manifest, up to `count`. */
  finishWithReferrers(digest: Digest, count: number): void {
    if (!this.#trash.hasDepartures()) return;
    this.finish(digest);
    const referrers = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM manifests m WHERE m.subject = ? AND NOT ${this.#trash.live('m')} LIMIT ?`,
      digest,
      count,
    );
    for (const referrer of referrers) this.finish(referrer.digest);
  }

  /** Removes the row of a tag that is deleted with its manifest, so that the tag can be set again. */
  finishTag(tag: string): void {
    if (!this.#trash.hasDepartures() && !this.#hasTagsToRemove()) return;
    const leaving = this.#manifests.leavingTag(tag);
    if (leaving === null) return;
    this.#manifests.removeTag(tag, this.#moveOf(leaving));
    this.#count(leaving.deletion, 1, 0);
  }

  /** Whether manifests of a deletion still have tags to be removed. */
  hasTagsOf(deletion: string): boolean {
    return (
      firstRow(this.#sql, 'SELECT 1 FROM deleted_manifests WHERE deletion = ? LIMIT 1', deletion) !== null
    );
  }

  /** How many manifests and tags of a deletion are still to be moved. */
  countLeaving(deletion: string): { tags: number; manifests: number } {
    const counts = { tags: 0, manifests: 0 };
    for (const { subject, before, deletion: id } of this.#trash.departures(DEPARTURES_AT_A_TIME)) {
      if (id !== deletion) continue;
      const query =
        subject === ''
          ? `SELECT COUNT(*) AS manifests, SUM((SELECT COUNT(*) FROM tags t WHERE t.digest = m.digest AND t.generation = m.generation)) AS tags
             FROM manifests m WHERE m.generation < ?1`
          : `SELECT COUNT(*) AS manifests, 0 AS tags FROM manifests m
             WHERE m.subject = ?2 AND m.generation < ?1 AND ${this.#trash.isFree('m')}`;
      const found = firstRow<{ manifests: number; tags: number | null }>(
        this.#sql,
        query,
        before,
        ...(subject === '' ? [] : [subject]),
      );
      counts.manifests += found?.manifests ?? 0;
      counts.tags += found?.tags ?? 0;
    }
    return counts;
  }

  /** Whether rows are left to move. */
  hasSteps(): boolean {
    return this.#hasTagsToRemove() || this.#trash.hasDepartures();
  }

  /** Moves some rows: about EXPIRED_ROWS_AT_A_TIME. */
  step(): void {
    let left = EXPIRED_ROWS_AT_A_TIME;
    while (left > 0 && this.#hasTagsToRemove())
      left -= 1 + ROWS_OF_A_TAG * this.#removeTags(Math.ceil(left / ROWS_OF_A_TAG));
    if (left <= 0) return;
    for (const departure of this.#trash.departures(DEPARTURES_AT_A_TIME)) {
      // One after the other, because a manifest belongs to the earliest deletion of it.
      const { rows, isDone } = this.#moveSome(departure, left);
      left -= rows;
      if (!isDone || left <= 0) return;
    }
  }

  /** Removes tags of deleted manifests, and returns how many. */
  #removeTags(count: number): number {
    const row = firstRow<{ digest: Digest; generation: number; at: number; deletion: string | null }>(
      this.#sql,
      'SELECT digest, generation, at, deletion FROM deleted_manifests LIMIT 1',
    );
    if (row === null) return 0;
    const { digest, generation, deletion } = row;
    const removed = this.#manifests.removeTagsOf(digest, generation, this.#moveOf(row), count);
    this.#count(deletion, removed, 0);
    if (removed < count)
      this.#sql.exec('DELETE FROM deleted_manifests WHERE digest = ? AND generation = ?', digest, generation);
    return removed;
  }

  /** Moves some of the manifests of a departure, and returns about how many rows that cost. */
  #moveSome(departure: Departure, rowsMax: number): { rows: number; isDone: boolean } {
    const { subject, before, after, deletion } = departure;
    const of = subject === '' ? '' : `AND m.subject = ?4 AND ${this.#trash.isFree('m')}`;
    const due = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM manifests m WHERE m.digest > ?1 AND m.generation < ?2 ${of} ORDER BY m.digest LIMIT ?3`,
      after,
      before,
      MOVED_AT_A_TIME,
      ...(subject === '' ? [] : [subject]),
    );
    const move = this.#moveOf(departure);
    let rows = 0;
    let last: Digest | null = null;
    const total = { tags: 0, manifests: 0 };
    for (const { digest } of due) {
      if (rows >= rowsMax) break;
      const tagsMax = Math.max(1, Math.ceil((rowsMax - rows) / ROWS_OF_A_TAG));
      const moved = this.#usage.ofDeleted(digest, () => this.#move(digest, move, tagsMax));
      rows += ROWS_OF_A_MANIFEST + ROWS_OF_A_TAG * moved.tags;
      total.tags += moved.tags;
      total.manifests++;
      last = digest;
      // Referrers of a referrer go too.
      if (subject !== '') this.#followReferrers(digest, move);
    }
    this.#count(deletion, total.tags, total.manifests);
    const isDone = due.length < MOVED_AT_A_TIME && last === (due.at(-1)?.digest ?? null);
    this.#trash.departed(departure, isDone ? null : last);
    return { rows, isDone };
  }

  #followReferrers(digest: Digest, move: Move): void {
    if (firstRow(this.#sql, 'SELECT 1 FROM manifests WHERE subject = ? LIMIT 1', digest) !== null)
      this.#depart(digest, move);
  }

  /** Takes a manifest and up to `tagsMax` of its tags away. The alarm removes the other tags, which do not count any more. */
  #move(digest: Digest, move: Move, tagsMax: number): { tags: number } {
    const row = this.#manifests.takeOut(digest);
    if (row === null) return { tags: 0 };
    const { generation, ...manifest } = row;
    const tags = this.#manifests.removeTagsOf(digest, generation, move, tagsMax);
    if (tags === tagsMax && this.#hasTags(digest, generation)) {
      this.#sql.exec(
        'INSERT INTO deleted_manifests (digest, generation, at, deletion) VALUES (?, ?, ?, ?)',
        digest,
        generation,
        move.at,
        move.deletion,
      );
    }
    if (move.deletion === null) this.#links.expire(this.#manifests.forget(digest), Date.now());
    else this.#trash.add(manifest, move.deletion);
    return { tags };
  }

  #hasTags(digest: Digest, generation: number): boolean {
    const query = 'SELECT 1 FROM tags WHERE digest = ? AND generation = ? LIMIT 1';
    return firstRow(this.#sql, query, digest, generation) !== null;
  }

  #depart(subject: Digest | '', { deletion, at }: Move): void {
    this.#trash.create();
    const before = this.#manifests.generationAbove(subject === '' ? null : subject);
    this.#trash.depart({ subject, before, deletion, at });
    if (subject === '') this.#usage.clear();
    else this.#usage.recount();
  }

  /** The untagged referrers of a manifest, and what cosign has tagged for it. */
  #dependentsOf(digest: Digest, going: Going): [Digest, GoesBecause][] {
    const found: [Digest, GoesBecause][] = [];
    const referrers = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM manifests m WHERE m.subject = ? AND ${this.#trash.live('m')} LIMIT ?`,
      digest,
      REFERRERS_AT_ONCE + 1,
    );
    if (referrers.length > REFERRERS_AT_ONCE) going.subjects.push(digest);
    else
      for (const referrer of referrers)
        if (this.#isFree(referrer.digest, going)) found.push([referrer.digest, 'referrer']);
    for (const suffix of COSIGN_SUFFIXES) {
      const tag = `${digest.replace(':', '-')}.${suffix}`;
      const signature = this.#manifests.byTag(tag, false);
      if (signature === null) continue;
      going.tags.set(tag, signature.digest);
      if (this.#isUnneeded(signature.digest, going)) found.push([signature.digest, 'signature']);
    }
    return found;
  }

  #childrenOf(digest: Digest): Digest[] {
    const rows = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM json_each(?) n JOIN manifests m ON m.digest = n.value
       WHERE ${this.#trash.live('m')} AND m.digest IS NOT (SELECT subject FROM manifests WHERE digest = ?)`,
      JSON.stringify(this.#manifests.namesOf(digest)),
      digest,
    );
    return rows.map((row) => row.digest);
  }

  /** Whether only what goes needs a manifest: no other tag, no other index, and no subject that stays. */
  #isUnneeded(digest: Digest, going: Going): boolean {
    const subject = firstRow<{ digest: Digest }>(
      this.#sql,
      `SELECT s.digest FROM manifests m JOIN manifests s ON s.digest = m.subject
       WHERE m.digest = ? AND ${this.#trash.live('s')}`,
      digest,
    );
    return (subject === null || going.manifests.has(subject.digest)) && this.#isFree(digest, going);
  }

  /** Whether only what goes leads to a manifest: no other tag, and no other index. */
  #isFree(digest: Digest, going: Going): boolean {
    if (!this.#isUntagged(digest, going)) return false;
    const naming = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM named_by n JOIN manifests m ON m.digest = n.manifest
       WHERE n.digest = ?1 AND m.subject IS NOT ?1 AND ${this.#trash.live('m')}`,
      digest,
    );
    return naming.every((other) => going.manifests.has(other.digest));
  }

  /** Whether a manifest has no tags but those that go. */
  #isUntagged(digest: Digest, going: Going): boolean {
    const tags = this.#manifests.tagsOf(digest, going.tags.size + 1);
    return tags.every((tag) => going.tags.has(tag));
  }

  #count(deletion: string | null, tags: number, manifests: number): void {
    if (deletion !== null) this.#deletions.count(deletion, { tags, manifests, bytes: 0 });
  }

  #moveOf({ deletion, at }: { deletion: string | null; at: number }): Move {
    const made = deletion === null ? null : this.#deletions.change(deletion);
    return { actor: '', address: '', why: 'delete', ...made, deletion, at };
  }

  /** Whether deleted manifests still have rows of tags. */
  #hasTagsToRemove(): boolean {
    return firstRow(this.#sql, 'SELECT 1 FROM deleted_manifests LIMIT 1') !== null;
  }
}
