/**
 * The newest versions of each minor version, as many as a rule keeps. Variants are counted apart. Prereleases take no place of a
 * release: they have places of their own while they are newer than the newest release of their minor version.
 */
import type { Digest } from '../oci/digest.ts';
import { compareVersions, parseVersion, type Version } from './semver.ts';

/** Versions that are equal, such as `1.4.2` and `v1.4.2`, share a place. */
interface Place {
  version: Version;
  images: { digest: Digest; tag: string }[];
}

interface Family {
  releases: Place[];
  prereleases: Place[];
}

/** What keeps an image: the minor version, such as `1.4` or `1.4-alpine`, and the tag that is a version of it. */
export interface NewestOf {
  family: string;
  tag: string;
}

export class Newest {
  readonly count: number;
  readonly #families = new Map<string, Family>();
  #kept: Map<Digest, NewestOf> | null = null;

  constructor(count: number) {
    this.count = count;
  }

  see(tag: string, digest: Digest): void {
    const version = parseVersion(tag);
    if (version === null) return;
    this.#kept = null;
    const name = nameOf(version);
    let family = this.#families.get(name);
    if (family === undefined) {
      family = { releases: [], prereleases: [] };
      this.#families.set(name, family);
    }
    const places = version.prerelease === '' ? family.releases : family.prereleases;
    insert(places, version, { digest, tag });
    if (places.length > this.count) places.pop();
  }

  /** What keeps an image; null if nothing does. */
  of(digest: Digest): NewestOf | null {
    this.#kept ??= this.#all();
    return this.#kept.get(digest) ?? null;
  }

  #all(): Map<Digest, NewestOf> {
    const kept = new Map<Digest, NewestOf>();
    for (const [family, { releases, prereleases }] of this.#families) {
      const [newest] = releases;
      const coming = prereleases.filter(
        ({ version }) => newest === undefined || compareVersions(version, newest.version) > 0,
      );
      for (const { images } of [...releases, ...coming])
        for (const { digest, tag } of images) if (!kept.has(digest)) kept.set(digest, { family, tag });
    }
    return kept;
  }
}

/** The newest version is first. */
function insert(places: Place[], version: Version, image: Place['images'][number]): void {
  for (const [at, place] of places.entries()) {
    const order = compareVersions(version, place.version);
    if (order === 0) place.images.push(image);
    if (order > 0) places.splice(at, 0, { version, images: [image] });
    if (order >= 0) return;
  }
  places.push({ version, images: [image] });
}

function nameOf({ major, minor, variant }: Version): string {
  return `${major}.${minor}${variant === '' ? '' : `-${variant}`}`;
}
