/** Plans: what a run of the retention policies is about to delete. It is stored first, and applied later unless someone cancels it. */
import type { Digest } from '../oci/digest.ts';
import { DAY_MS } from './policy.ts';
import type { JudgedTag } from './retention.ts';

/**
 * `making`: tags are judged. `counting`: the bytes are counted. `waiting`: it is applied at `applyAt`. `approval`: it waits for a person.
 * `applying`: tags are being deleted. The others are ends.
 */
export type PlanState =
  | 'making'
  | 'counting'
  | 'waiting'
  | 'approval'
  | 'applying'
  | 'applied'
  | 'cancelled'
  | 'replaced';

/** Times are Unix time in ms. */
export interface Plan {
  id: string;
  state: PlanState;
  madeAt: number;
  /** When it is applied, unless it is cancelled first. */
  applyAt: number;
  /** The tags that it deletes, of how many that the repository has. */
  tags: number;
  of: number;
  /** The manifests that are deleted with them. */
  manifests: number;
  /** In bytes: what the store frees. Blobs that another repository links are not in it. */
  bytes: number;
  /** Why it waits for a person; null if it does not. */
  approval: string | null;
  /** Tags that were deleted so far, and tags that a rule kept after all. */
  deleted: number;
  kept: number;
  /** The id of the deletion, by which it can be undone; null before that, and where deletions cannot be undone. */
  deletion: string | null;
  /** Who approved, ran or cancelled it; empty if no one did. */
  actor: string;
}

/** A tag that a plan deletes. */
export interface PlannedTag {
  tag: string;
  digest: Digest;
  pushedAt: number;
  why: string;
  policy: string;
}

export type PlanAction = 'cancel' | 'approve' | 'run';

/** A plan that deletes more than this part of the tags waits for a person. */
const PART_MAX = 0.3;
/** So does one that deletes a tag that was pulled within these days. */
const PULLED_WITHIN_DAYS = 7;

/** Finds out whether a plan waits for a person. */
export class Approval {
  readonly #now: number;
  #pulled: string | null = null;
  #running: string | null = null;

  constructor(now: number) {
    this.#now = now;
  }

  see({ name, pulledAt, isRunning }: Pick<JudgedTag, 'name' | 'pulledAt' | 'isRunning'>): void {
    if (isRunning) this.#running ??= name;
    if (pulledAt !== null && pulledAt > this.#now - PULLED_WITHIN_DAYS * DAY_MS) this.#pulled ??= name;
  }

  /** Why a person must approve the plan; null if nobody must. */
  needed(tags: number, of: number): string | null {
    if (this.#running !== null) return `the tag ${this.#running} is reported as running`;
    if (this.#pulled !== null)
      return `the tag ${this.#pulled} was pulled within the last ${PULLED_WITHIN_DAYS} days`;
    return tags > of * PART_MAX
      ? `it deletes ${tags} of ${of} tags, which is more than ${PART_MAX * 100} %`
      : null;
  }
}
