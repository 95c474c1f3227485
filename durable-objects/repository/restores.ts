/**
 * Restores what was deleted. Every method is one step of a transaction that `Repository` opens. A restore can be repeated: what is
 * there already stays as it is.
 */
import type { Digest } from '../../worker/oci/digest.ts';
import type { NotRestored, Restored } from '../../worker/oci/upkeep.ts';
import type { Deletions } from './deletions.ts';
import type { History, Move } from './history.ts';
import type { Links } from './links.ts';
import type { Manifests } from './manifests.ts';
import type { Removals } from './removals.ts';
import type { Trash, TrashedRow } from './trash.ts';
import type { Usage } from './usage.ts';

/** Manifests that one step restores, and tags. Each costs several rows. */
const MANIFESTS_AT_A_TIME = 150;
const TAGS_AT_A_TIME = 300;
/** What is restored with a tag: what it names, and what refers to it. */
const TOGETHER_MAX = 1000;
const REFERRERS_MAX = 1000;
const LISTED_MAX = 1000;

/** Where the restore of a deletion goes on. */
interface Place {
  phase: 'manifests' | 'tags';
  after: string;
  force: boolean;
  move: Move;
}

type Found = Pick<Restored, 'tags' | 'tagCount' | 'conflicts'>;

export class Restores {
  readonly #manifests: Manifests;
  readonly #history: History;
  readonly #trash: Trash;
  readonly #deletions: Deletions;
  readonly #links: Links;
  readonly #removals: Removals;
  readonly #usage: Usage;

  constructor(
    manifests: Manifests,
    history: History,
    trash: Trash,
    deletions: Deletions,
    links: Links,
    removals: Removals,
    usage: Usage,
  ) {
    this.#manifests = manifests;
    this.#history = history;
    this.#trash = trash;
    this.#deletions = deletions;
    this.#links = links;
    this.#removals = removals;
    this.#usage = usage;
  }

