// `longshore proxy`: pushes of any client, in chunks.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { buildCommand } from '@stricli/core';
import { isLoopback } from '../worker/oci/address.ts';
import { goOnWithoutOutput } from './closed-output.ts';
import { type Context, text, texts } from './command.ts';
import { CommandFailure } from './failure.ts';
import type { Names } from './proxy/admission.ts';
import { startProxy } from './proxy/server.ts';
import { type Credentials, credentialsFor } from './transfer/credentials.ts';
import { parseOrigin } from './transfer/target.ts';

interface Options {
  to: string;
  port: number;
  listen: string | undefined;
  allowHost: string[] | undefined;
  credentials: 'auto' | 'own' | 'client';
  readyFile: string | undefined;
  grace: number;
  quiet: boolean;
}

const DEFAULT_PORT = 5000;
const DEFAULT_GRACE_S = 60;

export const proxy = buildCommand({
  docs: {
    brief: 'Pass pushes of any size on in chunks',
    fullDescription: `A registry on this machine that passes everything on to another one. A layer goes on in chunks while it arrives, so that no
request is over the limit of Cloudflare. Push to localhost instead of the registry:

  longshore proxy --to registry.example.com
  docker push localhost:5000/team/app:1

If this machine has credentials for the registry, clients need none: see longshore --help. SIGTERM ends the proxy when the uploads that
run have ended.`,
  },
  parameters: {
    flags: {
      to: { kind: 'parsed', parse: parseOrigin, brief: 'The registry', placeholder: 'host' },
      port: {
        kind: 'parsed',
        parse: portOf,
        default: String(DEFAULT_PORT),
        brief: 'The port to listen on; 0 is a free one',
        placeholder: 'port',
      },
      listen: text(
        'The address to listen on, if not only this machine may push: 0.0.0.0 is every address',
        'address',
      ),
      allowHost: texts('A name by which other machines know this one', 'name'),
      credentials: {
        kind: 'enum',
        values: ['auto', 'own', 'client'],
        default: 'auto',
        brief:
          'Whose credentials: "own" are those of this machine, for clients that send none. "auto" is own on localhost if there are any, else client',
      },
      readyFile: text('A file that gets the URL when the proxy is ready', 'path'),
      grace: {
        kind: 'parsed',
        parse: secondsOf,
        default: String(DEFAULT_GRACE_S),
        brief: 'Seconds that uploads may take after SIGTERM',
        placeholder: 'seconds',
      },
      quiet: { kind: 'boolean', default: false, brief: 'Print only errors', withNegated: false },
    },
  },
  async func(this: Context, options: Options) {
    const { to, port, listen = null, readyFile, grace, quiet } = options;
    goOnWithoutOutput();
    const isLocal = listen === null || isLoopback(listen);
    const credentials = await credentialsOf(options, isLocal);
    const say = (line: string) => {
      if (!quiet) this.print(`${line}\n`);
    };
    const running = await startProxy({
      to,
      port,
      address: listen,
      names: namesOf(options, isLocal, credentials !== null),
      credentials,
      renew: () => credentialsOf(options, isLocal),
      log: say,
    });
    const { url } = running;
    if (credentials !== null) {
      say(
        isLocal
          ? `Every program on this machine can push as ${credentials.username} through this proxy.`
          : `Every machine that reaches ${url} can push as ${credentials.username} through this proxy.`,
      );
    } else if (!isLocal) {
      say(
        `Other machines can reach this proxy. It does not encrypt: passwords and images are readable on the way.`,
      );
    }
    // A program that waits for the file or the line may send a signal at once.
    const signal = signalled();
    try {
      if (readyFile !== undefined) writeReady(readyFile, url);
    } catch (error) {
      await running.stop(0);
      throw new CommandFailure(
        `${readyFile} could not be written: ${(error as NodeJS.ErrnoException).code}.\nName another file with --ready-file: its folder must exist, and its disk must have space.`,
      );
    }
    say(`Ready: ${url} passes on to ${to}`);
    const stopped = await signal;
    if (readyFile !== undefined) rmSync(readyFile, { force: true });
    if (running.uploads.count > 0) say(`${stopped}: waiting for ${running.uploads.count} uploads.`);
    if (!(await running.stop(grace * 1000))) {
      throw new CommandFailure(
        `Uploads were cut: they took longer than ${grace} s.\nGive them more with --grace.`,
      );
    }
  },
});

async function credentialsOf({ to, credentials }: Options, isLocal: boolean): Promise<Credentials | null> {
  if (credentials === 'client' || (credentials === 'auto' && !isLocal)) return null;
  const found = await credentialsFor({ origin: to, host: new URL(to).host }, process.env);
  if (found === null && credentials === 'own') {
    throw new CommandFailure(
      `There are no credentials for ${to}.\nSet LONGSHORE_USER and LONGSHORE_PASSWORD, or log in with docker login.`,
    );
  }
  return found;
}

function namesOf({ allowHost = [] }: Options, isLocal: boolean, lends: boolean): Names {
  if (isLocal && allowHost.length === 0) return { kind: 'loopback' };
  if (isLocal || lends) return { kind: 'network', names: allowHost.map((name) => name.toLowerCase()) };
  return { kind: 'any' };
}

/** The file is there with its content, or not at all. */
function writeReady(path: string, url: string): void {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, `${url}\n`);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** The second signal ends the process at once. */
function signalled(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(1));
        resolve(signal);
      });
    }
  });
}

function portOf(value: string): number {
  const port = Number(value);
  if (!/^\d{1,5}$/.test(value) || port > 65_535) throw new Error('a port is a number from 0 to 65535');
  return port;
}

function secondsOf(value: string): number {
  if (!/^\d{1,6}$/.test(value)) throw new Error('use a number of seconds');
  return Number(value);
}
