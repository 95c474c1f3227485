/**
 * Says of each tag which rule keeps it, or when it expires and why. A survey reads all tags of a repository once, in any order, and
 * learns from them what the counting rules keep. Then it judges each tag. Both passes may stop and continue between any two tags, and
 * a survey holds only the images that the rules count.
 *
 * - Of the policies that cover a tag, the most specific ones decide: first by `repositories`, then by `tags`. An exact name is more
 *   specific than a pattern, a longer text before the first star than a shorter one, and `*` than `**`. Equally specific policies decide
 *   together: the tag is kept if a rule of one of them keeps it, and the longest `after` counts.
 * - A counting rule counts images, among the tags that its policy decides. Tags of one image share a place and are kept together. Images
 *   that are equal at the last place are all kept.
 * - Without a policy that covers it, a tag is kept.
 */
import type { Digest } from '../oci/digest.ts';
import { EVERYTHING, literalPrefix, matches, type Pattern } from '../oci/pattern.ts';
import { Newest } from './newest.ts';
import { DAY_MS, isRetention, type KeepRule, type LifecyclePolicy, type RetentionPolicy } from './policy.ts';
import { immutableBy } from './tags.ts';
import { Top } from './top.ts';

/** What is known of a tag. Times are Unix time in ms. */
export interface TagFacts {
  name: string;
  digest: Digest;
  /** When the tag got this digest. */
  pushedAt: number;
  /** The last pull of the tag, or of its digest; null for never. */
  pulledAt: number | null;
  isRunning: boolean;
  isSigned: boolean;
  /** Of a tag that belongs to another image, such as the tag of a signature: whether that image is in the repository. */
  hasSubject: boolean;
}

export type Verdict = {
  /** A sentence, such as `kept: one of the 10 last pushed of release-*`. */
  why: string;
  /** Id of the policy that decides; null without one. */
  policy: string | null;
} & (
  | {
      state: 'kept';
      /** The time when the rule no longer keeps it, if nothing changes; null where time does not change it. */
      until: number | null;
    }
  | {
      /** No rule keeps it. */
      state: 'expires';
      /** In the past where the next run deletes it. */
      at: number;
    }
);

/** A tag with its verdict. */
export type JudgedTag = Pick<TagFacts, 'name' | 'digest' | 'pushedAt' | 'pulledAt' | 'isRunning'> & Verdict;

/** Whether the next run deletes a tag. `now` is Unix time in ms. */
export function isExpired(tag: Verdict, now: number): boolean {
  return tag.state === 'expires' && tag.at <= now;
}

/** Tags by which clients find what belongs to another image: of cosign, and of the referrers of registries without that API. */
const OF_SUBJECT = /^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})(?:\.[a-z]+)?$/;

/** The image that such a tag belongs to; null for any other tag. */
export function subjectOf(tag: string): Digest | null {
  const [, subject] = OF_SUBJECT.exec(tag) ?? [];
  return subject === undefined ? null : (subject.replace('-', ':') as Digest);
}

type Counting =
  | { kind: 'top'; rule: KeepRule; top: Top; timeOf: (tag: TagFacts) => number | null }
  | { kind: 'newest'; rule: KeepRule; newest: Newest };

/** A policy with the counts of its rules. */
interface Decider {
  policy: RetentionPolicy;
  rank: number[];
  counting: Map<KeepRule, Counting>;
}

/** A reason to keep a tag. */
interface Reason {
  text: string;
  policy: string;
  until: number | null;
}

export class RetentionSurvey {
  readonly #policies: LifecyclePolicy[];
  readonly #deciders: Decider[];
  readonly #now: number;

  /** `policies` are those of the repository (`policiesOf`). `now` is Unix time in ms. */
  constructor(policies: LifecyclePolicy[], now: number) {
    this.#policies = policies;
    this.#now = now;
    this.#deciders = policies
      .filter(isRetention)
      .map((policy) => ({ policy, rank: rankOf(policy), counting: countingOf(policy) }))
      .sort((a, b) => compareRanks(b.rank, a.rank));
  }

