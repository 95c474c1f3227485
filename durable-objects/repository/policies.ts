/**
 * The lifecycle policies of a repository, as the Catalog has told of them. They are a column of the row of the repository, so a new
 * repository writes no row for them.
 */
import { type EffectivePolicies, isTagsPolicy, type LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import { frozenBy, refusalText, type TagChange } from '../../worker/lifecycle/tags.ts';
import { matchesEach } from '../../worker/oci/pattern.ts';
import type { Author } from '../../worker/oci/upkeep.ts';
import { firstRow } from '../rows.ts';

export class Policies {
  readonly #sql: SqlStorage;
  /** Null if they are not read yet, or if the Catalog has not told of them. */
  #known: EffectivePolicies | null = null;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Null if the Catalog has not told of them yet. */
  get(): EffectivePolicies | null {
    this.#known ??= this.#read();
    return this.#known;
  }

  list(): LifecyclePolicy[] {
    return this.get()?.policies ?? [];
  }

  /** The revision of the policies that the repository knows, -1 for none. */
  revision(): number {
    return this.get()?.revision ?? -1;
  }

  /** Takes what the Catalog tells. Returns what is to be stored; null if nothing has changed. */
  learn(told: EffectivePolicies | null): string | null {
    const before = this.get();
    if (told === null || told.revision <= this.revision()) return null;
    this.#known = told;
    const isChanged = JSON.stringify(told.policies) !== JSON.stringify(before?.policies);
    return isChanged ? JSON.stringify(told) : null;
  }

  /** As `learn`, and stores it. Returns whether the policies have changed. */
  set(told: EffectivePolicies): boolean {
    const text = this.learn(told);
    if (text !== null) this.#sql.exec('UPDATE repository SET policies = ?', text);
    return text !== null;
  }

  /** Why the first of some tags that exist may not be changed; null if all may. They are read only if there are policies. */
  refusal(tags: () => Iterable<string>, change: TagChange, { maintains }: Author): string | null {
    const policies = this.list().filter(isTagsPolicy);
    if (policies.length === 0) return null;
    for (const tag of tags()) {
      const frozen = frozenBy(policies, tag, maintains !== null && matchesEach(maintains, tag));
      if (frozen !== null) return refusalText(tag, frozen, change);
    }
    return null;
  }

  /** The tables are gone. */
  forget(): void {
    this.#known = null;
  }

  #read(): EffectivePolicies | null {
    const row = firstRow<{ policies: string }>(
      this.#sql,
      'SELECT policies FROM repository WHERE policies IS NOT NULL',
    );
    return row === null ? null : (JSON.parse(row.policies) as EffectivePolicies);
  }
}
