/**
 * The reference model: what the registry must, may and must not answer, by what the clients have sent and heard. What was
 * answered with a success counts; what had no answer may count or not, until it is read.
 */
import type { Blob, Manifest } from './content.ts';
import { Register, type Span, Violation, type Write } from './register.ts';

/** A write that is under way. One of the three is called when it has ended. */
export interface Pending {
  done(span: Span): void;
  refused(): void;
  /** No answer came: it may still be done, for a while. */
  unknown(): void;
}

/** A request whose connection was cut may still be worked on for so long. */
const SETTLES_MS = 120_000;

/**
 * A blob that was pushed again, or found, has half of the grace before it: a link is renewed only then. What the edge answers
 * renews nothing, and may be older by a quarter of the grace.
 */
const PUSHED_GRACES = 1 / 2;
const FOUND_GRACES = 1 / 5;

interface KnownManifest {
  manifest: Manifest;
  there: Register<boolean>;
  /** Start of the last request that proved it to be there. */
  seen: number;
}

/** A delete of a manifest that is under way. */
interface Delete {
  start: number;
  /** The manifest, and its referrers. */
  digests: Set<string>;
  /** The writes of the referrers. */
  taken: Map<string, Write<boolean>>;
}

interface KnownBlob {
  blob: Blob;
  there: Register<boolean>;
  /** Start of the last request that pushed or mounted it, and of the last that found it there. */
  pushed: number;
  found: number;
  referencedBy: KnownManifest[];
}

export class Model {
  readonly repositories: RepositoryModel[];
  /** How long a blob stays that no manifest references, in ms. */
  readonly graceMs: number;
  readonly #underWay = new Set<{ start: number }>();

  constructor(names: string[], tags: string[], graceMs: number) {
    this.graceMs = graceMs;
    this.repositories = names.map((name) => new RepositoryModel(this, name, tags));
  }

  /** Notes a request that begins; `leave` when it has ended. */
  enter(): { start: number } {
    const request = { start: performance.now() };
    this.#underWay.add(request);
    return request;
  }

  leave(request: { start: number }): void {
    this.#underWay.delete(request);
  }

  /** When the oldest request that is under way began. */
  get oldest(): number {
    let oldest = performance.now();
    for (const { start } of this.#underWay) oldest = Math.min(oldest, start);
    return oldest;
  }
}

export class RepositoryModel {
  readonly name: string;
  readonly tags: Map<string, Register<string | null>>;
  readonly manifests = new Map<string, KnownManifest>();
  readonly blobs = new Map<string, KnownBlob>();
  /** A push to it has begun, so that it may be in the catalog; null where none has. */
  touched: number | null = null;
  readonly #model: Model;
  readonly #deletes = new Set<Delete>();

  constructor(model: Model, name: string, tags: string[]) {
    this.#model = model;
    this.name = name;
    this.tags = new Map(tags.map((tag) => [tag, new Register<string | null>(null)]));
  }

  /** Manifests that may be there now. */
  get live(): Manifest[] {
    const now = performance.now();
    return [...this.manifests.values()]
      .filter(({ there }) => there.can(true, now, now))
      .map(({ manifest }) => manifest);
  }

  blobPush(blob: Blob): Pending {
    const known = this.#blob(blob);
    const write = known.there.begin(true, this.#begin());
    return this.#pending([[known.there, write]], () => {
      known.pushed = Math.max(known.pushed, write.start);
    });
  }

