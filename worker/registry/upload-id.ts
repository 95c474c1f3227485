/**
 * Upload ids with a token: a MAC over repository, id, expiry and algorithm, with a key of the registry. So starting an upload writes
 * nothing, and made-up ids are refused without a call.
 */
import type { UploadClaim } from '../objects/upload-session.ts';
import { ALGORITHMS, type Algorithm } from '../oci/digest.ts';
import { UPLOAD_LIFETIME_MS } from '../oci/limits.ts';
import type { HmacKeys } from './hmac-keys.ts';

const TOKEN = /^(sha256|sha512)-([0-9a-z]{1,9})-([0-9a-f]{64})(-begun)?$/;

export class UploadIds {
  readonly #keys: HmacKeys;

  constructor(keys: HmacKeys) {
    this.#keys = keys;
  }

  async mint(
    repository: string,
    algorithm: Algorithm,
  ): Promise<{ id: string; token: string; claim: UploadClaim }> {
    const id = crypto.randomUUID();
    const expiresAt = Math.floor((Date.now() + UPLOAD_LIFETIME_MS) / 1000) * 1000;
    const mac = await crypto.subtle.sign(
      'HMAC',
      await this.#keys.get('upload'),
      proven(repository, id, algorithm, expiresAt),
    );
    const token = `${algorithm}-${(expiresAt / 1000).toString(36)}-${hex(new Uint8Array(mac))}`;
    return { id, token, claim: { algorithm, expiresAt, begun: false } };
  }

  /** What the token says. Null if it does not belong to the id, or has expired. */
  async check(repository: string, id: string, token: string): Promise<UploadClaim | null> {
    const [, name, expiry, mac, begun] = TOKEN.exec(token) ?? [];
    const algorithm = ALGORITHMS.find((known) => known === name);
    if (algorithm === undefined || expiry === undefined || mac === undefined) return null;
    const expiresAt = Number.parseInt(expiry, 36) * 1000;
    const content = proven(repository, id, algorithm, expiresAt);
    const good = await crypto.subtle.verify('HMAC', await this.#keys.get('upload'), unhex(mac), content);
    return good && expiresAt > Date.now() ? { algorithm, expiresAt, begun: begun !== undefined } : null;
  }
}

/** The token of an upload that has a session. */
export function begunToken(token: string): string {
  return token.endsWith('-begun') ? token : `${token}-begun`;
}

function proven(
  repository: string,
  id: string,
  algorithm: Algorithm,
  expiresAt: number,
): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    new TextEncoder().encode(['upload', repository, id, algorithm, expiresAt].join('\n')),
  );
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function unhex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
