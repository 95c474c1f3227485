// Images in containerd, by `ctr image export`. ctr finds its server and namespace by CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { CommandFailure } from '../../failure.ts';
import { deferred } from '../deferred.ts';
import type { Source, SourceOptions } from '../source.ts';
import { sourceFailure } from './failure.ts';
import { openArchiveStream } from './open-archive.ts';

type Child = ChildProcessByStdio<null, Readable, Readable>;

const ERRORS_MAX_BYTES = 4096;

/** Throws a CommandFailure if ctr is not installed, or if containerd does not have the image. */
export async function openContainerdImage(image: string, options: SourceOptions): Promise<Source> {
  const { platform, env } = options;
  const flags = await flagsOf(env);
  const chosen = platform === undefined ? ['--all-platforms'] : ['--platform', platform];
  let started = await start(image, [...flags, ...chosen], options);
  if (started.isMissing && platform === undefined) {
    // Of an image with several platforms, only some are here.
    started = await start(image, flags, options);
  }
  const { child, ended, isMissing, complaint } = started;
  const name = `the image ${image} of containerd`;
  if (isMissing) throw failure(image, complaint());
  const check = async () => {
    if ((await ended) !== 0) throw failure(image, complaint());
  };
  const settings = { ...options, name, reference: null, takesOnlyPresent: true };
  return openArchiveStream({ stream: child.stdout, env, ended: check }, settings);
}

/** Version 2 sends an export over the daemon unless told otherwise, and may then end before its last bytes are written. */
async function flagsOf(env: NodeJS.ProcessEnv): Promise<string[]> {
  const child = spawn('ctr', ['images', 'export', '--help'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stderr.resume();
  const pieces: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  await ends(child);
  return Buffer.concat(pieces).toString().includes('--local') ? ['--local'] : [];
}

interface Started {
  child: Child;
  /** The exit status. */
  ended: Promise<number | null>;
  /** It ended without a byte because content is not there. */
  isMissing: boolean;
  complaint: () => string;
}

async function start(
  image: string,
  flags: readonly string[],
  { env, signal }: SourceOptions,
): Promise<Started> {
  const child = spawn('ctr', ['images', 'export', ...flags, '--', '-', image], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  let said = '';
  child.stderr.on('data', (piece: Buffer) => {
    said = `${said}${piece}`.slice(-ERRORS_MAX_BYTES);
  });
  // If the reader gives up. At its end, ctr still has to tell how it ended.
  child.stdout.once('close', () => {
    if (!child.stdout.readableEnded) child.kill();
  });
  const ended = ends(child);
  ended.catch(() => {});
  await Promise.race([once(child.stdout, 'readable'), ended]);
  const isMissing = child.stdout.readableLength === 0 && (await ended) !== 0;
  return { child, ended, isMissing, complaint: () => complaintIn(said) };
}

/** The last line that is not a warning of ctr or containerd. */
function complaintIn(said: string): string {
  const lines = said.trim().split('\n');
  return lines.findLast((line) => !/\blevel=(warn(ing)?|info|debug)\b/.test(line)) ?? '';
}

/** The exit status, after all complaints were read. */
async function ends(child: Child): Promise<number | null> {
  const { promise, resolve, reject } = deferred<number | null>();
  child.once('error', (error: NodeJS.ErrnoException) => reject(notRunnable(error)));
  child.once('exit', (code) => resolve(code));
  const [code] = await Promise.all([promise, finished(child.stderr)]);
  return code;
}

function notRunnable(error: NodeJS.ErrnoException): unknown {
  if (error.name === 'AbortError') return error;
  return sourceFailure(
    error.code === 'ENOENT'
      ? 'The program ctr is not installed.\nInstall it, or export the image elsewhere and name the file: oci:PATH.'
      : `The program ctr cannot be started: ${error.code}.`,
  );
}

function failure(image: string, complaint: string): CommandFailure {
  const advice = /permission denied/i.test(complaint)
    ? 'Run the command with sudo.'
    : /not found/i.test(complaint)
      ? 'Check the name, which has its registry and tag ("ctr image ls"), and the namespace (CONTAINERD_NAMESPACE).'
      : 'Check that containerd runs (CONTAINERD_ADDRESS).';
  return sourceFailure(`ctr could not export ${image}: ${complaint || 'no reason'}.\n${advice}`);
}
