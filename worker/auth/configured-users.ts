/** The users that settings name, beside those that `Accounts` keeps. */
import type { AuthSettings } from '../settings.ts';

/** The user whose password is a setting. */
export const ADMIN = 'admin';

/** The setting that names a user; null for a user that only `Accounts` may know. */
export function settingOf(
  name: string,
  { adminPassword, htpasswd }: Pick<AuthSettings, 'adminPassword' | 'htpasswd'>,
): 'ADMIN_PASSWORD' | 'HTPASSWD' | null {
  if (name === ADMIN && adminPassword !== null) return 'ADMIN_PASSWORD';
  return htpasswd.has(name) ? 'HTPASSWD' : null;
}