  /** Whether a policy decides about tags at all. */
  get isIdle(): boolean {
    return this.#deciders.length === 0;
  }

  /** The first pass: call it once for each tag. */
  see(tag: TagFacts): void {
    if (belongs(tag)) return;
    for (const { counting } of this.#decidersOf(tag.name)) {
      for (const one of counting.values()) {
        if (one.kind === 'newest') one.newest.see(tag.name, tag.digest);
        else one.top.see(tag.digest, one.timeOf(tag));
      }
    }
  }

  /** The second pass, after all tags were seen. */
  verdict(tag: TagFacts): Verdict {
    if (belongs(tag)) {
      const why = `kept: it belongs to ${subjectOf(tag.name)}, and is deleted with it`;
      return { state: 'kept', why, policy: null, until: null };
    }
    const deciders = this.#decidersOf(tag.name);
    const [first] = deciders;
    if (first === undefined)
      return { state: 'kept', why: 'kept: no retention policy covers it', policy: null, until: null };
    const reasons = [
      ...this.#ofImmutable(tag, deciders),
      ...deciders.flatMap((decider) => this.#reasons(decider, tag)),
    ];
    const reason = strongest(reasons);
    // The longest `after` of equally specific policies counts.
    const after = Math.max(...deciders.map((decider) => decider.policy.after));
    const at = tag.pushedAt + after * DAY_MS;
    if (reason === null || (reason.until !== null && reason.until < at)) {
      const why =
        at > this.#now
          ? `expires on ${dayOf(at)}: no rule will keep it, and it will be ${days(after)} old`
          : `expired on ${dayOf(at)}: no rule keeps it, and it was pushed ${this.#ago(tag.pushedAt)}`;
      return { state: 'expires', why, policy: first.policy.id, at };
    }
    const { text, policy, until } = reason;
    const why = until === null ? `kept: ${text}` : `kept until ${dayOf(until)}: ${text}`;
    return { state: 'kept', why, policy, until };
  }

  #decidersOf(tag: string): Decider[] {
    const covers = ({ policy }: Decider) => policy.tags === null || matches(policy.tags, tag);
    const first = this.#deciders.findIndex(covers);
    const rank = this.#deciders[first]?.rank;
    if (rank === undefined) return [];
    const found: Decider[] = [];
    for (let at = first; at < this.#deciders.length; at++) {
      const decider = this.#deciders[at];
      if (decider === undefined || compareRanks(decider.rank, rank) !== 0) break;
      if (covers(decider)) found.push(decider);
    }
    return found;
  }

  #ofImmutable({ name }: TagFacts, deciders: Decider[]): Reason[] {
    const policy = deciders.find((decider) => !decider.policy.deletesImmutable)?.policy.id;
    if (policy === undefined) return [];
    const frozen = immutableBy(this.#policies, name);
    if (frozen === null) return [];
    const text = `it is immutable (lifecycle policy ${frozen.policy}), and policy ${policy} does not delete immutable tags`;
    return [{ text, policy, until: null }];
  }

