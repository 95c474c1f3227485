// The command line of `npm run blob-host`. What goes into a rule or a shell command is checked here, so that nothing needs
// quoting later.
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { UrlSigner } from '../worker/delivery/signature.ts';
import { parseSetting, signedUrlTimes } from '../worker/settings.ts';

export interface BlobHost {
  /** The custom domain, such as `blobs.example.com`. */
  host: string;
  bucket: string;
  /** BLOB_URL_LIFETIME, in seconds. */
  lifetime: number;
  /** How long a URL is valid from the time in it, in seconds: what a rule calls its lifetime. */
  validFor: number;
  /** As in BLOB_URL_SECRETS: the first signs, a second is still accepted. */
  secrets: string[];
  /** The secret was made just now. */
  fresh: boolean;
}

export interface Options {
  json: boolean;
  help: boolean;
  setup: BlobHost;
}

/** A wrong option; the message says which. */
export class OptionFailure extends Error {
  override readonly name = 'OptionFailure';
}

export const USAGE = `npm run blob-host -- --host blobs.example.com --bucket NAME [--lifetime SECONDS] [--secret SECRET ...] [--json]

  --host      the custom domain, in a zone of the bucket's account, on the Pro plan or a higher one
  --bucket    the bucket of the blobs: "npx wrangler r2 bucket list" names it
  --lifetime  BLOB_URL_LIFETIME, if it is not the default
  --secret    what BLOB_URL_SECRETS holds; without it, a new one is made. Twice for a rotation: the new one first
  --json      only the rulesets, as Cloudflare's API takes them
`;

const SECRET_BYTES = 32;
const HOST = /^(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/;
const BUCKET = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;
/** A comma would divide it, and a quotation mark end it. */
const SECRET = /^[A-Za-z0-9_-]{32,200}$/;

/** Throws OptionFailure, and UNAVAILABLE for a lifetime that the registry would refuse. */
export function parseOptions(args: string[]): Options {
  const { host = '', bucket = '', lifetime, secret = [], json = false, help = false } = valuesOf(args);
  const urls = signedUrlTimes(parseSetting('BLOB_URL_LIFETIME', lifetime));
  const secrets = secret.length === 0 ? [randomBytes(SECRET_BYTES).toString('base64url')] : secret;
  if (!help) check(host, bucket, secrets);
  // The rule has to agree with what the registry signs: it is asked, and nothing is signed here.
  const { validFor } = new UrlSigner(() => Promise.resolve([]), urls);
  const setup = { host, bucket, lifetime: urls.lifetime, validFor, secrets, fresh: secret.length === 0 };
  return { json, help, setup };
}

function valuesOf(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const texts = { type: 'string', multiple: true } as const;
  const options = { host: text, bucket: text, lifetime: text, secret: texts, json: flag, help: flag };
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    throw new OptionFailure(error instanceof Error ? error.message : String(error));
  }
}

function check(host: string, bucket: string, secrets: string[]): void {
  if (!HOST.test(host)) throw new OptionFailure('--host is the name of a host, such as blobs.example.com');
  if (!BUCKET.test(bucket))
    throw new OptionFailure('--bucket is the name of an R2 bucket: 3 to 63 letters, digits and "-"');
  if (!secrets.every((secret) => SECRET.test(secret))) {
    throw new OptionFailure('--secret has at least 32 letters, digits, "-" and "_", and nothing else');
  }
  if (secrets.length > 2 || new Set(secrets).size !== secrets.length) {
    throw new OptionFailure('--secret is given once, or twice for a rotation, with different secrets');
  }
}
