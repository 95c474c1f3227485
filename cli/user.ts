// `longshore user`: people, their passwords and groups.
import { randomBytes } from 'node:crypto';
import { text as readAll } from 'node:stream/consumers';
import { buildCommand, buildRouteMap } from '@stricli/core';
import { allPages, checkUser, done } from './client.ts';
import { type Context, positional, texts, URL_OPTION, type Url } from './command.ts';
import { table } from './table.ts';

interface PasswordOption {
  passwordStdin: boolean | undefined;
}

interface GroupOption {
  group: string[] | undefined;
}

const PASSWORD_OPTION = {
  kind: 'boolean',
  optional: true,
  withNegated: false,
  brief: 'Read the password from standard input',
} as const;

const add = buildCommand({
  docs: {
    brief: 'Add a user',
    fullDescription: 'Add a user. Prints a new random password, unless --password-stdin is set.',
  },
  parameters: {
    flags: { group: texts('A group of the user', 'group'), passwordStdin: PASSWORD_OPTION, url: URL_OPTION },
    positional: positional('name'),
  },
  async func(this: Context, options: PasswordOption & GroupOption & Url, name: string) {
    const password = await newPassword(options);
    const body = { name, password, groups: options.group ?? [] };
    const { data } = await this.connect(options.url).POST('/users', { params: { path: {} }, body });
    checkUser(data, name);
    if (!options.passwordStdin) this.print(`${password}\n`);
  },
});

const list = buildCommand({
  docs: { brief: 'List users' },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    const client = this.connect(url);
    const users = await allPages(async (query) => {
      const { data, response } = await client.GET('/users', { params: { path: {}, query } });
      return { entries: data?.users, response };
    });
    this.print(table(users, ['name', 'groups', 'disabled', 'createdAt', 'signsInAs']));
  },
});

const passwd = buildCommand({
  docs: {
    brief: 'Change the password of a user',
    fullDescription:
      'Change the password of a user. Prints a new random password, unless --password-stdin is set.',
  },
  parameters: { flags: { passwordStdin: PASSWORD_OPTION, url: URL_OPTION }, positional: positional('name') },
  async func(this: Context, options: PasswordOption & Url, name: string) {
    const password = await newPassword(options);
    const { data } = await this.connect(options.url).PATCH('/users/{name}', {
      params: { path: { name } },
      body: { password },
    });
    checkUser(data, name);
    if (!options.passwordStdin) this.print(`${password}\n`);
  },
});

const groups = buildCommand({
  docs: { brief: 'Set the groups of a user: these, and no others' },
  parameters: {
    flags: { group: texts('A group of the user', 'group'), url: URL_OPTION },
    positional: positional('name'),
  },
  async func(this: Context, { group = undefined, url }: GroupOption & Url, name: string) {
    const body = { groups: group ?? [] };
    const { data } = await this.connect(url).PATCH('/users/{name}', { params: { path: { name } }, body });
    checkUser(data, name);
  },
});

const disable = settingDisabled('Disable a user and refuse their tokens', true);
const enable = settingDisabled('Enable a disabled user', false);

function settingDisabled(brief: string, disabled: boolean) {
  return buildCommand({
    docs: { brief },
    parameters: { flags: { url: URL_OPTION }, positional: positional('name') },
    async func(this: Context, { url }: Url, name: string) {
      const client = this.connect(url);
      const { data } = await client.PATCH('/users/{name}', {
        params: { path: { name } },
        body: { disabled },
      });
      checkUser(data, name);
    },
  });
}

const link = buildCommand({
  docs: {
    brief: 'Link the account of a sign-in to a user',
    fullDescription:
      'Link the account of a sign-in to a user. From the next sign-in on, the person is this user. The account is deleted.',
  },
  parameters: { flags: { url: URL_OPTION }, positional: positional('account', 'name') },
  async func(this: Context, { url }: Url, account: string, to: string) {
    await done(
      this.connect(url).POST('/users/{name}/link', { params: { path: { name: account } }, body: { to } }),
    );
  },
});

const revoke = buildCommand({
  docs: { brief: 'Revoke all tokens of a user; the password stays valid' },
  parameters: { flags: { url: URL_OPTION }, positional: positional('name') },
  async func(this: Context, { url }: Url, name: string) {
    await done(this.connect(url).DELETE('/users/{name}/tokens', { params: { path: { name } } }));
  },
});

const remove = buildCommand({
  docs: { brief: 'Delete a user, with their tokens and rules' },
  parameters: { flags: { url: URL_OPTION }, positional: positional('name') },
  async func(this: Context, { url }: Url, name: string) {
    await done(this.connect(url).DELETE('/users/{name}', { params: { path: { name } } }));
  },
});

export const user = buildRouteMap({
  routes: { add, list, passwd, groups, disable, enable, link, revoke, remove },
  docs: { brief: 'Users: people, their passwords and groups' },
});

/** A password is never an argument: all users of a machine can see the arguments of its processes. */
async function newPassword({ passwordStdin = undefined }: PasswordOption): Promise<string> {
  if (!passwordStdin) return randomBytes(18).toString('base64url');
  return (await readAll(process.stdin)).replace(/\r?\n$/, '');
}
