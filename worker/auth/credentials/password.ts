/**
 * Slow hashes of passwords: scrypt for passwords that the registry stores (OWASP, "Password Storage": N 2^14, r 8, p 5,
 * 16 MiB), and bcrypt from `htpasswd -B`.
 */
import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import bcrypt from 'bcryptjs';
import { BCRYPT_HASH } from '../../settings.ts';

export const PASSWORD_MIN_LENGTH = 12;
export const PASSWORD_MAX_LENGTH = 256;

const COST = { N: 2 ** 14, r: 8, p: 5, maxmem: 32 * 1024 * 1024 };
const HASH_BYTES = 32;
const SALT_BYTES = 16;
const STORED = /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([\w-]+)\$([\w-]+)$/;

/** The slow hashes that this isolate has computed, and N of new ones. Only the tests' Worker sets a lower one. */
export const slowHashes = { computed: 0, N: COST.N };

/** `scrypt$N$r$p$salt$hash`, the last two in base64url. */
export function hashPassword(password: string): string {
  const salt = randomBytes(SALT_BYTES);
  slowHashes.computed++;
  const { N } = slowHashes;
  const hash = scryptSync(password.normalize('NFKC'), salt, HASH_BYTES, { ...COST, N });
  return `scrypt$${N}$${COST.r}$${COST.p}$${salt.toString('base64url')}$${hash.toString('base64url')}`;
}

/** Checks a password against a hash of either kind. False for any other hash. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  slowHashes.computed++;
  if (BCRYPT_HASH.test(stored)) return bcrypt.compare(password, stored.replace(/^\$2[xy]/, '$2b'));
  const [, N, r, p, salt, hash] = STORED.exec(stored) ?? [];
  if (salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, 'base64url');
  const cost = { ...COST, N: Number(N), r: Number(r), p: Number(p) };
  const found = scryptSync(password.normalize('NFKC'), Buffer.from(salt, 'base64url'), expected.length, cost);
  return timingSafeEqual(found, expected);
}

/** The cost of a bcrypt hash: it takes 2^cost rounds. */
export function bcryptCostOf(hash: string): number {
  return Number(hash.slice(4, 6));
}
