/** Holds a repository to its quotas. */
import type { Env } from '../../worker/env.ts';
import {
  crossedBy,
  exceededBy,
  type Held,
  leftOf,
  type QuotaUse,
  roomIn,
  usesOf,
} from '../../worker/lifecycle/quota.ts';
import { auditLogOf } from '../../worker/stubs.ts';
import type { Policies } from './policies.ts';
import type { Usage } from './usage.ts';

/** A change is undone, because it exceeds a quota. */
export class OverQuota extends Error {
  override readonly name = 'OverQuota';
  /** As it would be after the change. */
  readonly use: QuotaUse;

  constructor(use: QuotaUse) {
    super('over quota');
    this.use = use;
  }
}

export class Quotas {
  readonly #policies: Policies;
  readonly #usage: Usage;

  constructor(policies: Policies, usage: Usage) {
    this.#policies = policies;
    this.#usage = usage;
  }

  uses(): QuotaUse[] {
    return this.exist() ? usesOf(this.#policies.list(), this.#usage.get()) : [];
  }

  /** The quota of bytes with the least room left; null if there is none. */
  tightest(): QuotaUse | null {
    return this.exist() ? roomIn(this.#policies.list(), this.#usage.get()) : null;
  }

  /** In bytes: what may still be added; null for no limit. */
  room(): number | null {
    const tightest = this.tightest();
    return tightest === null ? null : leftOf(tightest);
  }

  /** What is held now, for `hold`. Null if there are no quotas. */
  before(): Held | null {
    return this.exist() ? this.#usage.get() : null;
  }

  /** Returns the quotas of which a transaction uses more than a warning allows. Throws OverQuota if it exceeds one. */
  hold(before: Held | null): QuotaUse[] {
    if (before === null) return [];
    const policies = this.#policies.list();
    const after = this.#usage.get();
    const exceeded = exceededBy(policies, before, after);
    if (exceeded !== null) throw new OverQuota(exceeded);
    return crossedBy(policies, before, after);
  }

  /** Whether there are quotas. */
  exist(): boolean {
    return this.#policies.list().some(({ kind }) => kind === 'quota');
  }
}

/** Logs that quotas are nearly used, or exceeded. Does not throw. */
export async function recordCrossings(
  env: Env,
  repository: string,
  actor: string,
  address: string,
  texts: string[],
): Promise<void> {
  for (const text of texts) console.warn(`quota of ${repository}: ${text}`);
  const event = { at: Date.now(), actor: actor || 'anonymous', action: 'quota.warning', repository };
  const asked = { address, userAgent: '', requestId: '', count: 1, examples: [] };
  try {
    await auditLogOf(env).record(
      texts.map((rule) => ({ ...event, ...asked, reference: null, decision: 'allowed' as const, rule })),
    );
  } catch (error) {
    console.error('the warning of a quota is not in the audit log', error);
  }
}
