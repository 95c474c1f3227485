/**
 * The platform under the Worker: Cloudflare, or workerd on one machine. The rest of the code asks what the platform can do, and
 * never which one it is.
 */

export interface Platform {
  /** One isolate serves every request and runs every Durable Object, so what it remembers is never stale. */
  isSingleIsolate: boolean;
  /** Every request carries `CF-Connecting-IP` and `CF-Ray`, and no client can set them. */
  setsCfHeaders: boolean;
  /** Only requests for a host of this registry arrive. */
  checksHost: boolean;
  /** There is a cache for answers: the Cache API, and Workers Cache before an entrypoint. */
  hasCache: boolean;
  /** Request bodies over such a size (in bytes) do not reach the Worker: one limit for each plan. Empty if there is no limit. */
  bodyLimits: readonly number[];
  /** The blobs are in an R2 bucket, which also has an S3 endpoint and may have a custom domain. */
  hasBucket: boolean;
}

const CLOUDFLARE: Platform = Object.freeze({
  isSingleIsolate: false,
  setsCfHeaders: true,
  checksHost: true,
  hasCache: true,
  // Cloudflare docs, "Workers: Limits": Free and Pro, Business, Enterprise by default.
  bodyLimits: [100_000_000, 200_000_000, 500_000_000],
  hasBucket: true,
});

const ONE_MACHINE: Platform = Object.freeze({
  isSingleIsolate: true,
  setsCfHeaders: false,
  checksHost: false,
  hasCache: false,
  bodyLimits: [],
  hasBucket: false,
});

/** What `npm start` binds as `PLATFORM`. Cloudflare binds nothing there. */
export const ONE_MACHINE_NAME = 'one machine';

export function platformOf({ PLATFORM }: { PLATFORM?: string }): Platform {
  return PLATFORM === ONE_MACHINE_NAME ? ONE_MACHINE : CLOUDFLARE;
}
