// `npm start`: runs the registry on this machine until it is told to end, and says what to type next.
// What the environment can say is read in settings.ts.
import { StartFailure } from './failure.ts';
import { greeting } from './greeting.ts';
import { type Machine, startMachine } from './machine.ts';
import { readSettings, type Settings } from './settings.ts';
import { type SecuredMachine, startSecured } from './tls.ts';

const ORPHAN_POLL_MS = 200;

await run(process.env);

async function run(env: NodeJS.ProcessEnv): Promise<void> {
  // A terminal that is gone, or a pipe that nobody reads, is no reason to fail.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const starting = begin(env);
  let stopping = false;
  const stop = () => {
    // Whoever asks twice does not want to wait for requests that are being answered.
    const end = stopping ? 'kill' : 'stop';
    stopping = true;
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
    if (!stopping)
      process.stdout.write(greeting(settings, machine.port, certificate, process.stdout.isTTY === true));
    const { code, signal } = await machine.exited;
    if (!stopping)
      fail(`The registry has ended, because workerd did by itself (${signal ?? `code ${code}`}).`);
  } catch (error) {
    if (!(error instanceof StartFailure)) throw error;
    if (!stopping) fail(error.message);
  }
}

interface Started {
  readonly settings: Settings;
  readonly machine: Machine;
  /** The same machine, if it speaks TLS. */
  readonly secured: SecuredMachine | null;
}

async function begin(env: NodeJS.ProcessEnv): Promise<Started> {
  const settings = readSettings(env);
  const { host, port, stateDir, vars, certificate } = settings;
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

function fail(message: string): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}