  #reasons({ policy, counting }: Decider, tag: TagFacts): Reason[] {
    return policy.keep.flatMap((rule) => {
      const counted = counting.get(rule);
      const found = counted === undefined ? this.#ofOne(rule, tag) : ofCount(counted, tag, policy);
      return found === null ? [] : [{ ...found, policy: policy.id }];
    });
  }

  /** Rules that look at nothing but the tag. */
  #ofOne(rule: KeepRule, tag: TagFacts): Omit<Reason, 'policy'> | null {
    if ('matches' in rule)
      return matches(rule.matches, tag.name) ? { text: `it matches ${rule.matches}`, until: null } : null;
    if ('running' in rule) return tag.isRunning ? { text: 'it is reported as running', until: null } : null;
    if ('signed' in rule) return tag.isSigned ? { text: 'it is signed', until: null } : null;
    if ('youngerThan' in rule) {
      const until = tag.pushedAt + rule.youngerThan * DAY_MS;
      const text = `it was pushed ${this.#ago(tag.pushedAt)}, and is kept for ${days(rule.youngerThan)}`;
      return until > this.#now ? { text, until } : null;
    }
    if ('pulledWithin' in rule && tag.pulledAt !== null) {
      const until = tag.pulledAt + rule.pulledWithin * DAY_MS;
      const text = `it was pulled ${this.#ago(tag.pulledAt)}, and is kept for ${days(rule.pulledWithin)} after a pull`;
      return until > this.#now ? { text, until } : null;
    }
    return null;
  }

  /** A time ahead of the clock, after the clock was set back, is now. */
  #ago(time: number): string {
    const passed = Math.floor(Math.max(0, this.#now - time) / DAY_MS);
    return passed === 0 ? 'today' : `${days(passed)} ago`;
  }
}

function belongs({ name, hasSubject }: TagFacts): boolean {
  return hasSubject && subjectOf(name) !== null;
}

function countingOf(policy: RetentionPolicy): Map<KeepRule, Counting> {
  const counting = new Map<KeepRule, Counting>();
  for (const rule of policy.keep) {
    if ('lastPushed' in rule) {
      const top = new Top(rule.lastPushed);
      counting.set(rule, { kind: 'top', rule, top, timeOf: ({ pushedAt }) => pushedAt });
    } else if ('lastPulled' in rule) {
      const top = new Top(rule.lastPulled);
      counting.set(rule, { kind: 'top', rule, top, timeOf: ({ pulledAt }) => pulledAt });
    } else if ('newestOfEachMinor' in rule) {
      counting.set(rule, { kind: 'newest', rule, newest: new Newest(rule.newestOfEachMinor) });
    }
  }
  return counting;
}

function ofCount(
  counting: Counting,
  tag: TagFacts,
  { tags }: RetentionPolicy,
): Omit<Reason, 'policy'> | null {
  const { rule } = counting;
  const among = tags === null ? '' : ` of ${tags}`;
  if (counting.kind === 'top') {
    if (!counting.top.has(tag.digest)) return null;
    const [count, what] =
      'lastPushed' in rule
        ? [rule.lastPushed, 'last pushed']
        : ['lastPulled' in rule ? rule.lastPulled : 0, 'last pulled'];
    return { text: count === 1 ? `the ${what}${among}` : `one of the ${count} ${what}${among}`, until: null };
  }
  const kept = counting.newest.of(tag.digest);
  if (kept === null) return null;
  const { count } = counting.newest;
  const place = count === 1 ? 'the newest' : `one of the ${count} newest`;
  return {
    text: `${place} of ${kept.family}${kept.tag === tag.name ? '' : `, as ${kept.tag}`}`,
    until: null,
  };
}

/** A reason that time does not change, or else the one that lasts longest. */
function strongest(reasons: Reason[]): Reason | null {
  let found: Reason | null = null;
  for (const reason of reasons) {
    if (reason.until === null) return reason;
    if (found === null || reason.until > (found.until ?? 0)) found = reason;
  }
  return found;
}

function rankOf({ repositories, tags }: RetentionPolicy): number[] {
  return [...specificity(repositories), ...specificity(tags ?? EVERYTHING)];
}

function specificity(pattern: Pattern): number[] {
  return [pattern.includes('*') ? 0 : 1, literalPrefix(pattern).length, pattern.includes('**') ? 0 : 1];
}

function compareRanks(a: number[], b: number[]): number {
  for (const [at, one] of a.entries()) {
    const order = one - (b[at] ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}

function days(count: number): string {
  return count === 1 ? '1 day' : `${count} days`;
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}
