// `npm start`: runs the registry on this machine until it is told to end, and says what to type next.
// What the environment can say is read in settings.ts.
import { setTimeout as sleep } from 'node:timers/promises';
import { StartFailure } from './failure.ts';
import { greeting } from './greeting.ts';
import { type Machine, openFilesMax, startMachine } from './machine.ts';
import { readSettings, type Settings } from './settings.ts';
import { type SecuredMachine, startSecured } from './tls.ts';

const ORPHAN_POLL_MS = 200;
/** How long after workerd's end the registry starts again: each time twice as long, until it has run for a while. */
const AGAIN_MIN_MS = 1_000;
const AGAIN_MAX_MS = 30_000;
const RAN_WELL_MS = 60_000;
/** A connection takes two files, and workerd ends where it may open no more. */
const OPEN_FILES_WARNED_OF = 4_096;

await run(process.env);

async function run(env: NodeJS.ProcessEnv): Promise<void> {
  // A terminal that is gone, or a pipe that nobody reads, is no reason to fail.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let starting = begin(env);
  const stopped = new AbortController();
  const stop = () => {
    // Whoever asks twice does not want to wait for requests that are being answered.
    const end = stopped.signal.aborted ? 'kill' : 'stop';
    stopped.abort();
    starting.then(({ machine }) => machine[end]()).catch(() => {});
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  // A terminal that goes away sends it, too; without one, it is somebody who has renewed the certificate.
  process.on('SIGHUP', () => {
    if (!hasCertificate(env) || process.stdin.isTTY) stop();
    else starting.then(({ secured }) => secured?.reload()).catch(() => {});
  });
  if (env.npm_lifecycle_event !== undefined) onceOrphaned(stop);
  try {
    const { settings, machine, secured } = await starting;
    const certificate = secured?.certificate() ?? null;
    if (!stopped.signal.aborted) {
      process.stdout.write(greeting(settings, machine.port, certificate, process.stdout.isTTY === true));
      warnOfFewFiles();
    }
    for (let delayMs = AGAIN_MIN_MS; ; delayMs = Math.min(2 * delayMs, AGAIN_MAX_MS)) {
      const began = Date.now();
      const { code, signal } = await (await starting).machine.exited;
      if (stopped.signal.aborted) return;
      // Where strangers use up all files that it may open, workerd ends: their connections end with it.
      if (Date.now() - began > RAN_WELL_MS) delayMs = AGAIN_MIN_MS;
      report(
        `workerd has ended by itself (${signal ?? `code ${code}`}). The registry starts again in ${delayMs / 1000} s.`,
      );
      await sleep(delayMs, undefined, { signal: stopped.signal });
      starting = begin(env, machine.port);
    }
  } catch (error) {
    if (stopped.signal.aborted) return;
    if (!(error instanceof StartFailure)) throw error;
    report(error.message);
    process.exitCode = 1;
  }
}

interface Started {
  readonly settings: Settings;
  readonly machine: Machine;
  /** The same machine, if it speaks TLS. */
  readonly secured: SecuredMachine | null;
}

/** `samePort` is that of the registry that ended before. */
async function begin(env: NodeJS.ProcessEnv, samePort?: number): Promise<Started> {
  const settings = readSettings(env);
  const { host, stateDir, vars, certificate } = settings;
  const port = samePort ?? settings.port;
  // What workerd says before it dies is seen here, too.
  const onOutput = (chunk: string) => process.stderr.write(chunk);
  const options = { host, port, stateDir, vars, onOutput };
  if (certificate === null) return { settings, machine: await startMachine(options), secured: null };
  const secured = await startSecured(options, certificate, (line) => process.stderr.write(`${line}\n`));
  return { settings, machine: secured, secured };
}

function hasCertificate({ TLS_CERT, TLS_KEY }: NodeJS.ProcessEnv): boolean {
  return Boolean(TLS_CERT && TLS_KEY);
}

// npm runs this below a shell, and hands its own SIGTERM to the shell, which ends without passing it on.
// All that is heard of it here is that the parent is another one.
function onceOrphaned(stop: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, ORPHAN_POLL_MS);
  timer.unref();
}

function warnOfFewFiles(): void {
  const most = openFilesMax();
  if (most >= OPEN_FILES_WARNED_OF) return;
  report(
    `The registry may open only ${most} files, and ${Math.floor(most / 4)} connections can use them up.\nRaise the limit: ulimit -n 65536, or LimitNOFILE=65536 in a unit of systemd.`,
  );
}

function report(line: string): void {
  process.stderr.write(`${line}\n`);
}
