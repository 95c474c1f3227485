// `longshore token`: named tokens of robots and users.
import { buildCommand, buildRouteMap } from '@stricli/core';
import { allPages, done, entriesIn, textIn } from './client.ts';
import {
  type Context,
  EXPIRES_OPTION,
  GRANT_OPTIONS,
  type Grants,
  given,
  grantsOf,
  positional,
  text,
  URL_OPTION,
  type Url,
} from './command.ts';
import { onlyOne } from './only-one.ts';
import { table } from './table.ts';

interface OwnerOption {
  owner: string | undefined;
}

const add = buildCommand({
  docs: {
    brief: 'Create a token and print it',
    fullDescription:
      'Create a token and print it. Without --owner the token belongs to a robot, and its grants say what it may do. With --owner it belongs to a user, and the grants narrow what the user may do.',
  },
  parameters: {
    flags: {
      ...GRANT_OPTIONS,
      owner: text('The user that the token belongs to', 'user'),
      expires: EXPIRES_OPTION,
      url: URL_OPTION,
    },
    positional: positional('name'),
  },
  async func(
    this: Context,
    options: Grants & OwnerOption & { expires: number | undefined } & Url,
    name: string,
  ) {
    const { owner, expires: expiresIn } = options;
    const body = { name, grants: grantsOf(options), ...given({ owner, expiresIn }) };
    const { data } = await this.connect(options.url).POST('/tokens', { params: { path: {} }, body });
    this.print(`${textIn(data?.token)}\n`);
  },
});

const list = buildCommand({
  docs: { brief: 'List tokens' },
  parameters: { flags: { owner: text('Only tokens of this user', 'user'), url: URL_OPTION } },
  async func(this: Context, { owner = undefined, url }: OwnerOption & Url) {
    const client = this.connect(url);
    const tokens = await allPages(async (page) => {
      const query = { ...page, ...given({ owner }) };
      const { data, response } = await client.GET('/tokens', { params: { path: {}, query } });
      return { entries: data?.tokens, response };
    });
    this.print(table(tokens, ['id', 'name', 'owner', 'grants', 'expiresAt', 'lastUsedAt']));
  },
});

const remove = buildCommand({
  docs: { brief: 'Delete a token' },
  parameters: { flags: { url: URL_OPTION }, positional: positional('name or id') },
  async func(this: Context, { url }: Url, wanted: string) {
    const client = this.connect(url);
    // Two are enough to see that the name is not the name of one only.
    const query = { name: wanted, n: '2' };
    const { data } = await client.GET('/tokens', { params: { path: {}, query } });
    const { id } = onlyOne('token', wanted, entriesIn(data?.tokens), (token) => [
      token.name,
      token.id,
      `${token.owner}/${token.name}`,
    ]);
    await done(client.DELETE('/tokens/{id}', { params: { path: { id } } }));
  },
});

const revokeAll = buildCommand({
  docs: { brief: 'Revoke all tokens of the user whose credentials are used' },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    await done(this.connect(url).DELETE('/me/tokens', { params: { path: {} } }));
  },
});

export const token = buildRouteMap({
  routes: { add, list, remove, revokeAll },
  docs: { brief: 'Named tokens of robots and users' },
});
