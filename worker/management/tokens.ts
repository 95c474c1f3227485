/** Named tokens: of robots, whose rights are their grants, and of users, whom they may stand for in part. */
import * as z from 'zod/mini';
import { type Grant, type Token, tokenKey } from '../access/model.ts';
import { settingOf } from '../auth/configured-users.ts';
import { newToken } from '../auth/credentials/token-text.ts';
import { OciError } from '../oci/errors.ts';
import { type Operation, type OperationInput, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import {
  expiry,
  expiryOf,
  grant,
  grants,
  name,
  onlyOneExpiry,
  paged,
  pageOf,
  time,
  timeOf,
} from './schemas.ts';

export const token = z.object({
  id: z.string(),
  name: z.string().check(z.describe('Of one owner, or of robots, there is no other of this name.')),
  owner: z.nullable(z.string()).check(z.describe('null for a robot')),
  grants: z.array(grant),
  expiresAt: z.nullable(time),
  lastUsedAt: z.nullable(time),
  createdAt: time,
});

export const madeToken = z.extend(token, {
  token: z
    .string()
    .check(
      z.describe('The password to log in with, with any user name. It is told only here.'),
      z.meta({ examples: ['lsr_0123456789abcdef_...'] }),
    ),
});

const creation = z
  .strictObject({
    name,
    owner: z.optional(name.check(z.describe('A user; left out for a robot.'))),
    grants: z
      ._default(grants, [])
      .check(z.describe("A robot's rights; or what a user's token is narrowed to.")),
    ...expiry,
  })
  .check(
    onlyOneExpiry,
    z.refine((body) => body.owner !== undefined || body.grants.length > 0, {
      error: 'a robot may do only what its grants say: give it at least one',
      path: ['grants'],
    }),
  );

export const TOKENS: Operation[] = [
  operation({
    id: 'token.list',
    method: 'GET',
    path: '/tokens',
    requires: 'admin',
    summary: 'List tokens, by name',
    query: z.object({
      ...paged,
      owner: z.optional(z.string().check(z.describe('Only those of a user; empty for those of robots.'))),
    }),
    status: 200,
    answer: z.object({ tokens: z.array(token) }),
    run: async ({ accounts, query, request }) => {
      const owner = query.owner === '' ? null : query.owner;
      const listing = await accounts.listTokens({ owner }, pageOf(query));
      return pageOfList(request, { tokens: listing.entries.map(TokenResponse) }, nextPage(listing, tokenKey));
    },
  }),
  operation({
    id: 'token.create',
    method: 'POST',
    path: '/tokens',
    requires: 'admin',
    summary: 'Make a token for a robot or a user',
    body: creation,
    example: { name: 'ci', grants: [{ role: 'writer', repositories: 'team-a/*' }], expiresIn: 7776000 },
    status: 201,
    answer: madeToken,
    errors: { 404: 'There is no such owner.', 409: 'There is a token of this name.' },
    run: async ({ body, ...asked }) => {
      const made = await makeToken(asked, body.name, body.owner ?? null, body.grants, expiryOf(body));
      return { body: made, changed: `${body.name} (${made.id})` };
    },
  }),
  operation({
    id: 'token.delete',
    method: 'DELETE',
    path: '/tokens/{id}',
    requires: 'admin',
    summary: 'Revoke a token, with its rules',
    description: 'What was issued for it ends as well: at once on one machine, elsewhere within 30 seconds.',
    status: 204,
    errors: { 404: 'There is no token of this id.' },
    run: async ({ named, accounts }) => {
      if (await accounts.deleteToken(named)) return {};
      throw noToken();
    },
  }),
];

/** Throws CONFLICT, NOT_FOUND. */
export async function makeToken(
  { accounts, services }: Pick<OperationInput<unknown, unknown>, 'accounts' | 'services'>,
  called: string,
  owner: string | null,
  granted: Grant[],
  expiresAt: number | null,
): Promise<z.output<typeof madeToken>> {
  const { id, hash, text } = newToken();
  const made: Token = {
    id,
    name: called,
    owner,
    hash,
    grants: granted,
    expiresAt,
    lastUsedAt: null,
    createdAt: Date.now(),
  };
  const outcome = await accounts.createToken(
    made,
    owner !== null && settingOf(owner, services.settings) !== null,
  );
  if (outcome === 'created') return { ...TokenResponse(made), token: text };
  throw outcome === 'no owner'
    ? new OciError('NOT_FOUND', { message: `there is no user ${owner}` })
    : new OciError('CONFLICT', { message: `there is a token ${called} already` });
}

export function noToken(): OciError {
  return new OciError('NOT_FOUND', { message: 'there is no token of this id' });
}

/** Everything but the hash of the secret. */
export function TokenResponse({
  id,
  name: called,
  owner,
  grants: granted,
  expiresAt,
  lastUsedAt,
  createdAt,
}: Token): z.output<typeof token> {
  const when = (ms: number | null) => (ms === null ? null : timeOf(ms));
  return {
    id,
    name: called,
    owner,
    grants: granted,
    expiresAt: when(expiresAt),
    lastUsedAt: when(lastUsedAt),
    createdAt: timeOf(createdAt),
  };
}
