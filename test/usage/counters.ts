/** Counts what a repository uses from its rows, without the queries of the registry, and reads its own counters. */
import type { Home } from '../support/homes.ts';

export interface Counters {
  bytes: number;
  trashedBytes: number;
  tags: number;
  manifests: number;
}

type Row = Record<string, string | number | null>;
type Tables = Record<'blobs' | 'manifests' | 'names' | 'tags' | 'departures' | 'repository', Row[]>;

/** Both at one moment: what the repository has counted, and what there is. Null if it has no row. */
export async function countersOf(
  home: Home,
  name: string,
): Promise<{ found: Counters; wanted: Counters; countedTo: string | null } | null> {
  if (await home.isEmpty('REPOSITORY', name)) return null;
  const hasTrash = await home.rows(
    'REPOSITORY',
    name,
    `SELECT 1 FROM sqlite_master WHERE name = 'departures'`,
  );
  const departures = hasTrash.length === 0 ? `'[]'` : listOf('departures', 'subject, before', 'd');
  const [row] = await home.rows(
    'REPOSITORY',
    name,
    `SELECT ${listOf('blobs', 'digest, size', 'b')} AS blobs,
       ${listOf('manifests', 'digest, generation, subject', 'm')} AS manifests,
       ${listOf('manifest_names', 'manifest, digests', 'n')} AS names,
       ${listOf('tags', 'name, digest, generation', 't')} AS tags, ${departures} AS departures,
       ${listOf('repository', 'used_bytes, trashed_bytes, tag_count, manifest_count, count_after', 'r')} AS repository`,
  );
  const tables = Object.fromEntries(
    Object.entries(row ?? {}).map(([table, text]) => [table, JSON.parse(String(text))]),
  ) as Tables;
  const [repository] = tables.repository;
  if (repository === undefined) return null;
  const countedTo = repository.count_after === null ? null : String(repository.count_after);
  const found = {
    bytes: Number(repository.used_bytes),
    trashedBytes: Number(repository.trashed_bytes),
    tags: Number(repository.tag_count),
    manifests: Number(repository.manifest_count),
  };
  return { found, wanted: count(tables, countedTo), countedTo };
}

function listOf(table: string, columns: string, alias: string): string {
  const pairs = columns.split(', ').map((column) => `'${column}', ${alias}.${column}`);
  return `(SELECT json_group_array(json_object(${pairs.join(', ')})) FROM ${table} ${alias})`;
}

/** `countedTo`: only manifests up to this digest count; null for all. */
export function count(tables: Tables, countedTo: string | null): Counters {
  const counts = (digest: unknown) => countedTo === null || String(digest) <= countedTo;
  const isTagged = (manifest: Row) =>
    tables.tags.some((tag) => tag.digest === manifest.digest && tag.generation === manifest.generation);
  const isLeaving = (manifest: Row) =>
    tables.departures.some(
      ({ subject, before }) =>
        Number(before) > Number(manifest.generation) &&
        (subject === '' || (subject === manifest.subject && !isTagged(manifest))),
    );
  const live = tables.manifests.filter((manifest) => counts(manifest.digest) && !isLeaving(manifest));
  const liveDigests = new Set(live.map(({ digest }) => digest));
  const used = new Set<string>();
  const trashed = new Set<string>();
  for (const { manifest, digests } of tables.names.filter(({ manifest }) => counts(manifest)))
    for (const digest of JSON.parse(String(digests)) as string[])
      (liveDigests.has(manifest ?? '') ? used : trashed).add(digest);
  const sum = (isCounted: (digest: string) => boolean) =>
    tables.blobs
      .filter(({ digest }) => isCounted(String(digest)))
      .reduce((bytes, { size }) => bytes + Number(size), 0);
  return {
    bytes: sum((digest) => used.has(digest)),
    trashedBytes: sum((digest) => trashed.has(digest) && !used.has(digest)),
    tags: tables.tags.filter((tag) =>
      live.some(({ digest, generation }) => tag.digest === digest && tag.generation === generation),
    ).length,
    manifests: live.length,
  };
}
