/** Which subjects a lookup finds rules for, and whether the secret of a token is right. */
import type { LookupQuery, Subject, Token, User } from '../../worker/access/model.ts';

/** A user's token has no rules of its own: it can do what the user can do, or less. */
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

/** Whether the query has the token's secret and the token has not expired. The id of a token is not secret. */
export function isRight({ hash, expiresAt }: Token, { tokenHash }: LookupQuery, now: number): boolean {
  return hash === tokenHash && (expiresAt === null || expiresAt > now);
}
