// The command as the registry serves it, and the Nodes that can run it.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { clientPackage } from '../../deploy/client-package.ts';

const BLOCK_BYTES = 512;

/** The program in the package: the content of the second file of its archive. */
export function servedProgram(): Buffer {
  const tar = gunzipSync(clientPackage());
  const sizeAt = (at: number) => Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8);
  const second = BLOCK_BYTES * (1 + Math.ceil(sizeAt(0) / BLOCK_BYTES));
  return tar.subarray(second + BLOCK_BYTES, second + BLOCK_BYTES + sizeAt(second));
}

/** The Node that runs the tests, and another version if one is installed. */
export const NODES: readonly { path: string; version: string }[] = [
  process.execPath,
  ...(process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'node')),
]
  .filter((path) => existsSync(path))
  .map((path) => ({ path, version: execFileSync(path, ['--version'], { encoding: 'utf8' }).trim() }))
  .filter(({ version }, at, all) => all.findIndex((other) => other.version === version) === at);
