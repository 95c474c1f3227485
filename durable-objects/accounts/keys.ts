/**
 * The keys that the registry makes itself: one secret for each purpose, and the keys that sign tokens. Signing keys replace one
 * another. Each is published before it signs, and is kept for a while after its successor signs.
 */
import type { SigningKey } from '../../worker/access/model.ts';
import { allRows, firstRow } from '../rows.ts';

/** How long a key signs, how long before that it is published, and how long after that it is kept. */
export const SIGNING_KEY_LIFETIME_MS = 30 * 24 * 3600 * 1000;
export const SIGNING_KEY_PUBLISHED_MS = 24 * 3600 * 1000;
export const SIGNING_KEY_KEPT_MS = 2 * 24 * 3600 * 1000;

const SECRET_BYTES = 32;
const ES256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;

export class RegistryKeys {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The secret for a purpose, of 32 bytes. It is made when it is first asked for. */
  secret(purpose: string): Uint8Array {
    const fresh = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
    this.#sql.exec(
      'INSERT INTO keys (purpose, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING',
      purpose,
      fresh.buffer,
    );
    const { bytes } = this.#sql
      .exec<{ bytes: ArrayBuffer }>('SELECT bytes FROM keys WHERE purpose = ?', purpose)
      .one();
    return new Uint8Array(bytes);
  }

  /** All keys that may have signed a valid token, and the one that signs next; oldest first. */
  async signingKeys(): Promise<SigningKey[]> {
    this.#deleteImpossible();
    if (this.#nextSignsFrom() !== null) {
      const key = await generate();
      // Another call may have inserted a key while this one was generated. Only the first is used.
      const signsFrom = this.#nextSignsFrom();
      if (signsFrom !== null) this.#insert(key, signsFrom);
    }
    // Delete a key when a newer one has been signing for SIGNING_KEY_KEPT_MS.
    this.#sql.exec(
      `DELETE FROM signing_keys WHERE signs_from <
         (SELECT MAX(signs_from) FROM signing_keys WHERE signs_from <= ?)`,
      Date.now() - SIGNING_KEY_KEPT_MS,
    );
    return this.#rows();
  }

  /**
   * Makes a new key that signs immediately. The old keys stay until their tokens have expired, or are deleted if `dropsOld`, which
   * ends all tokens that they signed.
   */
  async rotate(dropsOld: boolean): Promise<void> {
    const key = await generate();
    if (dropsOld) this.#sql.exec('DELETE FROM signing_keys');
    this.#insert(key, Date.now());
  }

  #insert({ kid, privateJwk, publicJwk }: Omit<SigningKey, 'signsFrom'>, signsFrom: number): void {
    this.#sql.exec(
      'INSERT INTO signing_keys (kid, private_jwk, public_jwk, signs_from) VALUES (?, ?, ?, ?)',
      kid,
      JSON.stringify(privateJwk),
      JSON.stringify(publicJwk),
      signsFrom,
    );
  }

  /** Deletes keys whose time is so far in the future that the clock must have been wrong. Their tokens are refused anyway. */
  #deleteImpossible(): void {
    const query = 'DELETE FROM signing_keys WHERE signs_from > ?';
    this.#sql.exec(query, Date.now() + 2 * SIGNING_KEY_PUBLISHED_MS);
  }

  /** When a new key is to sign; null if none is needed. If no key signs now, it signs immediately. */
  #nextSignsFrom(): number | null {
    const now = Date.now();
    const query = `SELECT MAX(signs_from) AS newest, MIN(signs_from) AS oldest FROM signing_keys`;
    const found = firstRow<{ newest: number | null; oldest: number | null }>(this.#sql, query);
    if (found === null || found.newest === null || found.oldest === null || found.oldest > now) return now;
    const isDue = now - found.newest > SIGNING_KEY_LIFETIME_MS - SIGNING_KEY_PUBLISHED_MS;
    return isDue ? now + SIGNING_KEY_PUBLISHED_MS : null;
  }

  #rows(): SigningKey[] {
    const query = 'SELECT kid, private_jwk, public_jwk, signs_from FROM signing_keys ORDER BY signs_from';
    return allRows<{ kid: string; private_jwk: string; public_jwk: string; signs_from: number }>(
      this.#sql,
      query,
    ).map((row) => ({
      kid: row.kid,
      privateJwk: JSON.parse(row.private_jwk) as JsonWebKey,
      publicJwk: JSON.parse(row.public_jwk) as JsonWebKey,
      signsFrom: row.signs_from,
    }));
  }
}

async function generate(): Promise<Omit<SigningKey, 'signsFrom'>> {
  const pair = (await crypto.subtle.generateKey(ES256, true, ['sign', 'verify'])) as CryptoKeyPair;
  const { kty, crv, x, y, d } = (await crypto.subtle.exportKey('jwk', pair.privateKey)) as JsonWebKey;
  const publicJwk = { kty, crv, x, y } as JsonWebKey;
  return { kid: crypto.randomUUID(), privateJwk: { ...publicJwk, d } as JsonWebKey, publicJwk };
}
