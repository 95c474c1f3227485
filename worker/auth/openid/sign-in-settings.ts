/** The settings of the sign-in of people, of which there is none unless an issuer is set. */
import type { Env } from '../../env.ts';
import { wrongSetting } from '../../oci/settings.ts';
import { isIssuer } from './issuer.ts';

export interface SignInSettings {
  issuer: string;
  clientId: string;
  /** Null for a public client, which PKCE alone protects. */
  clientSecret: string | null;
  groupsClaim: string;
}

const WITH_ISSUER = ['OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET', 'OIDC_GROUPS_CLAIM'] as const;

/** Null where there is no sign-in. Throws a WrongSetting, also for settings that do nothing without an issuer. */
export function signInSettings(env: Env): SignInSettings | null {
  if (!env.OIDC_ISSUER) {
    const alone = WITH_ISSUER.find((name) => env[name]);
    if (alone === undefined) return null;
    throw wrongSetting(alone, 'needs OIDC_ISSUER, the https URL of an issuer');
  }
  if (!isIssuer(env.OIDC_ISSUER)) throw wrongSetting('OIDC_ISSUER', 'is the https URL of an issuer');
  if (!env.OIDC_CLIENT_ID) throw wrongSetting('OIDC_ISSUER', 'needs OIDC_CLIENT_ID');
  return {
    issuer: env.OIDC_ISSUER,
    clientId: env.OIDC_CLIENT_ID,
    clientSecret: env.OIDC_CLIENT_SECRET || null,
    groupsClaim: env.OIDC_GROUPS_CLAIM || 'groups',
  };
}
