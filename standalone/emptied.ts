// Removes the databases of Durable Objects that deleted all their data: workerd keeps an empty file for each. No process may
// have them open.
import { closeSync, openSync, readdirSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The database of an object. Workerd's own `metadata.sqlite` does not match. */
const OBJECT = /^[0-9a-f]{64}\.sqlite$/;
/** A database without tables is one page of this size. */
const PAGE_BYTES = 4096;
/** Offsets on the first page, after the file header: the kind of page, and the number of schema entries. */
const KIND_OFFSET = 100;
const LEAF = 13;
const ENTRIES_OFFSET = 103;

/** Removes the databases in a folder of objects that hold no table. SQLite, "Database File Format", sections 1.3 and 1.6. */
export function removeEmptied(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (!OBJECT.test(name) || statSync(path).size > PAGE_BYTES) continue;
    // The write-ahead log has data that is not in the file yet.
    if ((statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0 || !isEmpty(path)) continue;
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  }
}

function isEmpty(path: string): boolean {
  const page = Buffer.alloc(PAGE_BYTES);
  const file = openSync(path, 'r');
  try {
    const bytes = readSync(file, page, 0, PAGE_BYTES, 0);
    return bytes === 0 || (page[KIND_OFFSET] === LEAF && page.readUInt16BE(ENTRIES_OFFSET) === 0);
  } finally {
    closeSync(file);
  }
}
