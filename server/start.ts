// `npm start`: runs the registry on this machine until it is told to end, and says what to type next.
// PORT, HOST and STATE_DIR in the environment move it; SETTINGS in config.ts are handed to the Worker.
import { resolve } from 'node:path';
import { SETTINGS } from './config.ts';
import { StartFailure } from './failure.ts';
import { type Machine, startMachine } from './machine.ts';
import { hostAndPort, isLoopback, reachableHost } from './port.ts';

const DEFAULT_PORT = 8787;
const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_STATE_DIR = '.longshore';
const ORPHAN_POLL_MS = 200;

await run(process.env);

async function run(env: NodeJS.ProcessEnv): Promise<void> {
  // A terminal that is gone, or a pipe that nobody reads, is no reason to fail.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const host = env.HOST || DEFAULT_HOST;
  const stateDir = resolve(env.STATE_DIR || DEFAULT_STATE_DIR);
  const starting = begin(env, host, stateDir);
  let stopping = false;
  const stop = () => {
    // Whoever asks twice does not want to wait for requests that are being answered.
    const end = stopping ? 'kill' : 'stop';
    stopping = true;
    starting.then((machine) => machine[end]()).catch(() => {});
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  if (env.npm_lifecycle_event !== undefined) onceOrphaned(stop);
  try {
    const machine = await starting;
    if (!stopping) process.stdout.write(greeting(host, machine, stateDir));
    const { code, signal } = await machine.exited;
    if (!stopping)
      fail(`The registry has ended, because workerd did by itself (${signal ?? `code ${code}`}).`);
  } catch (error) {
    if (!(error instanceof StartFailure)) throw error;
    if (!stopping) fail(error.message);
  }
}

async function begin(env: NodeJS.ProcessEnv, host: string, stateDir: string): Promise<Machine> {
  const settings = SETTINGS.flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return startMachine({
    host,
    port: parsePort(env.PORT || String(DEFAULT_PORT)),
    stateDir,
    vars: Object.fromEntries(settings),
    // What workerd says before it dies is seen here, too.
    onOutput: (chunk) => process.stderr.write(chunk),
  });
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

function parsePort(value: string): number {
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65535) return Number(value);
  throw new StartFailure(
    `PORT is ${JSON.stringify(value)}, and must be a number from 0 to 65535 (0 chooses a free one).`,
  );
}

function greeting(host: string, { port }: Machine, stateDir: string): string {
  const name = hostAndPort(isLoopback(host) && host !== '::1' ? 'localhost' : reachableHost(host), port);
  const warning = isLoopback(host)
    ? ''
    : `\nAnybody who reaches ${host} can push and pull, without TLS. Docker elsewhere wants this registry among its
"insecure-registries".\n`;
  return `Longshore is running on http://${name}
It keeps everything in ${stateDir}. Ctrl-C ends it.
${warning}
What to type next, with an image that you have:
  docker tag alpine ${name}/alpine
  docker push ${name}/alpine
  docker pull ${name}/alpine
`;
}

function fail(message: string): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}
