/** The users that the settings name, in addition to those in `Accounts`. */
import type { AuthSettings } from '../settings.ts';

/** The user whose password is in ADMIN_PASSWORD. */
export const ADMIN = 'admin';

/** The setting that names a user; null if no setting does. */
export function settingOf(
  name: string,
  { adminPassword, htpasswd }: Pick<AuthSettings, 'adminPassword' | 'htpasswd'>,
): 'ADMIN_PASSWORD' | 'HTPASSWD' | null {
  if (name === ADMIN && adminPassword !== null) return 'ADMIN_PASSWORD';
  return htpasswd.has(name) ? 'HTPASSWD' : null;
}
