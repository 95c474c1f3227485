/**
 * Named tokens: of robots, which have the rights of their grants, and of users, which have all or some rights of the
 * user.
 */
import * as z from 'zod/mini';
import { type Token, tokenKey } from '../access/model.ts';
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
  KEY_MAX_LENGTH,
  name,
  onlyOneExpiry,
  paged,
  pageOf,
  time,
  timeOf,
} from './schemas.ts';

export const token = z.object({
  id: z.string(),
  name: z.string().check(z.describe('Unique among the tokens of the owner, or among robots.')),
  owner: z.nullable(z.string()).check(z.describe('null for a robot.')),
  grants: z.array(grant),
  expiresAt: z.nullable(time),
  lastUsedAt: z.nullable(time),
  createdAt: time,
});

export const createdToken = z.extend(token, {
  token: z
    .string()
    .check(
      z.describe('The password for logins, with any user name. It is returned only once.'),
      z.meta({ examples: ['lsr_0123456789abcdef_...'] }),
    ),
});

const creation = z
  .strictObject({
    name,
    owner: z.optional(name.check(z.describe('A user. Without an owner, the token is a robot.'))),
    grants: z
      ._default(grants, [])
      .check(z.describe("The rights of a robot, or the limits of a user's token.")),
    ...expiry,
  })
  .check(
    onlyOneExpiry,
    z.refine((body) => body.owner !== undefined || body.grants.length > 0, {
      error: 'a robot has only the rights of its grants: give it at least one',
      path: ['grants'],
    }),
  );

const listed = z
  .object({
    ...paged,
    owner: z.optional(
      z.string().check(z.describe('Only the tokens of this user. Empty for those of robots.')),
    ),
    name: z.optional(
      z
        .string()
        .check(
          z.maxLength(KEY_MAX_LENGTH),
          z.describe('Only the tokens of which this is the name, `owner/name` or the id.'),
        ),
    ),
  })
  .check(
    z.refine(({ owner, name }) => owner === undefined || name === undefined, {
      error: 'cannot be used together with owner: use owner/name',
      path: ['name'],
    }),
  );

export const TOKENS: Operation[] = [
  operation({
    id: 'token.list',
    method: 'GET',
    path: '/tokens',
    requires: 'admin',
    summary: 'List tokens, by name',
    query: listed,
    status: 200,
    answer: z.object({ tokens: z.array(token) }),
    run: async ({ accounts, query, request }) => {
      const owner = query.owner === '' ? null : query.owner;
      const listing = await (query.name === undefined
        ? accounts.listTokens({ owner }, pageOf(query))
        : accounts.listTokensNamed(query.name, pageOf(query)));
      return pageOfList(request, { tokens: listing.entries.map(tokenResponse) }, nextPage(listing, tokenKey));
    },
  }),
  operation({
    id: 'token.create',
    method: 'POST',
    path: '/tokens',
    requires: 'admin',
    summary: 'Create a token for a robot or a user',
    body: creation,
    example: { name: 'ci', grants: [{ role: 'writer', repositories: 'team-a/*' }], expiresIn: 7776000 },
    status: 201,
    answer: createdToken,
    errors: { 404: 'There is no such owner.', 409: 'There is a token of this name.' },
    run: async ({ body, ...input }) => {
      const made = await createToken(input, {
        name: body.name,
        owner: body.owner ?? null,
        grants: body.grants,
        expiresAt: expiryOf(body),
      });
      return { body: made, changed: `${body.name} (${made.id})` };
    },
  }),
  operation({
    id: 'token.delete',
    method: 'DELETE',
    path: '/tokens/{id}',
    requires: 'admin',
    summary: 'Revoke a token, with its rules',
    description:
      'Also revokes what was issued for the token: immediately on one machine, within 30 seconds on Cloudflare.',
    status: 204,
    errors: { 404: 'There is no token of this id.' },
    run: async ({ named, accounts }) => {
      if (await accounts.deleteToken(named)) return {};
      throw noToken();
    },
  }),
];

/** Creates a token, and returns it with its secret. Throws CONFLICT, NOT_FOUND. */
export async function createToken(
  { accounts, services }: Pick<OperationInput<unknown, unknown>, 'accounts' | 'services'>,
  wanted: Pick<Token, 'name' | 'owner' | 'grants' | 'expiresAt'>,
): Promise<z.output<typeof createdToken>> {
  const { id, hash, text } = newToken();
  const { name, owner } = wanted;
  const created: Token = { ...wanted, id, hash, lastUsedAt: null, createdAt: Date.now() };
  const isOfSetting = owner !== null && settingOf(owner, services.settings) !== null;
  const outcome = await accounts.createToken(created, isOfSetting);
  if (outcome === 'created') return { ...tokenResponse(created), token: text };
  throw outcome === 'no owner'
    ? new OciError('NOT_FOUND', { message: `there is no user ${owner}` })
    : new OciError('CONFLICT', { message: `there is a token ${name} already` });
}

export function noToken(): OciError {
  return new OciError('NOT_FOUND', { message: 'there is no token of this id' });
}

/** A token without the hash of its secret. */
export function tokenResponse({
  id,
  name,
  owner,
  grants,
  expiresAt,
  lastUsedAt,
  createdAt,
}: Token): z.output<typeof token> {
  const when = (ms: number | null) => (ms === null ? null : timeOf(ms));
  return {
    id,
    name,
    owner,
    grants,
    expiresAt: when(expiresAt),
    lastUsedAt: when(lastUsedAt),
    createdAt: timeOf(createdAt),
  };
}
