// Paths for the Unix sockets of a registry: in its run folder, which only this user can enter, or in a temporary folder if the
// path would be too long for a socket.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface PrivateSocket {
  readonly path: string;
  /** Call it when the server has closed. */
  remove(): void;
}

/** The path of a socket has 108 bytes on Linux and 104 on macOS. */
const PATH_MAX_BYTES = 100;

/** A free path. A socket of the same name that a crash left is removed. */
export function privateSocket(runFolder: string, name: string): PrivateSocket {
  const isTooLong = Buffer.byteLength(join(runFolder, name)) > PATH_MAX_BYTES;
  const own = isTooLong ? mkdtempSync(join(tmpdir(), 'longshore-')) : null;
  const path = join(own ?? runFolder, name);
  rmSync(path, { force: true });
  return { path, remove: () => rmSync(own ?? path, { recursive: true, force: true }) };
}
