// `npm start`: runs the registry on this machine until it is stopped. settings.ts reads the environment.
import { setTimeout as sleep } from 'node:timers/promises';
import { StartFailure, systemErrorCode } from './failure.ts';
import { greeting } from './greeting.ts';
import { type Machine, openFilesMax, startMachine } from './machine.ts';
import { readSettings, type Settings } from './settings.ts';
import { type SecuredMachine, startSecured } from './tls.ts';

const ORPHAN_POLL_MS = 200;
/** Delay before the registry restarts after workerd ended. It doubles each time, until workerd has run for a while. */
const AGAIN_MIN_MS = 1_000;
const AGAIN_MAX_MS = 30_000;
const RAN_WELL_MS = 60_000;
/** A connection uses two files. Workerd ends if it cannot open another one. */
const OPEN_FILES_WARNED_OF = 4_096;

await run(process.env);

async function run(env: NodeJS.ProcessEnv): Promise<void> {
  // Output to a closed terminal or pipe must not end the registry.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let starting = begin(env);
  const stopped = new AbortController();
  const stop = () => {
    // The second signal does not wait for open requests.
    const end = stopped.signal.aborted ? 'kill' : 'stop';
    stopped.abort();
    starting.then(({ machine }) => machine[end]()).catch(() => {});
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  // A terminal that closes sends SIGHUP. Without a terminal, the signal means that the certificate was renewed.
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
      const why = await endOf(starting);
      if (stopped.signal.aborted) return;
      if (Date.now() - began > RAN_WELL_MS) delayMs = AGAIN_MIN_MS;
      report(`${why}\nThe registry restarts in ${delayMs / 1000} s.`);
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

/**
 * Resolves when the registry has ended or could not restart, with the reason. For example, workerd ends when clients use up all files
 * that it may open, and cannot restart while another program uses its port. Such causes pass, and the registry then continues.
 */
async function endOf(starting: Promise<Started>): Promise<string> {
  try {
    const { code, signal } = await (await starting).machine.exited;
    return `workerd ended unexpectedly (${signal ?? `code ${code}`}).`;
  } catch (error) {
    if (error instanceof StartFailure || systemErrorCode(error) !== undefined)
      return (error as Error).message.trim();
    throw error;
  }
}

interface Started {
  readonly settings: Settings;
  readonly machine: Machine;
  /** The same machine, if it uses TLS. */
  readonly secured: SecuredMachine | null;
}

/** `samePort` is the port of the registry that ended. */
async function begin(env: NodeJS.ProcessEnv, samePort?: number): Promise<Started> {
  const settings = await readSettings(env);
  const { host, stateDir, vars, certificate } = settings;
  const port = samePort ?? settings.port;
  // Also prints what workerd writes before it ends.
  const onOutput = (chunk: string) => process.stderr.write(chunk);
  const options = { host, port, stateDir, vars, onOutput };
  if (certificate === null) return { settings, machine: await startMachine(options), secured: null };
  const secured = await startSecured(options, certificate, (line) => process.stderr.write(`${line}\n`));
  return { settings, machine: secured, secured };
}

function hasCertificate({ TLS_CERT, TLS_KEY }: NodeJS.ProcessEnv): boolean {
  return Boolean(TLS_CERT && TLS_KEY);
}

// npm runs this process in a shell. It sends its SIGTERM to the shell, which ends and does not pass the signal on. The only
// sign of it is that this process gets another parent.
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
    `The registry may open only ${most} files. ${Math.floor(most / 4)} connections can use them all.\nRaise the limit: ulimit -n 65536, or LimitNOFILE=65536 in a unit of systemd.`,
  );
}

function report(line: string): void {
  process.stderr.write(`${line}\n`);
}
