// The commands for users, tokens and rules: each a row with what is typed, what it asks the API for, and what it prints.
import { randomBytes } from 'node:crypto';
import { text as readAll } from 'node:stream/consumers';
import type { Connection } from './connection.ts';
import { CommandFailure } from './failure.ts';
import { table } from './table.ts';

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

export interface Call {
  api: Connection;
  /** What stands after the command, as many as it has `<...>`. */
  positionals: string[];
  values: Values;
}

export interface Command {
  /** `user add <name>` */
  usage: string;
  /** Option -> whether it may be given several times; a flag takes no value. */
  options?: Record<string, 'one' | 'many' | 'flag'>;
  help: string;
  /** What goes to the standard output. */
  run(call: Call): Promise<string>;
}

const GRANTS = { role: 'one', repositories: 'many', tags: 'one' } as const;

export const COMMANDS: Command[] = [
  {
    usage: 'user add <name>',
    options: { group: 'many', 'password-stdin': 'flag' },
    help: 'Adds a user. Prints a password that it makes, unless one comes on the standard input.',
    async run({ api, positionals: [name], values }) {
      const { password, isMade } = await newPassword(values);
      await api.call('POST', '/users', { name, password, groups: all(values.group) });
      return isMade ? `${password}\n` : '';
    },
  },
  {
    usage: 'user list',
    help: 'Lists users.',
    run: async ({ api }) =>
      table(await api.list('/users', 'users'), ['name', 'groups', 'disabled', 'createdAt', 'signsInAs']),
  },
  {
    usage: 'user passwd <name>',
    options: { 'password-stdin': 'flag' },
    help: 'Gives a user another password. Prints one that it makes, unless one comes on the standard input.',
    async run({ api, positionals: [name], values }) {
      const { password, isMade } = await newPassword(values);
      await api.call('PATCH', `/users/${segment(name)}`, { password });
      return isMade ? `${password}\n` : '';
    },
  },
  {
    usage: 'user groups <name>',
    options: { group: 'many' },
    help: 'Puts a user into these groups, and out of all others.',
    run: ({ api, positionals: [name], values }) =>
      done(api.call('PATCH', `/users/${segment(name)}`, { groups: all(values.group) })),
  },
  ...(['disable', 'enable'] as const).map((verb) => ({
    usage: `user ${verb} <name>`,
    help: verb === 'disable' ? 'Lets a user, and their tokens, in no more.' : 'Lets a user in again.',
    run: ({ api, positionals: [name] }: Call) =>
      done(api.call('PATCH', `/users/${segment(name)}`, { disabled: verb === 'disable' })),
  })),
  {
    usage: 'user link <account> <name>',
    help: 'Makes the person behind an account of a sign-in another user, and removes the account.',
    run: ({ api, positionals: [account, to] }) =>
      done(api.call('POST', `/users/${segment(account)}/link`, { to })),
  },
  {
    usage: 'user revoke <name>',
    help: 'Revokes all tokens of a user. The password goes on working.',
    run: ({ api, positionals: [name] }) => done(api.call('DELETE', `/users/${segment(name)}/tokens`)),
  },
  {
    usage: 'user remove <name>',
    help: 'Removes a user, with their tokens and rules.',
    run: ({ api, positionals: [name] }) => done(api.call('DELETE', `/users/${segment(name)}`)),
  },
  {
    usage: 'token add <name>',
    options: { ...GRANTS, owner: 'one', expires: 'one' },
    help: 'Makes a token, of a robot or of --owner, and prints it.',
    async run({ api, positionals: [name], values }) {
      const { owner, expires } = values;
      const grants = grantsOf(values);
      const made = await api.call('POST', '/tokens', { name, owner, grants, expiresIn: secondsOf(expires) });
      return `${(made as { token: string }).token}\n`;
    },
  },
  {
    usage: 'token list',
    options: { owner: 'one' },
    help: 'Lists tokens.',
    async run({ api, values: { owner } }) {
      const path = owner === undefined ? '/tokens' : `/tokens?owner=${segment(String(owner))}`;
      const tokens = await api.list(path, 'tokens');
      return table(tokens, ['id', 'name', 'owner', 'grants', 'expiresAt', 'lastUsedAt']);
    },
  },
  {
    usage: 'token remove <name or id>',
    help: 'Revokes a token.',
    run: ({ api, positionals: [wanted] }) => removeNamed(api, 'tokens', wanted),
  },
  {
    usage: 'token revoke-all',
    help: 'Revokes all tokens of the user that these credentials are of.',
    run: ({ api }) => done(api.call('DELETE', '/me/tokens')),
  },
  {
    usage: 'rule add <subject>',
    options: GRANTS,
    help: 'Gives a role to user:NAME, token:NAME, group:NAME, authenticated or anonymous (which makes public). Prints the id.',
    async run({ api, positionals: [subject], values }) {
      const rules = grantsOf(values);
      if (rules.length === 0) throw new CommandFailure('say which: --role reader --repositories "team-a/*"');
      let ids = '';
      for (const grant of rules) ids += await made(api.call('POST', '/rules', { subject, ...grant }));
      return ids;
    },
  },
  {
    usage: 'rule list',
    help: 'Lists rules.',
    run: async ({ api }) =>
      table(await api.list('/rules', 'rules'), ['id', 'subject', 'role', 'repositories', 'tags']),
  },
  {
    usage: 'rule remove <id>',
    help: 'Takes a rule back.',
    run: ({ api, positionals: [id] }) => done(api.call('DELETE', `/rules/${segment(id)}`)),
  },
];

