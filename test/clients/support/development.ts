// The registry of `npm run dev`: wrangler's local Cloudflare with its R2 simulator, started as a person would start it,
// offline, on a free port, with its state in the suite's folder.
import { join } from 'node:path';
import { environment, located } from './client.ts';
import { startDaemon } from './daemon.ts';
import type { Registry } from './registry.ts';

const PROJECT = join(import.meta.dirname, '../../..');

/** `vars` are settings of the registry. Access control is off unless they say otherwise. */
export async function startDevelopment(folder: string, vars: Record<string, string> = {}): Promise<Registry> {
  const settings = Object.entries({ AUTH: 'off', ...vars }).flatMap(([name, value]) => [
    '--var',
    `${name}:${value}`,
  ]);
  const address = /Ready on (http:\/\/[\w.:[\]]+)/;
  const daemon = await startDaemon({
    program: located('npm'),
    args: [
      'run',
      'dev',
      '--',
      '--ip',
      '127.0.0.1',
      '--port',
      '0',
      '--persist-to',
      join(folder, 'state'),
      ...settings,
    ],
    env: {
      ...environment(folder),
      // Wrangler asks no questions, reports nothing, looks for no newer version and for no location.
      CI: '1',
      WRANGLER_SEND_METRICS: 'false',
      WRANGLER_HIDE_BANNER: 'true',
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
      NO_COLOR: '1',
    },
    cwd: PROJECT,
    ready: async (log) => {
      const url = address.exec(log)?.[1];
      return url !== undefined && (await fetch(`${url}/health`)).ok;
    },
  });
  const url = address.exec(daemon.log())?.[1] ?? '';
  return { url, stop: () => daemon.stop() };
}
