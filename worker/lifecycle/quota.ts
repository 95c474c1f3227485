/** Quotas: how much a repository may hold. All policies of kind `quota` that match a repository apply. */
import { isQuota, type LifecyclePolicy } from './policy.ts';

/** What counts against a quota. What is in the trash does not. */
export interface Held {
  bytes: number;
  tags: number;
}

/** Something of a quota: its limit, and how much is used of it. */
export interface QuotaUse {
  /** The id of the policy. */
  policy: string;
  what: keyof Held;
  limit: number;
  used: number;
  hard: boolean;
}

const WHAT = ['bytes', 'tags'] as const;
/** A change that fills more than this part of a quota is an event. */
const WARNED_FROM = 0.85;

/** What all quotas of a repository allow, and what is used of it. */
export function usesOf(policies: LifecyclePolicy[], held: Held): QuotaUse[] {
  return policies.filter(isQuota).flatMap((policy) =>
    WHAT.flatMap((what) => {
      const limit = policy[what];
      return limit === null ? [] : [{ policy: policy.id, what, limit, used: held[what], hard: policy.hard }];
    }),
  );
}

/** The first hard quota that a change exceeds, as it would be after the change. A change that adds nothing exceeds none. */
export function exceededBy(policies: LifecyclePolicy[], before: Held, after: Held): QuotaUse | null {
  const isExceeded = ({ what, used, limit, hard }: QuotaUse) => hard && used > limit && used > before[what];
  return usesOf(policies, after).find(isExceeded) ?? null;
}

/** Quotas of which a change uses more than 85 %, or soft ones that it exceeds, where that was not so before. */
export function crossedBy(policies: LifecyclePolicy[], before: Held, after: Held): QuotaUse[] {
  return usesOf(policies, after).filter(({ what, used, limit }) =>
    [WARNED_FROM * limit, limit].some((line) => before[what] <= line && used > line),
  );
}

/** In bytes: what may still be added; null if no hard quota of bytes applies. */
export function roomIn(policies: LifecyclePolicy[], held: Held): QuotaUse | null {
  const ofBytes = usesOf(policies, held).filter(({ what, hard }) => what === 'bytes' && hard);
  return ofBytes.sort((one, other) => leftOf(one) - leftOf(other))[0] ?? null;
}

/** How much of a quota is left, at least 0. */
export function leftOf({ limit, used }: QuotaUse): number {
  return Math.max(0, limit - used);
}

/** The refusal of a manifest, for its client: what happened, why, what to do. `use` is how it would be with the manifest. */
export function refusedManifest(repository: string, use: QuotaUse): string {
  return `the manifest was not stored: with it, the repository ${repository} would hold ${amount(use.used, use.what)}, ${amount(use.used - use.limit, use.what)} more than its quota of ${quotaOf(use)}. ${toDo(repository)}`;
}

/** The refusal of a blob that does not fit alone. `use` is how it is now. */
export function refusedBlob(repository: string, size: number, use: QuotaUse): string {
  return `the blob was not stored: it has ${amount(size, 'bytes')}, and the repository ${repository} has ${amount(leftOf(use), 'bytes')} left of its quota of ${quotaOf(use)}. ${toDo(repository)}`;
}

/** The refusal of an image whose blobs do not fit. `use` is how it is now. */
export function refusedImage(repository: string, size: number, use: QuotaUse): string {
  return `the image was not promoted: it adds ${amount(size, 'bytes')}, and the repository ${repository} has ${amount(leftOf(use), 'bytes')} left of its quota of ${quotaOf(use)}. ${toDo(repository)}`;
}

/** For the log and the audit log. */
export function crossedText(use: QuotaUse): string {
  const percent = use.limit === 0 ? 100 : Math.floor((100 * use.used) / use.limit);
  return `${percent} % of its ${use.what} are used: ${amount(use.used, use.what)} of ${amount(use.limit, use.what)} (lifecycle policy ${use.policy})`;
}

function quotaOf({ policy, limit, what }: QuotaUse): string {
  return `${amount(limit, what)} (lifecycle policy ${policy})`;
}

function toDo(repository: string): string {
  return `Delete tags that are not needed (longshore rm ${repository}:TAG), or ask an admin for a larger quota`;
}

function amount(count: number, what: keyof Held): string {
  if (what === 'tags') return count === 1 ? '1 tag' : `${count} tags`;
  for (const [unit, bytes] of UNITS) if (count >= bytes) return `${trimmed(count / bytes)} ${unit}`;
  return count === 1 ? '1 byte' : `${count} bytes`;
}

const UNITS = [
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
] as const;

/** With two places after the point, and without zeros at the end. */
function trimmed(value: number): string {
  return String(Math.round(value * 100) / 100);
}
