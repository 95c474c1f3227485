// Where the Unix sockets of a registry are: in its run folder, which only this user can enter, or in a folder of their own
// where the path would be too long for a socket.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface PrivateSocket {
  readonly path: string;
  /** To be called when nothing listens there any more. */
  remove(): void;
}

/** The path of a socket has 108 bytes on Linux and 104 on macOS. */
const PATH_MAX_BYTES = 100;

/** A path on which nothing listens, also where a crash has left a socket of that name. */
export function privateSocket(runFolder: string, name: string): PrivateSocket {
  const isTooLong = Buffer.byteLength(join(runFolder, name)) > PATH_MAX_BYTES;
  const own = isTooLong ? mkdtempSync(join(tmpdir(), 'longshore-')) : null;
  const path = join(own ?? runFolder, name);
  rmSync(path, { force: true });
  return { path, remove: () => rmSync(own ?? path, { recursive: true, force: true }) };
}
