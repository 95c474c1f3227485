/** Users: people with a password, or without one if they sign in at an issuer, and their groups. */
import * as z from 'zod/mini';
import type { User } from '../access/model.ts';
import { settingOf } from '../auth/configured-users.ts';
import { weaknessOf } from '../auth/credentials/new-password.ts';
import { hashPassword } from '../auth/credentials/password.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import { OciError } from '../oci/errors.ts';
import type { AuthSettings } from '../settings.ts';
import type { Stub } from '../stubs.ts';
import { type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { GRANTS_MAX, GROUP, name, paged, pageOf, password, time, timeOf } from './schemas.ts';

const group = z.string().check(z.regex(GROUP, 'is 1 to 128 characters, without commas'));
const groups = z.array(group).check(z.maxLength(GRANTS_MAX), z.meta({ examples: [['developers']] }));

const user = z.object({
  name,
  groups,
  disabled: z.boolean(),
  hasPassword: z.boolean(),
  signsInAs: z
    .nullable(z.string())
    .check(z.describe('The name of the person at the issuer of sign-ins. It gives no rights.')),
  createdAt: time,
});

const creation = z.strictObject({
  name,
  password: z.optional(password.check(z.describe('Not needed for a user who signs in at an issuer.'))),
  groups: z.optional(groups),
});

const change = z.strictObject({
  password: z.optional(z.nullable(password)).check(z.describe('null removes the password.')),
  groups: z.optional(groups),
  disabled: z.optional(z.boolean()),
});

export const USERS: Operation[] = [
  operation({
    id: 'user.list',
    method: 'GET',
    path: '/users',
    requires: 'admin',
    summary: 'List users, by name',
    query: z.object(paged),
    status: 200,
    answer: z.object({ users: z.array(user) }),
    run: async ({ accounts, query, request }) => {
      const listing = await accounts.listUsers(pageOf(query));
      const names = await accounts.displayNames(listing.entries.map((entry) => entry.name));
      return pageOfList(
        request,
        { users: listing.entries.map((entry) => userResponse(entry, names)) },
        nextPage(listing, (entry) => entry.name),
      );
    },
  }),
  operation({
    id: 'user.create',
    method: 'POST',
    path: '/users',
    requires: 'admin',
    summary: 'Add a user',
    body: creation,
    example: { name: 'bob', password: 'correct horse battery', groups: ['developers'] },
    status: 201,
    answer: user,
    errors: { 409: 'There is a user of this name, or a setting has the name.' },
    run: async ({ body, accounts, services }) => {
      refuseSetting(body.name, services.settings);
      const outcome = await accounts.putUser({
        name: body.name,
        password: body.password === undefined ? null : newHash(body.password, body.name),
        groups: body.groups ?? [],
        onlyNew: true,
      });
      if (outcome === 'taken') {
        throw new OciError('CONFLICT', { message: `there is a user ${body.name} already` });
      }
      return { body: await responseForName(accounts, body.name), changed: body.name };
    },
  }),
  operation({
    id: 'user.get',
    method: 'GET',
    path: '/users/{name}',
    requires: 'admin',
    summary: 'Get a user',
    status: 200,
    answer: user,
    errors: { 404: 'There is no user of this name.' },
    run: async ({ named, accounts }) => ({
      body: await responseForName(accounts, named),
    }),
  }),
  operation({
    id: 'user.update',
    method: 'PATCH',
    path: '/users/{name}',
    requires: 'admin',
    summary: 'Change the password or the groups of a user, or disable them',
    description:
      'Properties that are not given keep their values. To disable a user also disables their tokens, even if HTPASSWD has the name.',
    body: change,
    example: { disabled: true },
    status: 200,
    answer: user,
    errors: { 404: 'There is no user of this name.', 409: 'A setting has the password.' },
    run: async ({ named, body, accounts, services }) => {
      await existing(accounts.getUser(named), named);
      if (body.password) refuseSetting(named, services.settings);
      const { password: text, groups: wanted, disabled } = body;
      await accounts.putUser({
        name: named,
        ...(text === undefined ? {} : { password: text === null ? null : newHash(text, named) }),
        ...(wanted === undefined ? {} : { groups: wanted }),
        ...(disabled === undefined ? {} : { disabled }),
      });
      const what = Object.keys(body).join(', ');
      return {
        body: await responseForName(accounts, named),
        changed: `${named} (${what})`,
      };
    },
  }),
  operation({
    id: 'user.delete',
    method: 'DELETE',
    path: '/users/{name}',
    requires: 'admin',
    summary: 'Delete a user with their tokens and rules',
    status: 204,
    errors: { 404: 'There is no user of this name.' },
    run: async ({ named, accounts }) => {
      if (await accounts.deleteUser(named)) return {};
      throw noUser(named);
    },
  }),
  operation({
    id: 'user.link',
    method: 'POST',
    path: '/users/{name}/link',
    requires: 'admin',
    summary: 'Link the account of a sign-in to another user',
    description:
      'A first sign-in makes an account of its own, whatever the issuer calls the person. After this the person signs in as the other user, and the account is removed with its tokens and rules.',
    body: z.strictObject({ to: name }),
    example: { to: 'bob' },
    status: 204,
    errors: {
      404: 'There is no such account of a sign-in, or no other user.',
      409: 'A setting has the user.',
    },
    run: async ({ named, body, accounts, services }) => {
      refuseSetting(body.to, services.settings);
      const outcome = await accounts.linkSignIn(named, body.to);
      if (outcome === 'no user') throw noUser(body.to);
      if (outcome === 'linked') return { changed: `${named} is ${body.to}` };
      throw new OciError('NOT_FOUND', { message: `no sign-in belongs to ${named.slice(0, 128)}` });
    },
  }),
  operation({
    id: 'user.revoke',
    method: 'DELETE',
    path: '/users/{name}/tokens',
    requires: 'admin',
    summary: 'Revoke all tokens of a user and everything issued to the user',
    description: 'The password keeps working. To lock the user out, also change it or disable the user.',
    status: 204,
    run: async ({ named, accounts }) => {
      const count = await accounts.deleteTokensOf(named);
      return { changed: `${named} (${count} tokens)` };
    },
  }),
];

/** Throws CONFLICT for a user of a setting: the setting overrides what `Accounts` stores. */
export function refuseSetting(named: string, settings: AuthSettings): void {
  const setting = settingOf(named, settings);
  if (setting === null) return;
  throw new OciError('CONFLICT', { message: `the password of ${named} is in the setting ${setting}` });
}

/** The hash of a new password. Throws INPUT_INVALID for a weak one. */
function newHash(password: string, named: string): string {
  refuseWeak(password, named, 'password');
  return hashPassword(password);
}

/** Throws INPUT_INVALID for a password that is too weak. */
export function refuseWeak(password: string, named: string, field: string): void {
  const why = weaknessOf(password, named);
  if (why === null) return;
  throw new OciError('INPUT_INVALID', { message: `${field}: ${why}`, detail: [{ field, message: why }] });
}

async function responseForName(
  accounts: Stub<AccountsObject>,
  named: string,
): Promise<z.output<typeof user>> {
  return userResponse(await existing(accounts.getUser(named), named), await accounts.displayNames([named]));
}

async function existing(found: Promise<User | null>, named: string): Promise<User> {
  const one = await found;
  if (one === null) throw noUser(named);
  return one;
}

function noUser(named: string): OciError {
  return new OciError('NOT_FOUND', { message: `there is no user ${named.slice(0, 128)}` });
}

/**
 * A user without the hash of the password. For a user who signs in at an issuer, older releases stored a mark in its
 * place.
 */
function userResponse(
  { name, groups, disabled, password, createdAt }: User,
  displayNames: Record<string, string>,
): z.output<typeof user> {
  return {
    name,
    groups,
    disabled,
    hasPassword: password?.startsWith('scrypt$') === true,
    signsInAs: displayNames[name] ?? null,
    createdAt: timeOf(createdAt),
  };
}