export function all(value: Values[string]): string[] {
  return (Array.isArray(value) ? value : value === undefined ? [] : [value]).map(String);
}

export async function done(call: Promise<unknown>): Promise<string> {
  await call;
  return '';
}

/** Gives the id of what was made, by which it is removed. */
export async function made(call: Promise<unknown>): Promise<string> {
  const { id } = (await call) as { id: string };
  return `${id}\n`;
}

export function segment(text: string | undefined): string {
  return encodeURIComponent(text ?? '');
}

/** By name or id. */
export async function removeNamed(api: Connection, what: 'tokens' | 'trusts', wanted = ''): Promise<string> {
  const [found, ...more] = (await api.list(`/${what}`, what)).filter(
    ({ id, name, owner }) => name === wanted || id === wanted || `${owner}/${name}` === wanted,
  );
  if (more.length > 0) throw new CommandFailure(`there are several ${what} ${wanted}: give the id of one`);
  if (found === undefined) throw new CommandFailure(`there is no ${what.slice(0, -1)} ${wanted}`);
  return done(api.call('DELETE', `/${what}/${segment(String(found.id))}`));
}

/** `90d`, `12h`, `30m`, `45s`. */
export function secondsOf(value: Values[string]): number | undefined {
  if (value === undefined) return undefined;
  const [, count, unit = ''] = /^(\d{1,9})([dhms])$/.exec(String(value)) ?? [];
  const seconds = { d: 86_400, h: 3600, m: 60, s: 1 }[unit];
  if (count === undefined || seconds === undefined)
    throw new CommandFailure(`--expires is a time such as 90d, 12h or 30m, and not ${value}`);
  return Number(count) * seconds;
}

function grantsOf({ role, repositories, tags }: Values): object[] {
  const patterns = all(repositories);
  if (role === undefined && patterns.length === 0) return [];
  if (role === undefined || patterns.length === 0)
    throw new CommandFailure('--role and --repositories go together');
  return patterns.map((pattern) => ({
    role,
    repositories: pattern,
    ...(tags === undefined ? {} : { tags }),
  }));
}

/** What a process was called with, all on its machine can see: a password never comes as an argument. */
async function newPassword(values: Values): Promise<{ password: string; isMade: boolean }> {
  if (values['password-stdin'] !== true)
    return { password: randomBytes(18).toString('base64url'), isMade: true };
  return { password: (await readAll(process.stdin)).replace(/\r?\n$/, ''), isMade: false };
}
