/**
 * Runs of the retention policies, by the alarm and in steps. A run judges all tags and stores a plan, with the bytes that it frees. Later it
 * applies the plan: each tag is judged again then, so what someone pushed, pulled or signed meanwhile is kept.
 *
 * A step may be cut off anywhere. What is counted is only in memory, and is counted again after that.
 */
import { isInlineKey } from '../../worker/blobs/storage-key.ts';
import { Approval, type Plan, type PlanAction, type PlannedTag } from '../../worker/lifecycle/plan.ts';
import { DAY_MS, isRetention, type LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import { isExpired, type JudgedTag } from '../../worker/lifecycle/retention.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows } from '../rows.ts';
import type { Past } from './past.ts';
import { Plans, TAGS_OF_A_ROW } from './plans.ts';
import type { Pulls } from './pulls.ts';
import type { FreedBlob, Going } from './removals.ts';
import type { Retention } from './retention.ts';

/** The tags of a repository with retention policies are judged at least this often, and no more often than daily. */
const JUDGED_AGAIN_MS = 7 * DAY_MS;
/** After a cancelled plan, the next one is made this much later. */
const CANCELLED_MS = 7 * DAY_MS;
/** A plan that waits for a person is replaced by a new one after this time. */
const APPROVAL_MS = 7 * DAY_MS;
/** Tags that one step deletes, each with about a dozen rows. */
const DELETED_AT_ONCE = 80;
export const ROWS_OF_A_STEP = 12 * DELETED_AT_ONCE;
/** Rows of tags that one step of the count follows, and blobs that it asks the shards about. */
const FOLLOWED_AT_ONCE = 20;
const BLOBS_AT_ONCE = 10_000;
/** Stale rows of pulls that a run removes. */
const STALE_PULLS = 1000;

/** What a run needs of its repository. */
export interface RunHost {
  policies(): LifecyclePolicy[];
  /** Digests that are reported as running. */
  reported(): Promise<Digest[]>;
  /** Changes something in one transaction. */
  change<T>(change: () => T): T;
  /** In bytes: those of these blobs whose content no other repository links. */
  bytesOnlyHere(blobs: FreedBlob[]): Promise<number>;
  /** Called after tags were deleted. */
  deleted(): Promise<void>;
}

/** The count of a plan's bytes. */
interface Count {
  plan: string;
  going: Going;
  /** The next row of tags to follow. Null when all were followed. */
  seq: number | null;
  /** The manifests whose blobs are still to be looked at. */
  manifests: Iterator<Digest>;
  bytes: number;
}

export class Runs {
  readonly plans: Plans;
  readonly #sql: SqlStorage;
  readonly #retention: Retention;
  readonly #past: Past;
  readonly #pulls: Pulls;
  readonly #host: RunHost;
  readonly #delayMs: number;
  #count: Count | null = null;

  /** `delayMs`: how long a plan waits before it is applied. */
  constructor(
    sql: SqlStorage,
    retention: Retention,
    past: Past,
    pulls: Pulls,
    host: RunHost,
    delayMs: number,
  ) {
    this.plans = new Plans(sql);
    this.#sql = sql;
    this.#retention = retention;
    this.#past = past;
    this.#pulls = pulls;
    this.#host = host;
    this.#delayMs = delayMs;
  }

  /** When the next step is due (Unix time, ms); null for never. A time in the past means now. */
  nextDue(now: number): number | null {
    const plan = this.plans.open();
    if (plan?.state === 'applying') return now;
    if (!this.#host.policies().some(isRetention)) return null;
    switch (plan?.state) {
      case undefined:
        return this.plans.dueAt() ?? now;
      case 'waiting':
        return plan.applyAt;
      case 'approval':
        return plan.madeAt + APPROVAL_MS;
      default:
        return now;
    }
  }

  /** Whether the next step deletes tags. */
  deletesNext(now: number): boolean {
    const plan = this.plans.open();
    return plan?.state === 'applying' || (plan?.state === 'waiting' && plan.applyAt <= now);
  }

  /** Does the step that is due. */
  async step(now: number): Promise<void> {
    const plan = this.plans.open();
    switch (plan?.state) {
      case 'counting':
        return this.#countSome(plan, now);
      case 'waiting':
      case 'applying':
        return this.#deleteSome(plan, now);
      case 'approval':
        this.#end(plan, 'replaced');
        return this.#make(now);
      default:
        return this.#make(now);
    }
  }

  /** The policies have changed: a plan that is not being applied is made anew. */
  policiesChanged(): void {
    const plan = this.plans.open();
    if (plan !== null && plan.state !== 'applying') this.#end(plan, 'replaced');
    if (this.plans.exists()) this.plans.setDue(null);
  }

  /** A tag was pushed, which may take the place of another. Returns when the tags are judged then, if that is earlier than before. */
  pushed(now: number): number | null {
    if (!this.plans.exists() || this.plans.open() !== null) return null;
    const due = this.plans.dueAt();
    if (due === null || due <= now + DAY_MS) return null;
    this.plans.setDue(now + DAY_MS);
    return now + DAY_MS;
  }

  /** Null if there is no open plan, or not of this id, or it cannot be changed now. */
  act(action: PlanAction, id: string | null, actor: string, now: number): Plan | null {
    const plan = this.plans.open();
    if (plan === null || (id !== null && plan.id !== id)) return null;
    if (plan.state === 'making' || plan.state === 'counting') return null;
    if (action === 'cancel') {
      this.#end({ ...plan, actor }, 'cancelled');
      this.plans.setDue(now + CANCELLED_MS);
      return this.plans.latest();
    }
    if (plan.state === 'applying' || (action === 'approve' && plan.state !== 'approval')) return null;
    const applyAt = action === 'run' ? now : Math.max(plan.applyAt, now);
    this.plans.update({ ...plan, state: 'waiting', applyAt, actor });
    return this.plans.latest();
  }

  /** The tables are gone. */
  forget(): void {
    this.#count = null;
    this.plans.forget();
  }

  async #make(now: number): Promise<void> {
    const policies = this.#host.policies();
    const reported = await this.#host.reported();
    const id = `${String(now).padStart(15, '0')}-${crypto.randomUUID().slice(0, 8)}`;
    const approval = new Approval(now);
    let waiting: PlannedTag[] = [];
    let rows = 0;
    const write = () => {
      this.#host.change(() => {
        if (rows === 0) this.plans.begin(id, now);
        this.plans.addTags(rows++, waiting);
      });
      waiting = [];
    };
    const total = await this.#retention.run(policies, reported, now, (expired) => {
      for (const tag of expired) {
        approval.see(tag);
        waiting.push(planned(tag));
        if (waiting.length === TAGS_OF_A_ROW) write();
      }
    });
    if (waiting.length > 0) write();
    const next = Math.min(
      Math.max(total.nextAt ?? Number.POSITIVE_INFINITY, now + DAY_MS),
      now + JUDGED_AGAIN_MS,
    );
    this.#host.change(() => {
      this.#pulls.removeStale(STALE_PULLS);
      this.plans.setDue(next);
      const plan = rows === 0 ? null : this.plans.latest();
      if (plan === null || plan.id !== id) return;
      const { tags: of, expired: tags } = total;
      const needed = approval.needed(tags, of);
      this.plans.update({
        ...plan,
        state: 'counting',
        applyAt: now + this.#delayMs,
        tags,
        of,
        approval: needed,
      });
    });
  }

  /** Follows what is deleted with the tags, and adds up the blobs that nothing else needs. */
  async #countSome(plan: Plan, now: number): Promise<void> {
    if (this.#count?.plan !== plan.id) this.#count = newCount(plan.id);
    const count = this.#count;
    for (let rows = 0; count.seq !== null; rows++) {
      if (rows === FOLLOWED_AT_ONCE) return;
      const tags = this.plans.tags(count.seq).map(({ tag }) => tag);
      if (tags.length === 0) {
        for (const subject of count.going.subjects) this.#addReferrers(subject, count.going);
        count.seq = null;
        count.manifests = [...count.going.manifests.keys()].values();
        break;
      }
      this.#past.removals.extend(count.going, { tags });
      count.seq++;
      await scheduler.wait(0);
    }
    const blobs: FreedBlob[] = [];
    let isDone = false;
    while (!isDone && blobs.length < BLOBS_AT_ONCE) {
      const next = count.manifests.next();
      isDone = next.done === true;
      if (!next.done) blobs.push(...this.#freedBy(next.value, count.going.manifests));
    }
    count.bytes += await this.#host.bytesOnlyHere(blobs);
    if (!isDone) return;
    const { bytes, going } = count;
    this.#count = null;
    const latest = this.plans.open();
    if (latest?.id !== plan.id) return;
    const state = latest.approval === null ? 'waiting' : 'approval';
    const applyAt = Math.max(latest.applyAt, now);
    this.plans.update({ ...latest, state, applyAt, manifests: going.manifests.size, bytes });
  }

  /** The blobs in the store that only deleted manifests name, and this one of them first. */
  #freedBy(digest: Digest, going: Map<Digest, unknown>): FreedBlob[] {
    const blobs = allRows<FreedBlob>(
      this.#sql,
      `SELECT b.digest, b.key, b.size FROM json_each(?) n JOIN blobs b ON b.digest = n.value WHERE b.deleted_at IS NULL`,
      JSON.stringify(this.#past.manifests.namesOf(digest)),
    );
    const isFreed = (blob: Digest) => {
      const naming = this.#sql.exec<{ manifest: Digest }>(
        `SELECT n.manifest FROM named_by n JOIN manifests m ON m.digest = n.manifest
         WHERE n.digest = ? AND ${this.#past.trash.live('m')}`,
        blob,
      );
      for (const { manifest } of naming) if (manifest < digest || !going.has(manifest)) return false;
      return true;
    };
    return blobs.filter((blob) => !isInlineKey(blob.key) && isFreed(blob.digest));
  }

  #addReferrers(subject: Digest, going: Going): void {
    const rows = this.#sql.exec<{ digest: Digest }>(
      `SELECT m.digest FROM manifests m WHERE m.subject = ? AND ${this.#past.trash.live('m')}
         AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.digest = m.digest AND t.generation = m.generation)`,
      subject,
    );
    for (const { digest } of rows) going.manifests.set(digest, 'referrer');
  }

  /** Deletes some tags of a plan: those that no rule keeps now either, and that have not moved. */
  async #deleteSome(plan: Plan, now: number): Promise<void> {
    const at = plan.deleted + plan.kept;
    const some = this.plans.page(at, DELETED_AT_ONCE);
    if (some.length === 0) return this.#end(plan, 'applied');
    const names = some.map(({ tag }) => tag);
    const policies = this.#host.policies();
    const judged = await this.#retention.of(policies, await this.#host.reported(), now, names);
    const expired = some.filter(({ tag }) => {
      const verdict = judged.get(tag);
      return verdict !== undefined && isExpired(verdict, now);
    });
    this.#host.change(() => {
      const latest = this.plans.open();
      // Someone has cancelled it.
      if (latest?.id !== plan.id) return;
      const tags = this.#retention.unmoved(expired);
      const removal = { tags };
      const going = this.#past.removals.goingWith(removal, false);
      const freed = this.#past.removals.freedBy(going).reduce((sum, { size }) => sum + size, 0);
      const by = { actor: latest.actor, address: '', why: 'retention' as const };
      const deletion =
        tags.length === 0 ? null : this.#past.remove(removal, going, freed, by, latest.deletion);
      this.plans.update({
        ...latest,
        state: 'applying',
        deleted: latest.deleted + tags.length,
        kept: latest.kept + some.length - tags.length,
        deletion: deletion?.id ?? latest.deletion,
      });
    });
    await this.#host.deleted();
  }

  #end(plan: Plan, state: 'applied' | 'cancelled' | 'replaced'): void {
    this.#count = null;
    this.plans.update({ ...plan, state });
  }
}

function newCount(plan: string): Count {
  const going: Going = { tags: new Map(), manifests: new Map(), subjects: [], unknown: [] };
  return { plan, going, seq: 0, manifests: [].values(), bytes: 0 };
}

function planned({ name: tag, digest, pushedAt, why, policy }: JudgedTag): PlannedTag {
  return { tag, digest, pushedAt, why, policy: policy ?? '' };
}
