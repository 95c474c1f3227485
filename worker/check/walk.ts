/**
 * Reads everything that the check compares, in pages: first what the objects know, then what is in the store. It writes nothing, and
 * keeps nothing between two pages.
 *
 * The store comes last. So content that is in the store for longer than the check runs, and that nothing knew, is in no use.
 */
import { blobStore } from '../blob-store.ts';
import type { StoredEntry } from '../blobs/store.ts';
import type { Env } from '../env.ts';
import type {
  Inventory,
  InventoryPlace,
  KnownBlob,
  KnownContent,
  KnownDraft,
  KnownLink,
  MissingName,
} from '../objects/check.ts';
import { OciError } from '../oci/errors.ts';
import type { MultipartUpload, MultipartUploads } from '../s3/multipart-uploads.ts';
import { Calls } from './calls.ts';
import { ask, firstPlace, type Place, Places } from './places.ts';

/** Rows that one call reads, and records of one page from which on it ends. */
const ROWS_AT_A_TIME = 1000;
const RECORDS_MAX = 4000;

export type CheckRecord =
  | KnownDraft
  | KnownContent
  | KnownLink
  | (KnownBlob & { repository: string })
  | (MissingName & { repository: string })
  | ({ kind: 'stored' } & StoredEntry)
  | ({ kind: 'multipart' } & MultipartUpload);

export interface CheckPage {
  records: CheckRecord[];
  /** Where the next page begins; null on the last page. */
  next: string | null;
}

type Cursor =
  | (Place & { from: InventoryPlace | null })
  | { kind: 'store'; from: string }
  | { kind: 'multiparts'; from: string[] | null };

/**
 * The page that begins at `next` of the page before, or the first (null). `multiparts` is null where they cannot be listed.
 *
 * Throws INPUT_INVALID for another text.
 */
export async function walk(
  env: Env,
  multiparts: MultipartUploads | null,
  next: string | null,
  count: number,
): Promise<CheckPage> {
  const calls = new Calls(count);
  const places = new Places(env);
  const records: CheckRecord[] = [];
  let at: Cursor | null = next === null ? { ...firstPlace(env), from: null } : cursorOf(next);
  while (at !== null && records.length < RECORDS_MAX) {
    const step: { records: CheckRecord[]; next: Cursor | null } | null =
      at.kind === 'store' || at.kind === 'multiparts'
        ? await readStored(env, multiparts, at, calls)
        : await readKnown(env, places, at, calls);
    if (step === null) break;
    records.push(...step.records);
    at = step.next;
  }
  return { records, next: at === null ? null : JSON.stringify(at) };
}

/** Null if no call is left. */
async function readKnown(
  env: Env,
  places: Places,
  at: Place & { from: InventoryPlace | null },
  calls: Calls,
): Promise<{ records: CheckRecord[]; next: Cursor | null } | null> {
  if (!calls.take()) return null;
  const { entries, next } = await ask<Inventory<CheckRecord>>(env, at, {
    session: (session) => session.inventory(at.from, ROWS_AT_A_TIME),
    shard: (shard) => shard.inventory(at.from, ROWS_AT_A_TIME),
    repository: async (repository, name) => {
      const page = await repository.inventory(at.from, ROWS_AT_A_TIME);
      return { ...page, entries: page.entries.map((entry) => ({ ...entry, repository: name })) };
    },
  });
  if (next !== null) return { records: entries, next: { ...at, from: next } };
  const following = await places.after(at);
  return {
    records: entries,
    next: following === null ? { kind: 'store', from: '' } : { ...following, from: null },
  };
}

/** Null if no call is left. */
async function readStored(
  env: Env,
  multiparts: MultipartUploads | null,
  at: Exclude<Cursor, Place>,
  calls: Calls,
): Promise<{ records: CheckRecord[]; next: Cursor | null } | null> {
  if (!calls.take()) return null;
  if (at.kind === 'store') {
    const { entries, next } = await blobStore(env).list(at.from, ROWS_AT_A_TIME);
    const records = entries.map((entry) => ({ kind: 'stored' as const, ...entry }));
    if (next !== null) return { records, next: { kind: 'store', from: next } };
    return { records, next: multiparts === null ? null : { kind: 'multiparts', from: null } };
  }
  if (multiparts === null) return { records: [], next: null };
  const { entries, next } = await multiparts.list(at.from, '');
  return {
    records: entries.map((entry) => ({ kind: 'multipart', ...entry })),
    next: next === null ? null : { kind: 'multiparts', from: next },
  };
}

function cursorOf(text: string): Cursor {
  try {
    const cursor = JSON.parse(text) as Cursor;
    const isPlace = ['session', 'shard', 'repository'].includes(cursor.kind);
    if (isPlace && 'name' in cursor && typeof cursor.name === 'string' && isKey(cursor.from)) return cursor;
    if (cursor.kind === 'store' && typeof cursor.from === 'string') return cursor;
    if (cursor.kind === 'multiparts' && isKey(cursor.from)) return cursor;
  } catch {
    // It is no JSON.
  }
  throw new OciError('INPUT_INVALID', { message: 'after: is `next` of the page before' });
}

function isKey(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.every((part) => typeof part === 'string'));
}
