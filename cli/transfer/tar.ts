/**
 * Reads the headers of tar archives: ustar, pax, and GNU's long names and large sizes. It reads no content, so the scan of a file with
 * large entries is quick. POSIX.1-2017, "pax: ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
 */
import type { CommandFailure } from '../failure.ts';
import type { RandomAccess } from './sources/content.ts';
import { sourceFailure } from './sources/failure.ts';

export interface TarEntry {
  readonly path: string;
  /** `sparse`: a file whose holes are left out. `other`: folders, devices and pipes. */
  readonly kind: 'file' | 'link' | 'symlink' | 'sparse' | 'other';
  /** Of links: from the root of the archive. Of symlinks: from the folder of the entry. */
  readonly target: string;
  /** Where the content begins. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

/** Values of the headers that precede an entry. */
interface Extended {
  path?: string;
  target?: string;
  size?: number;
  isSparse?: boolean;
}

const BLOCK_BYTES = 512;
const ENTRIES_MAX = 200_000;
/** Of a header with long names. */
const EXTENDED_MAX_BYTES = 1024 * 1024;

/**
 * The entries in their order. An entry is given when its header was read: its content may still be on its way.
 *
 * Throws a CommandFailure if the archive is damaged, truncated, or no tar archive.
 */
export async function* readTar(access: RandomAccess, name: string): AsyncGenerator<TarEntry> {
  let extended: Extended = {};
  let entries = 0;
  for (let position = 0; ; ) {
    const block = await access.read(position, BLOCK_BYTES);
    // Some programs leave out the two blocks of zeros at the end.
    if (block.length === 0 || (block.length === BLOCK_BYTES && block.every((byte) => byte === 0))) return;
    if (block.length < BLOCK_BYTES) throw position === 0 ? notTar(name) : truncated(name);
    if (!hasChecksum(block))
      throw position === 0 ? notTar(name) : damaged(name, `the header at byte ${position}`);
    entries += 1;
    if (entries > ENTRIES_MAX) {
      throw sourceFailure(
        `${name} has more than ${ENTRIES_MAX} entries, so it is not the archive of an image.\nUse what docker save, podman save or ctr image export wrote.`,
      );
    }
    const type = String.fromCharCode(block[156] ?? 0);
    const stated = extended.size ?? sizeOf(block);
    const size = isHeaderOnly(type) ? 0 : stated;
    const offset = position + BLOCK_BYTES;
    const next = offset + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
    if (!Number.isSafeInteger(size) || size < 0 || !Number.isSafeInteger(next)) {
      throw damaged(name, `the size of the entry at byte ${position}`);
    }
    if ('xgLK'.includes(type)) {
      if (size > EXTENDED_MAX_BYTES) throw damaged(name, `the size of the header at byte ${position}`);
      const content = await access.read(offset, size);
      if (content.length < size) throw truncated(name);
      extended = { ...extended, ...extendedOf(type, content, name) };
    } else {
      yield {
        path: extended.path ?? pathOf(block),
        kind: extended.isSparse === true ? 'sparse' : kindOf(type),
        target: extended.target ?? textOf(block, 157, 100),
        offset,
        size,
      };
      extended = {};
      if (size > 0 && (await access.read(offset + size - 1, 1)).length === 0) throw truncated(name);
    }
    position = next;
  }
}

function kindOf(type: string): TarEntry['kind'] {
  if (type === '0' || type === '\0' || type === '7') return 'file';
  if (type === '1') return 'link';
  if (type === '2') return 'symlink';
  return type === 'S' ? 'sparse' : 'other';
}

/** These have no content, whatever their size says. */
function isHeaderOnly(type: string): boolean {
  return '123456'.includes(type);
}

function hasChecksum(block: Buffer): boolean {
  const stated = octalOf(block.subarray(148, 156));
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (const [at, byte] of block.entries()) {
    if (at >= 148 && at < 156) continue;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  return stated === unsigned || stated === signed;
}

/** NaN if it is no number. */
function sizeOf(block: Buffer): number {
  const field = block.subarray(124, 136);
  const first = field[0] ?? 0;
  if (first < 0x80) return octalOf(field);
  // GNU writes large sizes as big-endian numbers behind a marker. 0xff begins a negative one.
  if (first !== 0x80) return Number.NaN;
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
}

function octalOf(field: Buffer): number {
  const digits = /^[ \0]*([0-7]*)[ \0]*$/.exec(field.toString('latin1'))?.[1];
  if (digits === undefined) return Number.NaN;
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function pathOf(block: Buffer): string {
  const path = textOf(block, 0, 100);
  // GNU's own format has times where ustar has the prefix.
  const prefix = block.toString('latin1', 257, 263) === 'ustar\0' ? textOf(block, 345, 155) : '';
  return prefix === '' ? path : `${prefix}/${path}`;
}

function textOf(block: Buffer, start: number, length: number): string {
  return untilZero(block.subarray(start, start + length));
}

function untilZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

function extendedOf(type: string, content: Buffer, name: string): Extended {
  if (type === 'L') return { path: untilZero(content) };
  if (type === 'K') return { target: untilZero(content) };
  // Global headers have comments, such as git's. Go's archive/tar ignores their values, too.
  return type === 'g' ? {} : paxOf(content, name);
}

/** Records of the form `LENGTH KEY=VALUE\n`. */
function paxOf(content: Buffer, name: string): Extended {
  const found: Extended = {};
  for (let at = 0; at < content.length && content[at] !== 0; ) {
    const space = content.indexOf(0x20, at);
    const digits = content.toString('latin1', at, space === -1 ? at : space);
    const end = at + Number(digits);
    const isValid = /^[1-9]\d{0,7}$/.test(digits) && end > space + 1 && end <= content.length;
    const record = isValid ? content.toString('utf8', space + 1, end - 1) : '';
    const equals = record.indexOf('=');
    if (!isValid || content[end - 1] !== 0x0a || equals <= 0) throw damaged(name, 'a pax header');
    const key = record.slice(0, equals);
    const value = record.slice(equals + 1);
    if (value.includes('\0')) throw damaged(name, 'a pax header');
    if (key === 'path') found.path = value;
    else if (key === 'linkpath') found.target = value;
    else if (key === 'size') found.size = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
    else if (key.startsWith('GNU.sparse.')) found.isSparse = true;
    at = end;
  }
  return found;
}

function notTar(name: string): CommandFailure {
  return sourceFailure(
    `${name} is not a tar archive.\nUse what docker save, podman save or ctr image export wrote.`,
  );
}

export function truncated(name: string): CommandFailure {
  return sourceFailure(
    `${name} ends too early: a part of it is missing.\nCheck that the program that wrote it succeeded and that the disk was not full, then write it again.`,
  );
}

function damaged(name: string, what: string): CommandFailure {
  return sourceFailure(`${name} is damaged: ${what} is invalid.\nWrite it again.`);
}
