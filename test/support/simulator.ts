/**
 * The registry on Cloudflare's simulators: Miniflare's R2 and Durable Objects, on the workerd that the one-machine home runs
 * too. The release that Miniflare brings drops all connections of a busy server now and then. A second Worker on the same
 * bucket can stand for an R2 custom domain.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Miniflare, type WorkerOptions } from 'miniflare';
import { bundle } from '../../standalone/bundle.ts';
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from '../../standalone/config.ts';
import { workerdBinary } from '../../standalone/workerd.ts';
import { DURABLE_OBJECTS } from '../../worker/objects/classes.ts';
import { freePort } from './free-port.ts';
import { type S3Credentials, S3Double } from './s3.ts';

export interface Simulator {
  /** Where it answers, without a slash at its end. */
  readonly url: string;
  /** Origin of the blob domain, where there is one. */
  readonly blobDomain: string | null;
  /** The double of the S3 endpoint, where there is one. */
  readonly s3: S3Double | null;
  stop(): Promise<void>;
}

/** The firewall rules of an R2 custom domain. */
export interface BlobDomain {
  /** Each is accepted; the registry signs with the first, unless its settings say otherwise. */
  secrets: string[];
  /** How long a URL is valid from the time in it, in seconds: the registry's lifetime and a quarter. */
  ttl: number;
}

export interface SimulatorOptions {
  blobDomain?: BlobDomain;
  /** Serves the bucket over S3, as R2 does, and sets `S3_BUCKET_URL` and the credentials. */
  s3Credentials?: S3Credentials;
  /** Serves the bucket over S3 by the double, which enforces more, and sets the same. */
  s3Double?: S3Credentials;
  /** False: the data centre's cache keeps nothing, as on workers.dev. */
  cache?: boolean;
  /** Requests that the rate limiting binding lets through in a minute; without it nothing is bound. */
  requestLimit?: number;
  /** Where the registry answers; 0, the default, is a free one. */
  port?: number;
  /** Hears every line that the Workers log. */
  onLog?: (line: string) => void;
}

const BUCKET = 'BLOBS';
/** Where Miniflare answers as R2's S3 endpoint; it is on a port of Miniflare's own. */
const S3_PATH = '/cdn-cgi/local/r2/s3';
const BLOB_DOMAIN_ENTRY = join(import.meta.dirname, 'blob-domain.ts');

/** `entry` is the path of the Worker's module, `stateDir` where everything is kept, `vars` are settings. */
export async function startSimulator(
  entry: string,
  stateDir: string,
  vars: Record<string, string> = {},
  options: SimulatorOptions = {},
): Promise<Simulator> {
  process.env.MINIFLARE_WORKERD_PATH = workerdBinary();
  const { blobDomain, s3Credentials, onLog } = options;
  const domainPort = blobDomain === undefined ? 0 : await freePort();
  // Another name and another port than the registry's: another host and another origin.
  const domainUrl = blobDomain === undefined ? null : `http://localhost:${domainPort}`;
  const domainVars: Record<string, string> =
    domainUrl === null ? {} : { BLOB_HOST: domainUrl, BLOB_URL_SECRETS: blobDomain?.secrets.join(',') ?? '' };
  const ownPort = s3Credentials === undefined ? 0 : await freePort();
  const s3 = options.s3Double === undefined ? null : new S3Double(options.s3Double);
  await s3?.start();
  const s3Vars = {
    ...(s3Credentials && s3VarsOf(`http://127.0.0.1:${ownPort}${S3_PATH}/${BUCKET}`, s3Credentials)),
    ...(s3 && options.s3Double && s3VarsOf(s3.url, options.s3Double)),
  };
  const registry: WorkerOptions = {
    ...workerOf('registry', entry, options.port ?? 0, s3Credentials),
    durableObjects: Object.fromEntries(
      Object.entries(DURABLE_OBJECTS).map(([binding, { className }]) => [
        binding,
        { className, useSQLite: true },
      ]),
    ),
    bindings: { ...domainVars, ...s3Vars, ...vars },
    ...(options.requestLimit === undefined
      ? {}
      : {
          ratelimits: {
            REQUEST_LIMIT: { namespace_id: '1', simple: { limit: options.requestLimit, period: 60 } },
          },
        }),
    cache: options.cache ?? true,
  };
  const domain: WorkerOptions[] =
    blobDomain === undefined
      ? []
      : [
          {
            ...workerOf('blob-domain', BLOB_DOMAIN_ENTRY, domainPort, s3Credentials),
            bindings: { SECRETS: JSON.stringify(blobDomain.secrets), TTL: String(blobDomain.ttl) },
          },
        ];
  const miniflare = new Miniflare({
    workers: [registry, ...domain],
    host: '127.0.0.1',
    port: ownPort,
    durableObjectsPersist: join(stateDir, 'objects'),
    r2Persist: join(stateDir, 'r2'),
    handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
      createInterface(stdout).on('line', (line) => onLog?.(line));
      // The simulator's notes to its own authors.
      createInterface(stderr).on('line', (line) => line.includes('NOSENTRY') || console.error(line));
    },
  });
  await miniflare.ready;
  const { origin } = await miniflare.unsafeGetDirectURL('registry');
  s3?.attach(origin);
  const stop = async () => {
    await s3?.[Symbol.asyncDispose]();
    await miniflare.dispose();
  };
  return { url: origin, blobDomain: domainUrl, s3, stop };
}

function s3VarsOf(url: string, { accessKeyId, secretAccessKey }: S3Credentials): Record<string, string> {
  return { S3_BUCKET_URL: url, S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey };
}

/** A Worker on the bucket that all share. */
function workerOf(name: string, entry: string, port: number, s3Credentials?: S3Credentials) {
  return {
    name,
    modules: bundle(entry).map(({ name: path, kind, contents }) => ({
      ...(kind === 'data'
        ? { type: 'Data' as const, contents }
        : { type: 'ESModule' as const, contents: new TextDecoder().decode(contents) }),
      path: `/${name}/${path}`,
    })),
    modulesRoot: `/${name}`,
    compatibilityDate: COMPATIBILITY_DATE,
    compatibilityFlags: COMPATIBILITY_FLAGS,
    r2Buckets: { BLOBS: { id: BUCKET, ...(s3Credentials && { s3Credentials }) } },
    unsafeDirectSockets: [{ host: '127.0.0.1', port }],
  };
}
