/**
 * The past of a repository: what was deleted, and can be restored. Brings the parts together. Every method is one step of a transaction
 * that `Repository` opens.
 */
import type { ManifestAnswer } from '../../worker/objects/repository.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import type {
  Act,
  Deletion,
  NotRestored,
  Removal,
  Restoration,
  Restored,
  RestoreOptions,
} from '../../worker/oci/upkeep.ts';
import { firstRow } from '../rows.ts';
import { Deletions } from './deletions.ts';
import { History } from './history.ts';
import type { Links } from './links.ts';
import { Manifests } from './manifests.ts';
import { type Going, Removals } from './removals.ts';
import { Restores } from './restores.ts';
import { Trash } from './trash.ts';
import { Untagged } from './untagged.ts';
import { Usage } from './usage.ts';

/** Old rows of the history are removed together, after a day. */
const HISTORY_SWEEP_MS = 24 * 3600 * 1000;
/** About how many rows one step of one kind of work writes. */
const STEP_ROWS = 1000;
/** Manifests that one step deletes for good, at most. */
const PURGED_AT_A_TIME = 150;
/** About how many rows such a manifest costs, and each blob or manifest that it names. */
const ROWS_OF_A_PURGED = 5;
const ROWS_OF_A_NAME = 3;
/** Names that the row of a deletion keeps. */
const NAMES_MAX = 20;

export class Past {
  readonly manifests: Manifests;
  readonly history: History;
  readonly trash: Trash;
  readonly deletions: Deletions;
  readonly removals: Removals;
  readonly untagged: Untagged;
  readonly usage: Usage;
  readonly #restores: Restores;
  readonly #links: Links;
  readonly #sql: SqlStorage;
  readonly #undoMs: number;
  readonly #untaggedAfter: () => number | null;