  /** What a restore of a deletion brings back. */
  preview(id: string, force: boolean): Restored {
    const found: Found = { tags: [], tagCount: 0, conflicts: [] };
    // A tag that has not moved since is not there. The others must be looked at, up to LISTED_MAX.
    const { all, moved } = this.#history.countDeletedBy(id);
    for (const tag of this.#history.movedSince(id, LISTED_MAX)) this.#lookAt(tag, force, found);
    found.tagCount += all - moved;
    for (const { tag, digest } of this.#history.deletedBy(id, '', LISTED_MAX)) {
      if (found.tags.length >= LISTED_MAX) break;
      const isListed = found.tags.some((entry) => entry.tag === tag);
      const isConflict = found.conflicts.some((entry) => entry.tag === tag);
      if (isListed || isConflict || this.#manifests.byTag(tag, false) !== null) continue;
      if (this.#isThere(digest)) found.tags.push({ tag, digest });
      else {
        // Another deletion has taken the manifest since, and is final.
        found.conflicts.push({ tag, digest: null, wanted: digest });
        found.tagCount--;
      }
    }
    found.tags.sort((one, other) => (one.tag < other.tag ? -1 : 1));
    const leaving = this.#removals.countLeaving(id);
    const tagCount = found.tagCount + leaving.tags;
    return {
      ...found,
      tagCount,
      manifestCount: this.#trash.count(id) + leaving.manifests,
      isUnderWay: false,
    };
  }

  /** Begins to restore a deletion, and does the first steps. `move` is the restore. */
  begin(id: string, force: boolean, move: Move): void {
    // What is still on its way to the trash is there again at once.
    if (this.#trash.stay(id)) {
      this.#usage.recount();
      this.#links.showNeeded();
    }
    const place: Place = { phase: 'manifests', after: '', force, move };
    this.#deletions.restored(id, JSON.stringify(place));
    this.step();
    this.step();
  }

  /** Restores some rows of a deletion. */
  step(): void {
    const under = this.#deletions.restoring();
    if (under === null) return;
    const { id } = under;
    if (this.#trash.isLeaving(id)) return;
    const place: Place = JSON.parse(under.after);
    // Only tags that are removed can be restored.
    if (place.phase === 'tags' && this.#removals.hasTagsOf(id)) return;
    const next =
      place.phase === 'manifests' ? this.#restoreManifests(id, place) : this.#restoreTags(id, place);
    this.#deletions.restored(id, next === null ? null : JSON.stringify(next));
  }

  hasSteps(): boolean {
    return this.#trash.exists() && this.#deletions.restoring() !== null;
  }

  /** Points a tag to a digest again, and restores that with what it names and what refers to it. */
  tagTo(tag: string, digest: Digest, move: Move, dryRun: boolean): Restored | NotRestored {
    this.#removals.finish(digest);
    if (!this.#isThere(digest)) return 'gone for good';
    const { rows, isAll } = this.#with(digest);
    const restored = {
      tags: [{ tag, digest }],
      tagCount: 1,
      manifestCount: rows.length,
      conflicts: [],
      isUnderWay: !isAll,
    };
    if (dryRun) return restored;
    for (const row of rows) this.#revive(row);
    this.#removals.finishTag(tag);
    this.#manifests.setTag(tag, digest, move);
    for (const { digest: of } of rows) this.#restoreSignatures(of, move);
    return restored;
  }

  /** What a tag led to before it was deleted; null if it was not. */
  lastOf(tag: string): Digest | null {
    return this.#history.movesOf(tag, null, 2).find((entry) => entry.digest !== null)?.digest ?? null;
  }

  #restoreManifests(id: string, place: Place): Place | null {
    const rows = this.#trash.of(id, place.after, MANIFESTS_AT_A_TIME);
    for (const row of rows) this.#revive(row);
    const last = rows.at(-1);
    if (rows.length === MANIFESTS_AT_A_TIME && last !== undefined) return { ...place, after: last.digest };
    return { ...place, phase: 'tags', after: '' };
  }

  #restoreTags(id: string, place: Place): Place | null {
    const tags = this.#history.deletedBy(id, place.after, TAGS_AT_A_TIME);
    for (const tag of tags) {
      this.#removals.finish(tag.digest);
      if (!this.#lookAt(tag, place.force, { tags: [], tagCount: 0, conflicts: [] })) continue;
      const row = this.#trash.restorable(tag.digest);
      if (row !== null && this.#isDeletedSince(row, place)) continue;
      // Another deletion may have taken the manifest before, and what it names.
      if (row !== null)
        for (const other of this.#with(tag.digest).rows)
          if (!this.#isDeletedSince(other, place)) this.#revive(other);
      this.#manifests.setTag(tag.tag, tag.digest, { ...place.move, at: Date.now() });
    }
    const last = tags.at(-1);
    return tags.length === TAGS_AT_A_TIME && last !== undefined ? { ...place, after: last.tag } : null;
  }

  /** Whether someone has deleted it since this restore began. */
  #isDeletedSince({ deletion }: TrashedRow, { move }: Place): boolean {
    return (this.#deletions.get(deletion)?.at ?? 0) > move.at;
  }

  /** Whether a deleted tag comes back, noted in `found`. */
  #lookAt(
    { tag, seq, digest }: { tag: string; seq: number; digest: Digest },
    force: boolean,
    found: Found,
  ): boolean {
    const now = this.#manifests.byTag(tag, false)?.digest ?? null;
    if (now === digest) return false;
    const hasMoved = now !== null || this.#history.lastOf(tag) !== seq;
    if ((hasMoved && !force) || !this.#isThere(digest)) {
      if (found.conflicts.length < LISTED_MAX) found.conflicts.push({ tag, digest: now, wanted: digest });
      return false;
    }
    found.tagCount++;
    if (found.tags.length < LISTED_MAX) found.tags.push({ tag, digest });
    return true;
  }

  /** Whether a manifest is there or can be restored, also if its row is still to be moved to the trash. */
  #isThere(digest: Digest): boolean {
    if (this.#manifests.byDigest(digest, false) !== null || this.#trash.restorable(digest) !== null)
      return true;
    const id = this.#manifests.leaving(digest)?.deletion ?? null;
    return id !== null && (this.#deletions.get(id)?.undoUntil ?? 0) > Date.now();
  }

  /** The rows in the trash of a manifest, of what it names, and of what refers to these. There may be more: then a repeat finds them. */
  #with(digest: Digest): { rows: TrashedRow[]; isAll: boolean } {
    const found = new Map<Digest, TrashedRow>();
    const seen = new Set<Digest>();
    const queue = [digest];
    for (let next = queue.shift(); next !== undefined && seen.size < TOGETHER_MAX; next = queue.shift()) {
      if (seen.has(next)) continue;
      seen.add(next);
      this.#removals.finishWithReferrers(next, REFERRERS_MAX);
      const row = this.#trash.restorable(next);
      if (row !== null) found.set(next, row);
      // A child that is there has all that it names.
      else if (next !== digest) continue;
      queue.push(...this.#manifests.namesOf(next));
      if (this.#trash.exists())
        queue.push(...this.#trash.referrersOf(next, REFERRERS_MAX).map((referrer) => referrer.digest));
    }
    const isAll = seen.size < TOGETHER_MAX && found.size < REFERRERS_MAX;
    return { rows: [...found.values()], isAll };
  }

  /** Cosign's tags of a manifest that were deleted with it. */
  #restoreSignatures(digest: Digest, move: Move): void {
    for (const suffix of ['sig', 'att', 'sbom']) {
      const tag = `${digest.replace(':', '-')}.${suffix}`;
      if (this.#manifests.byTag(tag, false) !== null) continue;
      const last = this.lastOf(tag);
      const row = last === null ? null : this.#trash.restorable(last);
      if (last === null || row === null) continue;
      this.#revive(row);
      this.#manifests.setTag(tag, last, move);
    }
  }

  #revive(row: TrashedRow): void {
    const { digest } = row;
    this.#usage.ofManifests([digest], [], () => {
      this.#trash.remove(digest);
      this.#manifests.putBack(row);
    });
    this.#links.show(this.#manifests.namesOf(digest));
  }
}
