/** What a lookup takes into account: whom the rules are for, and whether a token is used by who has it. */
import type { LookupQuery, Subject, Token, User } from '../../worker/access/model.ts';

/** A token of a user has the user's rights at the most, so no rules of its own. */
export function subjectsOf(
  query: LookupQuery,
  name: string | null,
  user: User | null,
  token: Token | null,
): Subject[] {
  const isClaimed = query.user !== null || query.token !== null || query.issuer !== null;
  const subjects: Subject[] = ['anonymous'];
  if (isClaimed) subjects.push('authenticated');
  if (token !== null && token.owner === null) subjects.push(`token:${token.name}`);
  if (name !== null) subjects.push(`user:${name}`);
  for (const group of user?.groups ?? []) subjects.push(`group:${group}`);
  return subjects;
}

/** Its id is no secret: only who has the rest of it uses it. */
export function isRight({ hash, expiresAt }: Token, { tokenHash }: LookupQuery, now: number): boolean {
  return hash === tokenHash && (expiresAt === null || expiresAt > now);
}
