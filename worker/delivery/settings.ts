/** The settings of delivery, read once: a wrong one is told to whoever asks, with its name. */

import type { Env } from '../env.ts';
import {
  BLOB_URL_LIFETIME_MAX_S,
  BLOB_URL_LIFETIME_MIN_S,
  BLOB_URL_LIFETIME_S,
  PREFETCH_BLOBS_MAX,
} from '../oci/limits.ts';
import { numberSetting, readSettings, wrongSetting } from '../oci/settings.ts';
import { platformOf } from '../platform.ts';
import type { S3Bucket } from './presigner.ts';
import type { SignedUrlTimes } from './signature.ts';

export interface DeliverySettings {
  mode: 'redirect' | 'presigned' | 'stream';
  /** Origin of an R2 custom domain; null where the registry is its own blob host. */
  blobHost: string | null;
  /** False on one machine, where no cache stands before any blob host. */
  cached: boolean;
  urls: SignedUrlTimes;
  /** Clients whose User-Agent contains one of these are never redirected; in lower case. */
  streamUserAgents: string[];
  /** The bucket as S3 knows it, for `presigned`. */
  s3: S3Bucket | null;
  /** Of a manifest's blobs, how many the blob host is warmed with; 0 for none. */
  prefetch: number;
}

const MODES = ['redirect', 'presigned', 'stream'] as const;
/** URLs made in a quarter of their life are the same. */
const WINDOWS = 4;

/** Throws a WrongSetting, which names every setting that is wrong. */
export function deliverySettings(env: Env): DeliverySettings {
  const onMachine = !platformOf(env).hasBucket;
  const { way, urls, prefetch } = readSettings({
    way: () => wayOf(env, onMachine),
    urls: () => urlTimes(env.BLOB_URL_LIFETIME),
    prefetch: () => prefetchOf(env.PREFETCH),
  });
  return {
    ...way,
    cached: !onMachine,
    urls,
    streamUserAgents: listOf(env.STREAM_USER_AGENTS).map((agent) => agent.toLowerCase()),
    prefetch,
  };
}

/** How blobs reach a client, and what that needs. */
function wayOf(env: Env, onMachine: boolean): Pick<DeliverySettings, 'mode' | 'blobHost' | 's3'> {
  const mode = MODES.find((known) => known === (env.BLOB_DELIVERY || (onMachine ? 'stream' : 'redirect')));
  if (mode === undefined) throw wrongSetting('BLOB_DELIVERY', `is one of ${MODES.join(', ')}`);
  const blobHost = env.BLOB_HOST ? originOfHost(env.BLOB_HOST) : null;
  if (onMachine && (blobHost !== null || mode === 'presigned')) {
    const name = blobHost === null ? 'BLOB_DELIVERY=presigned' : 'BLOB_HOST';
    throw wrongSetting(name, 'is for Cloudflare: on one machine there is no bucket');
  }
  if (blobHost !== null && mode === 'redirect' && !env.BLOB_URL_SECRETS) {
    throw wrongSetting('BLOB_HOST', 'needs BLOB_URL_SECRETS: the secret that its firewall rule verifies');
  }
  return { mode, blobHost, s3: mode === 'presigned' ? s3Of(env) : null };
}

/** The times of signed URLs for `BLOB_URL_LIFETIME`. Throws a WrongSetting. */
export function urlTimes(setting: string | undefined): SignedUrlTimes {
  const lifetime = numberSetting('BLOB_URL_LIFETIME', setting, {
    unit: 'seconds',
    min: BLOB_URL_LIFETIME_MIN_S,
    max: BLOB_URL_LIFETIME_MAX_S,
    fallback: BLOB_URL_LIFETIME_S,
  });
  return { lifetime, window: Math.floor(lifetime / WINDOWS) };
}

/** The entries of a list that is separated by commas. */
export function listOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

function originOfHost(text: string): string {
  const url = URL.parse(text.includes('://') ? text : `https://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol) || `${url.origin}/` !== url.href) {
    throw wrongSetting('BLOB_HOST', 'is a host, such as blobs.example.com, without a path');
  }
  return url.origin;
}

function s3Of(env: Env): S3Bucket {
  const { S3_BUCKET_URL: url, S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (!url || !accessKeyId || !secretAccessKey) {
    throw wrongSetting(
      'BLOB_DELIVERY=presigned',
      'needs S3_BUCKET_URL, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY',
    );
  }
  if (URL.parse(url) === null) throw wrongSetting('S3_BUCKET_URL', 'is the URL of a bucket');
  return { url: url.replace(/\/+$/, ''), accessKeyId, secretAccessKey };
}

function prefetchOf(text: string | undefined): number {
  if (!text || text === 'false') return 0;
  if (text === 'true') return PREFETCH_BLOBS_MAX;
  const blobs = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (blobs <= PREFETCH_BLOBS_MAX) return blobs;
  throw wrongSetting(
    'PREFETCH',
    `is true, false or how many blobs of a manifest, ${PREFETCH_BLOBS_MAX} at the most`,
  );
}
