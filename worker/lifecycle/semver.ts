/**
 * Tags that are versions (Semantic Versioning 2.0.0). A tag may begin with `v`, and has `_` instead of `+` before build metadata, as
 * Helm writes it. Images also have variants, such as `1.4.2-alpine`: Semantic Versioning would take that for a prerelease.
 */

export interface Version {
  major: number;
  minor: number;
  patch: number;
  /** Such as `rc.1`; empty for a release. */
  prerelease: string;
  /** Such as `alpine3.20` or `slim-bookworm`; empty without one. Versions of different variants are not compared. */
  variant: string;
}

/** Numbers of 15 digits are exact. */
const VERSION = /^v?(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})(?:-([0-9A-Za-z.-]+))?(?:_.*)?$/;

/** Words that begin a prerelease. `1.4.2-rc1`, `1.4.2-beta.3` and `1.4.2-SNAPSHOT` come before 1.4.2. */
const PRERELEASE_WORD =
  /^(?:a|alpha|b|beta|canary|cr|dev|edge|ea|m|milestone|next|nightly|pre|preview|rc|snapshot|test|unstable)(?:[.\d].*)?$/i;
/** As `git describe` ends: no variant, because every commit would be one. */
const COMMIT = /^g?[0-9a-f]{7,40}$/i;
const VARIANT_PART = /^[a-z][a-z0-9.]*$/i;

/** Null for a tag that is not a full version. */
export function parseVersion(tag: string): Version | null {
  const [, major, minor, patch, suffix = ''] = VERSION.exec(tag) ?? [];
  if (major === undefined) return null;
  const { prerelease, variant } = partsOf(suffix);
  if (prerelease !== '' && !isPrerelease(prerelease)) return null;
  return { major: Number(major), minor: Number(minor), patch: Number(patch), prerelease, variant };
}

/** Negative where `a` comes before `b`. Semantic Versioning, section 11. Of the same variant, equal versions give 0. */
export function compareVersions(a: Version, b: Version): number {
  return (
    a.major - b.major ||
    a.minor - b.minor ||
    a.patch - b.patch ||
    comparePrereleases(a.prerelease, b.prerelease)
  );
}

/** The variant is at the end: as many parts, between hyphens, as look like one. */
function partsOf(suffix: string): { prerelease: string; variant: string } {
  const parts = suffix === '' ? [] : suffix.split('-');
  let at = parts.length;
  while (at > 0 && isVariant(parts[at - 1] ?? '')) at--;
  return { prerelease: parts.slice(0, at).join('-'), variant: parts.slice(at).join('-') };
}

function isVariant(part: string): boolean {
  return VARIANT_PART.test(part) && !PRERELEASE_WORD.test(part) && !COMMIT.test(part);
}

/** Section 9: identifiers are not empty, and numeric ones have no leading zeros. */
function isPrerelease(text: string): boolean {
  return text.split('.').every((identifier) => identifier !== '' && !/^0\d+$/.test(identifier));
}

function comparePrereleases(a: string, b: string): number {
  if (a === b) return 0;
  if (a === '') return 1;
  if (b === '') return -1;
  const ours = a.split('.');
  const theirs = b.split('.');
  for (const [at, one] of ours.entries()) {
    const other = theirs[at];
    if (other === undefined) return 1;
    const order = compareIdentifiers(one, other);
    if (order !== 0) return order;
  }
  return ours.length - theirs.length;
}

/** Numbers by value and before texts; texts by their characters. */
function compareIdentifiers(a: string, b: string): number {
  if (a === b) return 0;
  const [isNumber, isOtherNumber] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isNumber && isOtherNumber) return a.length - b.length || (a < b ? -1 : 1);
  if (isNumber !== isOtherNumber) return isNumber ? -1 : 1;
  return a < b ? -1 : 1;
}
