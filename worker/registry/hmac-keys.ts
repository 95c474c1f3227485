/** The secret keys of the registry for MACs. The Accounts object makes them, and an isolate fetches each once. */

import type { Env } from '../env.ts';
import { accountsOf } from '../stubs.ts';

/** What a key is for. Each key has one purpose only. */
export type KeyPurpose = 'upload' | 'blob-url' | 'sign-in' | 'audit-names' | 'check';

const HMAC = { name: 'HMAC', hash: 'SHA-256' };

export class HmacKeys {
  readonly #env: Env;
  readonly #keys = new Map<KeyPurpose, CryptoKey>();

  constructor(env: Env) {
    this.#env = env;
  }

  /** An HMAC-SHA256 key. Concurrent first requests each fetch it, because a request must not await a promise of another. */
  async get(purpose: KeyPurpose): Promise<CryptoKey> {
    const known = this.#keys.get(purpose);
    if (known !== undefined) return known;
    const key = await hmacKey(await accountsOf(this.#env).secret(purpose));
    this.#keys.set(purpose, key);
    return key;
  }
}

export function hmacKey(secret: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', secret as BufferSource, HMAC, false, ['sign', 'verify']);
}
