/**
 * Signed URLs: `<path>?verify=<time>-<mac>`, exactly as Cloudflare's `is_timed_hmac_valid_v0()` verifies them (Ruleset
 * language, "HMAC validation"): the mac is HMAC-SHA256 over path and time, in base64, encoded for a URL. A firewall rule
 * can therefore do the same check.
 */
import { equalSecrets } from '../oci/secret.ts';
import type { SignedUrlTimes } from '../settings.ts';

export type Verdict = 'valid' | 'forged' | 'expired';

/** `?verify=` and its value. Other spellings of the same value are refused. */
const SIGNATURE = /^\?verify=(\d{10})-([A-Za-z0-9%]{1,150})$/;

export class UrlSigner {
  readonly #secrets: () => Promise<CryptoKey[]>;
  readonly #times: SignedUrlTimes;

  /** `secrets` are HMAC keys: the first signs, and all are accepted. */
  constructor(secrets: () => Promise<CryptoKey[]>, times: SignedUrlTimes) {
    this.#secrets = secrets;
    this.#times = times;
  }

  /** A URL is valid for this many seconds from the time in it. A firewall rule calls it the lifetime. */
  get validFor(): number {
    return this.#times.lifetime + this.#times.window;
  }

  /** Signs a path, which begins with a slash. Gives path and query. */
  async sign(path: string): Promise<string> {
    const [secret] = await this.#secrets();
    if (secret === undefined) throw new Error('there is no secret to sign URLs with');
    const now = Math.floor(Date.now() / 1000);
    return `${path}?verify=${await signatureOf(secret, path, now - (now % this.#times.window))}`;
  }

  /** Checks a path and a query as they came, with the question mark. */
  async verify(path: string, query: string): Promise<Verdict> {
    const [, time, mac] = SIGNATURE.exec(query) ?? [];
    if (time === undefined || mac === undefined) return 'forged';
    const expected = await Promise.all(
      (await this.#secrets()).map((secret) => signatureOf(secret, path, Number(time))),
    );
    if (!expected.some((signature) => equalSecrets(signature, `${time}-${mac}`))) return 'forged';
    return Date.now() / 1000 < Number(time) + this.validFor ? 'valid' : 'expired';
  }
}

/** `time` is Unix time in seconds. */
async function signatureOf(secret: CryptoKey, path: string, time: number): Promise<string> {
  const mac = await crypto.subtle.sign('HMAC', secret, new TextEncoder().encode(`${path}${time}`));
  return `${time}-${encodeURIComponent(btoa(String.fromCharCode(...new Uint8Array(mac))))}`;
}
