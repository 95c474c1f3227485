/**
 * The registry on Cloudflare's simulators: Miniflare's R2 and Durable Objects, on the workerd that the one-machine home runs
 * too. The release that Miniflare brings drops all connections of a busy server now and then.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Miniflare } from 'miniflare';
import { bundle } from '../../server/bundle.ts';
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from '../../server/config.ts';
import { workerdBinary } from '../../server/workerd.ts';

export interface Simulator {
  /** Where it answers, without a slash at its end. */
  readonly url: string;
  stop(): Promise<void>;
}

/** `entry` is the path of the Worker's module, `stateDir` where everything is kept, `vars` are settings. */
export async function startSimulator(
  entry: string,
  stateDir: string,
  vars: Record<string, string> = {},
): Promise<Simulator> {
  process.env.MINIFLARE_WORKERD_PATH = workerdBinary();
  const object = (className: string) => ({ className, useSQLite: true });
  const miniflare = new Miniflare({
    modules: bundle(entry).map(({ name, contents }) => ({
      type: 'ESModule' as const,
      path: name,
      contents: new TextDecoder().decode(contents),
    })),
    compatibilityDate: COMPATIBILITY_DATE,
    compatibilityFlags: COMPATIBILITY_FLAGS,
    durableObjects: {
      REPOSITORY: object('Repository'),
      UPLOAD_SESSION: object('UploadSession'),
      BLOB_SHARD: object('BlobShard'),
      CATALOG: object('Catalog'),
      ACCOUNTS: object('Accounts'),
    },
    r2Buckets: ['BLOBS'],
    bindings: vars,
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    durableObjectsPersist: join(stateDir, 'objects'),
    r2Persist: join(stateDir, 'r2'),
    handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
      stdout.resume();
      // The simulator's notes to its own authors.
      createInterface(stderr).on('line', (line) => line.includes('NOSENTRY') || console.error(line));
    },
  });
  await miniflare.ready;
  const { origin } = await miniflare.unsafeGetDirectURL();
  return { url: origin, stop: () => miniflare.dispose() };
}
