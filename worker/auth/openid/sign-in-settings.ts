/** The settings of the sign-in of people, of which there is none unless an issuer is set. */
import type { Env } from '../../env.ts';
import {
  SIGN_IN_TOKEN_LIFETIME_MAX_S,
  SIGN_IN_TOKEN_LIFETIME_MIN_S,
  SIGN_IN_TOKEN_LIFETIME_S,
} from '../../oci/limits.ts';
import { numberSetting, wrongSetting } from '../../oci/settings.ts';
import { isIssuer } from './issuer.ts';

export interface SignInSettings {
  issuer: string;
  clientId: string;
  /** Null for a public client, which PKCE alone protects. */
  clientSecret: string | null;
  groupsClaim: string;
  /** What the names of the issuer's groups begin with here; may be empty. */
  groupsPrefix: string;
  /** How long the token of a sign-in lives, in ms. */
  tokenLifetimeMs: number;
}

const WITH_ISSUER = [
  'OIDC_CLIENT_ID',
  'OIDC_CLIENT_SECRET',
  'OIDC_GROUPS_CLAIM',
  'OIDC_GROUPS_PREFIX',
  'SIGN_IN_TOKEN_LIFETIME',
] as const;

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
    groupsPrefix: prefixOf(env.OIDC_GROUPS_PREFIX ?? ''),
    tokenLifetimeMs:
      1000 *
      numberSetting('SIGN_IN_TOKEN_LIFETIME', env.SIGN_IN_TOKEN_LIFETIME, {
        unit: 'seconds',
        min: SIGN_IN_TOKEN_LIFETIME_MIN_S,
        max: SIGN_IN_TOKEN_LIFETIME_MAX_S,
        fallback: SIGN_IN_TOKEN_LIFETIME_S,
      }),
  };
}

/** Begins the names of groups, which have no commas. */
function prefixOf(text: string): string {
  if (/^[^\s\p{C},]{0,28}$/u.test(text)) return text;
  throw wrongSetting(
    'OIDC_GROUPS_PREFIX',
    'is up to 28 characters without spaces and commas, such as "acme:"',
  );
}