  /**
   * `undoMs`: how long a deletion can be undone. `untaggedAfter`: after how long untagged manifests are deleted, in ms, or null for never.
   */
  constructor(sql: SqlStorage, links: Links, undoMs: number, untaggedAfter: () => number | null) {
    this.#sql = sql;
    this.#links = links;
    this.#undoMs = undoMs;
    this.#untaggedAfter = untaggedAfter;
    this.history = new History(sql);
    this.trash = new Trash(sql);
    this.usage = new Usage(sql, this.trash);
    this.manifests = new Manifests(sql, this.history, this.trash, this.usage);
    this.deletions = new Deletions(sql);
    this.untagged = new Untagged(sql, this.trash, undoMs);
    this.removals = new Removals(sql, this.manifests, this.trash, this.deletions, links, this.usage);
    this.#restores = new Restores(
      this.manifests,
      this.history,
      this.trash,
      this.deletions,
      links,
      this.removals,
      this.usage,
    );
  }

  /**
   * Deletes what goes; null for everything. `bytes` are those of blobs that go with it. `joined` is an earlier deletion that this one
   * continues. Returns null where deletions cannot be undone.
   */
  remove(
    removal: Removal,
    going: Going | null,
    bytes: number,
    { actor, address, why }: Act,
    joined: string | null,
  ): Deletion | null {
    const at = Date.now();
    const id = this.#undoMs === 0 ? null : this.#idOf(joined);
    const move = { actor, address, why, at, deletion: id };
    const counts = going === null ? { tags: 0, manifests: 0 } : this.removals.remove(going, move);
    if (going === null) {
      this.removals.removeAll(move);
      this.#sql.exec('UPDATE repository SET cleared_at = ?', at);
    }
    if (id === null) return null;
    if (id === joined) this.deletions.count(id, { ...counts, bytes });
    else {
      const { all = false, tags = [], manifests = [] } = removal;
      const what = all ? 'repository' : manifests.length > 0 ? 'manifests' : 'tags';
      const names = [...tags, ...manifests].slice(0, NAMES_MAX);
      const undoUntil = at + this.#undoMs;
      this.deletions.add({ id, at, actor, address, why, what, names, ...counts, bytes, undoUntil });
    }
    return this.deletions.get(id);
  }

  /** What a tag led to at a time (Unix time, ms), if that is not gone for good. Clients may read it, and what it names, for a while. */
  byTime(tag: string, at: number, withBytes: boolean, now: number): ManifestAnswer | null {
    const digest = this.manifests.tagAt(tag, at);
    if (digest === null) return null;
    const live = this.manifests.byDigest(digest, withBytes);
    if (live === null) this.#lend([digest], now);
    this.#lend(this.manifests.namesOf(digest), now);
    return live ?? this.manifests.lent(digest, withBytes, now);
  }

  /** A manifest in the trash that a client may read, and then what it names. */
  lent(digest: Digest, withBytes: boolean, now: number): ManifestAnswer | null {
    const found = this.manifests.lent(digest, withBytes, now);
    if (found !== null) this.#lend(this.manifests.namesOf(digest), now);
    return found;
  }

  restore(what: Restoration, { force, dryRun, actor, address, why }: RestoreOptions): Restored | NotRestored {
    const move = { actor, address, why, at: Date.now(), deletion: null };
    if ('deletion' in what) {
      const { deletion: id } = what;
      const found = this.trash.exists() ? this.deletions.get(id) : null;
      if (found === null || found.undoUntil <= move.at) return 'no deletion';
      const restored = this.#restores.preview(id, force);
      if (dryRun) return restored;
      this.#restores.begin(id, force, move);
      return { ...restored, isUnderWay: this.deletions.get(id)?.state === 'restoring' };
    }
    const { tag, at, digest } = what;
    const now = this.manifests.byTag(tag, false)?.digest ?? null;
    if (now !== null && at === null && digest === null) return 'the tag is there';
    const wanted = digest ?? (at === null ? this.#restores.lastOf(tag) : this.manifests.tagAt(tag, at));
    return wanted === null ? 'no such tag then' : this.#restores.tagTo(tag, wanted, move, dryRun);
  }

  /** Tags that are there, and that a restore moves. */
  movedBy(what: Restoration, { force }: RestoreOptions): string[] {
    if ('tag' in what) return this.manifests.byTag(what.tag, false) === null ? [] : [what.tag];
    if (!force || !this.trash.exists()) return [];
    return this.#restores
      .preview(what.deletion, false)
      .conflicts.filter(({ digest }) => digest !== null)
      .map(({ tag }) => tag);
  }

  /** Deletes for good what a deletion has deleted, in steps. */
  purge(id: string, dryRun: boolean): Deletion | null {
    const found = this.trash.exists() ? this.deletions.get(id) : null;
    if (found === null || dryRun) return found;
    this.deletions.end(id, Date.now());
    this.#purgeSome(id, true, STEP_ROWS);
    return found;
  }

  /** About how many rows the next step writes; 0 if there is nothing to do. */
  rowsToWrite(now: number): number {
    const nextDue = this.trash.exists() ? this.deletions.nextDue() : null;
    const isDue = nextDue !== null && nextDue <= now;
    const kinds = [
      this.removals.hasSteps(),
      this.trash.exists() && this.#restores.hasSteps(),
      isDue,
      this.isUntaggedDue(now),
    ];
    return STEP_ROWS * kinds.filter(Boolean).length;
  }

  /** Does the next step of what is left to do. */
  step(now: number): void {
    this.removals.step();
    if (!this.trash.exists()) return;
    this.#restores.step();
    // Small ones together.
    for (let left = STEP_ROWS; left > 0; ) {
      const due = this.deletions.due(now);
      if (due === null) return;
      const { rows, isDone } = this.#purgeSome(due.id, due.isPurged, left);
      if (!isDone) return;
      left -= rows;
    }
  }

  /** Removes old rows of the history. */
  sweep(now: number): void {
    if (this.history.hasToFill()) this.history.fill();
    else this.history.removeOld(Math.min(now - this.#historyMs(), this.#firstDeletion()));
  }

  isUntaggedDue(now: number): boolean {
    return this.#untaggedAfter() !== null && this.untagged.nextDue() <= now;
  }

  /** Deletes manifests that lost their last tag long ago: the next ones. `reported` are digests that run. */
  collectUntagged(reported: Digest[], now: number): void {
    const after = this.#untaggedAfter();
    if (after === null) return;
    const { digests: manifests, last } = this.untagged.find(after, reported, now);
    let deletion = this.untagged.deletion();
    if (manifests.length > 0) {
      const removal = { manifests };
      const going = this.removals.goingWith(removal, false);
      const bytes = this.removals.freedBy(going).reduce((sum, { size }) => sum + size, 0);
      const by = { actor: '', address: '', why: 'retention' } as const;
      deletion = this.remove(removal, going, bytes, by, deletion)?.id ?? null;
    }
    this.untagged.went(last, deletion, now);
  }

  /** When there is something to do that no one waits for (Unix time, ms). */
  nextDue(now: number): number | null {
    if (this.history.hasToFill()) return now;
    const oldest = this.history.oldest();
    const isNeeded = oldest === null || oldest >= this.#firstDeletion();
    const historyDue = isNeeded ? null : oldest + this.#historyMs() + HISTORY_SWEEP_MS;
    const deletionDue = this.trash.exists() ? this.deletions.nextDue() : null;
    const untaggedDue = this.#untaggedAfter() === null ? null : this.untagged.nextDue();
    const due = [historyDue, deletionDue, untaggedDue].filter((at) => at !== null);
    return due.length === 0 ? null : Math.min(...due);
  }

  /** When a move of a tag that happens now is forgotten. */
  forgottenAt(now: number): number {
    return now + this.#historyMs() + HISTORY_SWEEP_MS;
  }

  /** Whether something can be restored, or a time of the past can be asked for. */
  holdsSomething(now: number): boolean {
    if (this.trash.exists()) {
      const query =
        'SELECT EXISTS (SELECT 1 FROM deletions) OR EXISTS (SELECT 1 FROM trashed_manifests) AS something';
      if (firstRow<{ something: number }>(this.#sql, query)?.something === 1) return true;
    }
    const query = 'SELECT MAX(until) AS latest FROM tag_history WHERE until IS NOT NULL';
    const latest = firstRow<{ latest: number | null }>(this.#sql, query)?.latest ?? null;
    return latest !== null && this.#undoMs > 0 && latest >= now - this.#undoMs;
  }

  /** When the first of the deletions was made whose tags can be restored (Unix time, ms): the history since then says what they led to. */
  #firstDeletion(): number {
    return (this.trash.exists() ? this.deletions.first() : null) ?? Number.POSITIVE_INFINITY;
  }

  #lend(digests: Digest[], now: number): void {
    // What is on its way to the trash must be there.
    if (this.trash.hasDepartures()) for (const digest of digests) this.removals.finish(digest);
    this.trash.lend(digests, now);
  }

  /** How long the history is kept: it also says when a manifest lost its last tag. */
  #historyMs(): number {
    return Math.max(this.#undoMs, this.#untaggedAfter() ?? 0);
  }

  /** The id of a deletion: that of the earlier one, if it is still there, or a new one. */
  #idOf(joined: string | null): string {
    this.trash.create();
    if (joined !== null && this.deletions.get(joined) !== null) return joined;
    return this.manifests.nextGeneration().toString(36);
  }

  /** `isPurged`: someone asked for it, so of the blobs only those are kept that a client has pushed since. */
  #purgeSome(id: string, isPurged: boolean, rowsMax: number): { rows: number; isDone: boolean } {
    const { state, at } = this.deletions.get(id) ?? { state: 'deleted', at: 0 };
    // Its restore began in time.
    if (state === 'restoring') return { rows: 0, isDone: false };
    const due = this.trash.of(id, '', PURGED_AT_A_TIME);
    let rows = 1;
    for (const { digest } of due) {
      if (rows >= rowsMax) return { rows, isDone: false };
      const names = this.usage.ofDeleted(digest, () => {
        this.trash.remove(digest);
        return this.manifests.forget(digest);
      });
      if (isPurged) this.#links.removeUnreferenced(names, at);
      this.#links.expire(names, Date.now());
      rows += ROWS_OF_A_PURGED + ROWS_OF_A_NAME * names.length;
    }
    const isDone = due.length < PURGED_AT_A_TIME && state !== 'deleting';
    if (isDone) this.deletions.remove(id);
    return { rows, isDone };
  }
}
