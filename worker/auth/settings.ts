/** The settings of access control, read once: a wrong one is told to whoever asks, with its name. */

import { ROLES, type Role } from '../access/model.ts';
import type { Env } from '../env.ts';
import { isNetwork } from '../oci/address.ts';
import { TOKEN_LIFETIME_MAX_S, TOKEN_LIFETIME_MIN_S, TOKEN_LIFETIME_S } from '../oci/limits.ts';
import { numberSetting, readSettings, wrongSetting } from '../oci/settings.ts';
import { platformOf } from '../platform.ts';
import { weaknessOf } from './credentials/new-password.ts';
import { parseHtpasswd } from './credentials/password.ts';

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

/** Throws a WrongSetting, which names every setting that is wrong. */
export function authSettings(env: Env): AuthSettings {
  return {
    onMachine: platformOf(env).isSingleIsolate,
    adminPassword: env.ADMIN_PASSWORD || null,
    adminWeakness: env.ADMIN_PASSWORD ? weaknessOf(env.ADMIN_PASSWORD, ADMIN) : null,
    ...readSettings({
      off: () => isOff(env.AUTH),
      htpasswd: () => htpasswdOf(env.HTPASSWD ?? ''),
      htpasswdRole: () => roleOf(env.HTPASSWD_ROLE),
      tokenLifetime: () => lifetimeOf(env.TOKEN_LIFETIME),
      trustedProxies: () => networksOf(env.TRUSTED_PROXIES ?? ''),
    }),
  };
}

/** The setting that a user comes from; null for one that is kept in `Accounts`, or is none. */
export function settingOf(name: string, { adminPassword, htpasswd }: AuthSettings): string | null {
  if (name === ADMIN && adminPassword !== null) return 'ADMIN_PASSWORD';
  return htpasswd.has(name) ? 'HTPASSWD' : null;
}

function isOff(text: string | undefined): boolean {
  if (text && text !== 'on' && text !== 'off') throw wrongSetting('AUTH', 'is on or off');
  return text === 'off';
}

function networksOf(text: string): string[] {
  const networks = text.split(/[\s,]+/).filter((entry) => entry !== '');
  if (networks.every(isNetwork)) return networks;
  throw wrongSetting('TRUSTED_PROXIES', 'is a list of networks (CIDR), such as 10.0.0.0/8,fd00::/8');
}

function htpasswdOf(text: string): Map<string, string> {
  try {
    return parseHtpasswd(text);
  } catch (fault) {
    throw wrongSetting('HTPASSWD', fault instanceof Error ? fault.message : '');
  }
}

/** registry:2 lets whoever is in the file do everything. */
function roleOf(text: string | undefined): Role | null {
  if (!text) return 'maintainer';
  if (text === 'none') return null;
  if (Object.hasOwn(ROLES, text)) return text as Role;
  throw wrongSetting('HTPASSWD_ROLE', `is none or one of ${Object.keys(ROLES).join(', ')}`);
}

function lifetimeOf(text: string | undefined): number {
  return numberSetting('TOKEN_LIFETIME', text, {
    unit: 'seconds',
    min: TOKEN_LIFETIME_MIN_S,
    max: TOKEN_LIFETIME_MAX_S,
    fallback: TOKEN_LIFETIME_S,
  });
}
