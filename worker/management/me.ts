/** What users can see and change about themselves without being an admin. */
import * as z from 'zod/mini';
import { isAdmin } from '../access/decide.ts';
import { tokenKey } from '../access/model.ts';
import { authorizationOf } from '../auth/credentials/authorization.ts';
import { OciError } from '../oci/errors.ts';
import { equalSecrets } from '../oci/secret.ts';
import { type ApiCaller, type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { rule } from './rules.ts';
import { expiry, expiryOf, grant, grants, name, onlyOneExpiry, paged, pageOf, password } from './schemas.ts';
import { createdToken, createToken, noToken, token, tokenResponse } from './tokens.ts';
import { refuseSetting, refuseWeak } from './users.ts';

const creation = z
  .strictObject({
    name,
    grants: z
      ._default(grants, [])
      .check(z.describe('Limits the rights of the token. Without grants it has all rights of its owner.')),
    ...expiry,
  })
  .check(onlyOneExpiry);

export const ME: Operation[] = [
  operation({
    id: 'me.get',
    method: 'GET',
    path: '/me',
    requires: 'credentials',
    summary: 'Get my account and the rules for it',
    status: 200,
    answer: z.object({
      subject: z.string().check(z.meta({ examples: ['user:bob'] })),
      admin: z.boolean(),
      rules: z.array(rule),
      limits: z
        .nullable(z.array(grant))
        .check(z.describe('The grants that my token is limited to. null if it is not limited.')),
    }),
    run: async ({ caller: { identity } }) => {
      const { subject, rules, limits } = identity;
      return { body: { subject, admin: isAdmin(identity), rules, limits } };
    },
  }),
  operation({
    id: 'me.password',
    method: 'PUT',
    path: '/me/password',
    requires: 'password',
    summary: 'Change my password',
    body: z.strictObject({ current: z.string().check(z.maxLength(1024)), new: password }),
    example: { current: 'correct horse battery', new: 'staple and some more' },
    status: 204,
    errors: { 409: 'The password is in a setting, or the user has none here.' },
    run: async ({ body, request, caller, services, accounts }) => {
      const who = nameOf(caller);
      refuseSetting(who, services.settings);
      // Compared with the password of this request, which was just verified, so that users cannot request more slow
      // hashes.
      const credentials = authorizationOf(request);
      if (
        credentials?.kind !== 'basic' ||
        !equalSecrets(body.current.normalize('NFKC'), credentials.password.normalize('NFKC'))
      ) {
        throw new OciError('DENIED', { message: 'current: is not your password' });
      }
      refuseWeak(body.new, who, 'new');
      await accounts.putUser({ name: who, password: services.authenticator.newHash(body.new) });
      return { changed: who };
    },
  }),
  operation({
    id: 'me.token.list',
    method: 'GET',
    path: '/me/tokens',
    requires: 'own',
    summary: 'List my tokens, by name',
    query: z.object(paged),
    status: 200,
    answer: z.object({ tokens: z.array(token) }),
    run: async ({ accounts, query, request, caller }) => {
      const listing = await accounts.listTokens({ owner: nameOf(caller) }, pageOf(query));
      return pageOfList(request, { tokens: listing.entries.map(tokenResponse) }, nextPage(listing, tokenKey));
    },
  }),
  operation({
    id: 'me.token.create',
    method: 'POST',
    path: '/me/tokens',
    requires: 'password',
    summary: 'Create a token with all or some of my rights',
    body: creation,
    example: { name: 'laptop', grants: [{ role: 'reader', repositories: '**' }] },
    status: 201,
    answer: createdToken,
    errors: { 409: 'There is a token of this name.' },
    run: async ({ body, caller, ...input }) => {
      const made = await createToken(input, {
        name: body.name,
        owner: nameOf(caller),
        grants: body.grants,
        expiresAt: expiryOf(body),
      });
      return { body: made, changed: `${body.name} (${made.id})` };
    },
  }),
  operation({
    id: 'me.token.deleteAll',
    method: 'DELETE',
    path: '/me/tokens',
    requires: 'own',
    summary: 'Revoke all my tokens and everything issued to me',
    status: 204,
    run: async ({ accounts, caller }) => {
      const who = nameOf(caller);
      const count = await accounts.deleteTokensOf(who);
      return { changed: `${who} (${count} tokens)` };
    },
  }),
  operation({
    id: 'me.token.delete',
    method: 'DELETE',
    path: '/me/tokens/{id}',
    requires: 'own',
    summary: 'Revoke one of my tokens',
    status: 204,
    errors: { 404: 'I have no token of this id.' },
    run: async ({ named, accounts, caller }) => {
      const owner = (await accounts.getToken(named))?.owner;
      // A robot has no owner, and may revoke its own token.
      const isOwn = owner === null ? isRobot(caller) : owner === nameOf(caller);
      if (isOwn && (await accounts.deleteToken(named))) return {};
      throw noToken();
    },
  }),
];

/** The name of the user. Throws CONFLICT for other callers. */
function nameOf({ identity: { subject, rules } }: ApiCaller): string {
  const [, user] = /^user:(.+)$/.exec(subject) ?? [];
  if (user !== undefined && rules[0]?.id !== 'AUTH=off') return user;
  throw new OciError('CONFLICT', { message: 'this is only for users: log in as a user' });
}

/** Robots may run only operations on their own token. */
function isRobot({ identity: { subject } }: ApiCaller): boolean {
  return subject.startsWith('token:');
}
