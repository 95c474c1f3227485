/** The person that the claims of an issuer describe. */
import type { Person } from '../../access/model.ts';
import { sha256 } from '../../oci/secret.ts';
import type { SignInSettings } from '../../settings.ts';
import type { Assertion } from './assertion.ts';

/** Groups that are taken from one sign-in, and the length of a name that it brings. */
const SIGN_IN_GROUPS_MAX = 200;
const SIGN_IN_NAME_MAX_LENGTH = 100;

const MARK = 'oidc$';
const ACCOUNT = 'oidc-';
const ACCOUNT_HASH_LENGTH = 16;

/** Names give no rights: they change owners at an issuer, and people may choose a name that a rule of the registry uses. */
export function personOf(
  claims: Assertion,
  { groupsClaim, groupsPrefix }: Pick<SignInSettings, 'groupsClaim' | 'groupsPrefix'>,
): Person {
  const { iss, sub, preferred_username, email } = claims;
  const hash = sha256(JSON.stringify([iss, sub]));
  const names = [preferred_username, email, sub].map(printable).filter((name) => name !== '');
  return {
    mark: `${MARK}${hash}`,
    account: `${ACCOUNT}${hash.slice(0, ACCOUNT_HASH_LENGTH)}`,
    displayName: names[0] ?? '',
    groups: groupsOf(claims[groupsClaim]).map((group) => `${groupsPrefix}${group}`),
    groupsPrefix,
  };
}

/** Makes a text safe for terminals and pages: without control characters and without those that change its direction. */
function printable(value: unknown): string {
  if (typeof value !== 'string') return '';
  const text = value.normalize('NFKC').replace(/[\p{C}\u2028\u2029]+/gu, '');
  return text.trim().slice(0, SIGN_IN_NAME_MAX_LENGTH);
}

/**
 * The groups in a claim: a list, or a single text. Without the claim there are none, because the person may have been
 * removed from all groups.
 */
function groupsOf(value: unknown): string[] {
  const groups = [value].flat().filter((group): group is string => typeof group === 'string');
  const fitting = groups.filter(
    (group) => /^[^\x00-\x1f\x7f]+$/.test(group) && group.length <= SIGN_IN_NAME_MAX_LENGTH,
  );
  return [...new Set(fitting)].slice(0, SIGN_IN_GROUPS_MAX);
}
