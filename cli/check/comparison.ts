// Compares what the objects of a registry know with each other and with what is stored. The records come in the order of the walk: what
// is known first, then what is stored.
import type { Paths } from '../api.ts';

export type CheckRecord =
  Paths['/check/records']['get']['responses'][200]['content']['application/json']['records'][number];
export type Finding =
  Paths['/check/findings']['post']['requestBody']['content']['application/json']['findings'][number];
export interface Leftover {
  id: string;
  uploadId: string | null;
}

type Link = Extract<CheckRecord, { kind: 'link' }>;
type Blob = Extract<CheckRecord, { kind: 'blob' }>;
type Stored = Extract<CheckRecord, { kind: 'stored' }>;

/** Repairs of the first kinds can make findings of the later ones wrong. */
const ORDER: Finding['kind'][] = ['unlinked', 'lost', 'stale', 'left', 'missing'];

export class Comparison {
  /** The uuids of content that something knows. */
  readonly #known = new Set<string>();
  readonly #drafts = new Set<string>();
  /** Content that was not seen in the store yet, by storage key, and whether it must be there. */
  readonly #contents = new Map<string, { digest: string; size: number; isNeeded: boolean }>();
  /** Links that no blob of a repository was seen for. */
  readonly #links = new Map<string, Link>();
  readonly #findings: Finding[] = [];
  readonly #leftovers: Leftover[] = [];
  readonly counts = { contents: 0, links: 0, blobs: 0, stored: 0 };

  add(record: CheckRecord): void {
    switch (record.kind) {
      case 'draft':
        this.#drafts.add(record.id);
        this.#known.add(record.id);
        return;
      case 'content': {
        const { digest, key, size, state, isLeft } = record;
        this.counts.contents++;
        this.#known.add(idOf(key));
        if (state !== 'deleting') this.#contents.set(key, { digest, size, isNeeded: state === 'stored' });
        if (isLeft) this.#findings.push({ kind: 'left', digest, key });
        return;
      }
      case 'link':
        this.counts.links++;
        this.#links.set(record.link, record);
        return;
      case 'blob':
        this.#addBlob(record);
        return;
      case 'missing': {
        const { repository, manifest, digest } = record;
        this.#findings.push({ kind: 'missing', repository, manifest, digest });
        return;
      }
      case 'stored':
        this.#addStored(record);
        return;
      case 'multipart':
        if (record.isOld && !this.#drafts.has(record.id))
          this.#leftovers.push({ id: record.id, uploadId: record.uploadId });
    }
  }

  /** What does not fit, once all records were added. */
  end(): { findings: Finding[]; leftovers: Leftover[] } {
    for (const [key, { digest, size, isNeeded }] of this.#contents) {
      if (isNeeded) this.#findings.push({ kind: 'lost', digest, key, size });
    }
    for (const { digest, key, repository, link, settled } of this.#links.values()) {
      if (settled) this.#findings.push({ kind: 'stale', digest, key, repository, link });
    }
    // Content seems to have no link where the link of a blob is what is missing.
    const unlinked = new Set(this.#findings.flatMap((one) => (one.kind === 'unlinked' ? [one.key] : [])));
    const findings = this.#findings.filter((one) => one.kind !== 'left' || !unlinked.has(one.key));
    findings.sort((one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
    return { findings, leftovers: this.#leftovers };
  }

  #addBlob({ repository, digest, key, size, link }: Blob): void {
    this.counts.blobs++;
    this.#known.add(idOf(key));
    const content = this.#contents.get(key);
    if (content?.digest === digest) content.isNeeded = true;
    const held = this.#links.get(link);
    const isHeld = held?.digest === digest && held.key === key && held.repository === repository;
    if (isHeld) this.#links.delete(link);
    if (!isHeld || !held.hasContent)
      this.#findings.push({ kind: 'unlinked', digest, key, repository, link, size });
  }

  #addStored({ id, isOld, keys }: Stored): void {
    this.counts.stored++;
    for (const { key, size } of keys) {
      const content = this.#contents.get(key);
      if (content?.size === size) this.#contents.delete(key);
    }
    if (isOld && !this.#known.has(id)) this.#leftovers.push({ id, uploadId: null });
  }
}

function idOf(key: string): string {
  return key.split('/')[1] ?? '';
}