  blobDelete(digest: string): Pending {
    const known = this.#knownBlob(digest);
    const write = known.there.begin(false, this.#begin());
    return this.#pending([[known.there, write]], ({ start, end }) => {
      const keeper = known.referencedBy.find(({ there }) => !there.can(false, start, end));
      if (keeper !== undefined)
        throw new Violation(`the blob ${digest} was deleted, and ${keeper.manifest.digest} references it`);
      if (!known.there.can(true, start, end))
        throw new Violation(`the blob ${digest} was deleted, and was not there`);
    });
  }

  manifestPut(manifest: Manifest, tags: string[]): Pending {
    const known = this.#manifest(manifest);
    const start = this.#begin();
    for (const running of this.#deletes) this.#takeAlong(running, manifest);
    const write = known.there.begin(true, start);
    const moved = tags.map((tag) => [this.tag(tag), this.tag(tag).begin(manifest.digest, start)] as const);
    const writes = [[known.there, write] as const, ...moved];
    return this.#pending(writes as [Register<unknown>, Write<unknown>][], (span) => {
      known.seen = Math.max(known.seen, start);
      for (const digest of manifest.blobs) this.#expectThere(this.#knownBlob(digest).there, digest, span);
      for (const digest of manifest.manifests) {
        const child = this.manifests.get(digest);
        if (child !== undefined) this.#expectThere(child.there, digest, span);
      }
    });
  }

  manifestDelete(digest: string): Pending {
    const known = this.manifests.get(digest);
    if (known === undefined) throw new Error(`no client has pushed ${digest}`);
    const start = this.#begin();
    const write = known.there.begin(false, start);
    // It takes along its referrers, unless an index names them.
    const running: Delete = { start, digests: new Set([digest]), taken: new Map() };
    this.#deletes.add(running);
    for (const { manifest } of this.manifests.values()) this.#takeAlong(running, manifest);
    const referrers = running.taken;
    // It takes along the tags that point to it.
    const tags = [...this.tags.values()].map((register) => ({
      register,
      write: register.begin(null, start),
    }));
    return {
      done: (span) => {
        if (!known.there.can(true, span.start, span.end))
          throw new Violation(`the manifest ${digest} was deleted, and was not there`);
        this.#deletes.delete(running);
        Object.assign(write, { end: span.end, replaces: 'everything' });
        for (const taken of referrers.values()) taken.end = span.end;
        for (const { register, write: tag } of tags) {
          register.drop(tag);
          if (!register.can(digest, start, span.end)) continue;
          register.add({ ...tag, end: span.end, replaces: { only: digest } });
        }
      },
      refused: () => {
        this.#deletes.delete(running);
        known.there.drop(write);
        for (const [other, taken] of referrers) this.manifests.get(other)?.there.drop(taken);
        for (const { register, write: tag } of tags) register.drop(tag);
      },
      unknown: () => {
        this.#deletes.delete(running);
        for (const one of [write, ...referrers.values(), ...tags.map(({ write: tag }) => tag)])
          one.end = performance.now() + SETTLES_MS;
      },
    };
  }

  tagDelete(tag: string): Pending {
    const register = this.tag(tag);
    const write = register.begin(null, this.#begin());
    return this.#pending([[register, write]] as [Register<unknown>, Write<unknown>][], ({ start, end }) => {
      if (register.must(null, start, end))
        throw new Violation(`the tag ${tag} was deleted, and was not there`);
    });
  }

  /** A tag was read; null: it is not there. */
  readTag(tag: string, digest: string | null, { start, end }: Span): void {
    const register = this.tag(tag);
    if (!register.can(digest, start, end)) {
      throw new Violation(
        `the tag ${this.name}:${tag} is ${digest} in ${start.toFixed(0)}..${end.toFixed(0)}; it was ${register}`,
      );
    }
    register.read(digest, start, end, this.#model.oldest);
    if (digest !== null) this.readManifest(digest, true, { start, end });
  }

  /** Only whether a tag is there was read. */
  readTagListed(tag: string, listed: boolean, { start, end }: Span): void {
    if (!listed) this.readTag(tag, null, { start, end });
    else if (this.tag(tag).must(null, start, end))
      throw new Violation(`the tag ${this.name}:${tag} is listed, and is not there: ${this.tag(tag)}`);
  }

  readManifest(digest: string, there: boolean, { start, end }: Span): void {
    const known = this.manifests.get(digest);
    if (known === undefined) {
      if (there) throw new Violation(`${this.name} has the manifest ${digest}, which no client has pushed`);
      return;
    }
    if (!known.there.can(there, start, end)) {
      const is = there ? 'is there' : 'is not there';
      throw new Violation(
        `the manifest ${digest} of ${this.name} ${is} in ${start.toFixed(0)}..${end.toFixed(0)}; there: ${known.there}`,
      );
    }
    known.there.read(there, start, end, this.#model.oldest);
    if (there) known.seen = Math.max(known.seen, start);
  }

  readBlob(digest: string, there: boolean, { start, end }: Span): void {
    const known = this.blobs.get(digest);
    if (known === undefined) {
      if (there) throw new Violation(`${this.name} has the blob ${digest}, which no client has pushed`);
      return;
    }
    const may = there ? known.there.can(true, start, end) : this.mayLack(digest, { start, end });
    if (!may) {
      const by = known.referencedBy.map(({ manifest, there: is }) => `${manifest.digest} there: ${is}`);
      throw new Violation(
        `the blob ${digest} (${known.blob.size} bytes) of ${this.name} ${there ? 'is there' : 'is not there'} in ` +
          `${start.toFixed(0)}..${end.toFixed(0)}; there: ${known.there}; referenced by ${by.join(' and ') || 'nothing'}`,
      );
    }
    known.there.read(there, start, end, this.#model.oldest);
    if (there) known.found = Math.max(known.found, start);
  }

  /** Whether a blob or a manifest may be missing: it was not pushed, was deleted, or no manifest kept it. */
  mayLack(digest: string, { start, end }: Span): boolean {
    const manifest = this.manifests.get(digest);
    if (manifest?.there.must(true, start, end)) return false;
    const known = this.blobs.get(digest);
    if (known === undefined || known.there.can(false, start, end)) return true;
    if (known.referencedBy.some(({ there }) => there.must(true, start, end))) return false;
    const { graceMs } = this.#model;
    const kept = Math.max(known.pushed, ...known.referencedBy.map(({ seen }) => seen));
    return end >= Math.max(kept + PUSHED_GRACES * graceMs, known.found + FOUND_GRACES * graceMs);
  }

  /** Whether a manifest may reference the blob. */
  mayReference(digest: string, { start, end }: Span): boolean {
    const known = this.blobs.get(digest);
    return known?.referencedBy.some(({ there }) => there.can(true, start, end)) ?? false;
  }

  tag(name: string): Register<string | null> {
    const register = this.tags.get(name);
    if (register === undefined)
      throw new Violation(`${this.name} has the tag ${name}, which no client has set`);
    return register;
  }

  #pending<T>(writes: [Register<T>, Write<T>][], check: (span: Span) => void): Pending {
    return {
      done: (span) => {
        for (const [, write] of writes) Object.assign(write, { end: span.end, replaces: 'everything' });
        check(span);
      },
      refused: () => {
        for (const [register, write] of writes) register.drop(write);
      },
      unknown: () => {
        for (const [, write] of writes) write.end = performance.now() + SETTLES_MS;
      },
    };
  }

  /** A referrer of what is deleted, also of another referrer, may be deleted too. */
  #takeAlong(running: Delete, { digest, subject }: Manifest): void {
    if (subject === null || !running.digests.has(subject) || running.digests.has(digest)) return;
    running.digests.add(digest);
    running.taken.set(digest, this.#knownManifest(digest).there.begin(false, running.start));
    for (const { manifest } of this.manifests.values()) this.#takeAlong(running, manifest);
  }

  #knownManifest(digest: string): KnownManifest {
    const known = this.manifests.get(digest);
    if (known === undefined) throw new Error(`no client has pushed ${digest}`);
    return known;
  }

  #expectThere(register: Register<boolean>, digest: string, { start, end }: Span): void {
    if (!register.can(true, start, end))
      throw new Violation(
        `a manifest was taken, and ${digest}, which it references, was not there: ${register}`,
      );
    register.read(true, start, end, this.#model.oldest);
  }

  #begin(): number {
    const start = performance.now();
    this.touched ??= start;
    return start;
  }

  #blob(blob: Blob): KnownBlob {
    let known = this.blobs.get(blob.digest);
    if (known === undefined) {
      known = { blob, there: new Register(false), pushed: -Infinity, found: -Infinity, referencedBy: [] };
      this.blobs.set(blob.digest, known);
    }
    return known;
  }

  #knownBlob(digest: string): KnownBlob {
    const known = this.blobs.get(digest);
    if (known === undefined) throw new Error(`no client has pushed the blob ${digest} to ${this.name}`);
    return known;
  }

  #manifest(manifest: Manifest): KnownManifest {
    let known = this.manifests.get(manifest.digest);
    if (known === undefined) {
      known = { manifest, there: new Register(false), seen: -Infinity };
      this.manifests.set(manifest.digest, known);
      for (const digest of manifest.blobs) this.#knownBlob(digest).referencedBy.push(known);
    }
    return known;
  }
}
