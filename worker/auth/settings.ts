/** The settings of access control, read once: a wrong one is told to whoever asks, with its name. */
import type { Env } from '../env.ts';
import { OciError } from '../oci/errors.ts';
import { TOKEN_LIFETIME_MAX_S, TOKEN_LIFETIME_MIN_S, TOKEN_LIFETIME_S } from '../oci/limits.ts';
import { weaknessOf } from './credentials/new-password.ts';
import { parseHtpasswd } from './credentials/password.ts';
import { isNetwork } from './rules/address.ts';
import { ROLES, type Role } from './rules/rules.ts';

export interface AuthSettings {
  /** Whether everybody may do everything; only ever to those who reach the registry as a loopback host. */
  off: boolean;
  /** Of the user `admin`; null where none is set. */
  adminPassword: string | null;
  /** Why the admin's password is refused; null where it is not. */
  adminWeakness: string | null;
  /** Name -> bcrypt hash. */
  htpasswd: Map<string, string>;
  /** What the users of the htpasswd file may do everywhere; null for what rules say alone. */
  htpasswdRole: Role | null;
  /** Where the platform says nothing about the client that nobody else could have said. */
  onMachine: boolean;
  /** Of access tokens, in seconds. */
  tokenLifetime: number;
  /** Networks of proxies whose X-Forwarded-For is believed, on one machine. */
  trustedProxies: string[];
}

/** The user whose password is a setting. */
export const ADMIN = 'admin';

/** Throws UNAVAILABLE, which names the setting. */
export function authSettings(env: Env): AuthSettings {
  if (env.AUTH && env.AUTH !== 'on' && env.AUTH !== 'off') throw wrong('AUTH', 'is on or off');
  const trustedProxies = (env.TRUSTED_PROXIES ?? '').split(/[\s,]+/).filter((entry) => entry !== '');
  if (!trustedProxies.every(isNetwork)) throw wrong('TRUSTED_PROXIES', 'is a list of networks (CIDR)');
  return {
    onMachine: env.HOME === 'machine',
    off: env.AUTH === 'off',
    adminPassword: env.ADMIN_PASSWORD || null,
    adminWeakness: env.ADMIN_PASSWORD ? weaknessOf(env.ADMIN_PASSWORD, ADMIN) : null,
    htpasswd: htpasswdOf(env.HTPASSWD ?? ''),
    htpasswdRole: roleOf(env.HTPASSWD_ROLE),
    tokenLifetime: lifetimeOf(env.TOKEN_LIFETIME),
    trustedProxies,
  };
}

/** The setting that a user comes from; null for one that is kept in `Accounts`, or is none. */
export function settingOf(name: string, { adminPassword, htpasswd }: AuthSettings): string | null {
  if (name === ADMIN && adminPassword !== null) return 'ADMIN_PASSWORD';
  return htpasswd.has(name) ? 'HTPASSWD' : null;
}

function htpasswdOf(text: string): Map<string, string> {
  try {
    return parseHtpasswd(text);
  } catch (fault) {
    throw wrong('HTPASSWD', fault instanceof Error ? fault.message : '');
  }
}

/** registry:2 lets whoever is in the file do everything. */
function roleOf(text: string | undefined): Role | null {
  if (!text) return 'maintainer';
  if (text === 'none') return null;
  if (Object.hasOwn(ROLES, text)) return text as Role;
  throw wrong('HTPASSWD_ROLE', `is none or one of ${Object.keys(ROLES).join(', ')}`);
}

function lifetimeOf(text: string | undefined): number {
  if (!text) return TOKEN_LIFETIME_S;
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (seconds >= TOKEN_LIFETIME_MIN_S && seconds <= TOKEN_LIFETIME_MAX_S) return seconds;
  throw wrong(
    'TOKEN_LIFETIME',
    `is a number of seconds from ${TOKEN_LIFETIME_MIN_S} to ${TOKEN_LIFETIME_MAX_S}`,
  );
}

function wrong(name: string, what: string): OciError {
  return new OciError('UNAVAILABLE', { message: `a setting of this registry is wrong: ${name} ${what}` });
}
