// What all commands share: the context that they run in, and the options that recur.
import type { CommandContext } from '@stricli/core';
import { printableLines } from '../worker/oci/printable.ts';
import { type Client, connect } from './client.ts';
import { CommandFailure } from './failure.ts';

export interface Context extends CommandContext {
  /** `url` is the option `--url`. */
  connect(url: string | undefined): Client;
  print(text: string): void;
}

export const CONTEXT: Context = {
  process,
  connect: (url) => connect(url, process.env),
  print: (text) => process.stdout.write(printableLines(text)),
};

/** An option with a value. */
export function text(brief: string, placeholder: string) {
  return { kind: 'parsed', parse: String, optional: true, brief, placeholder } as const;
}

/** An option that can be given several times. */
export function texts(brief: string, placeholder: string) {
  return { ...text(brief, placeholder), variadic: true } as const;
}

/** Arguments that must be given, in their order. */
export function positional<const Names extends readonly string[]>(...names: Names) {
  const parameters = names.map((name) => ({ brief: name, placeholder: name, parse: String }));
  return { kind: 'tuple', parameters } as {
    kind: 'tuple';
    parameters: {
      [At in keyof Names]: { brief: string; placeholder: string; parse: (input: string) => string };
    };
  };
}

export interface Url {
  url: string | undefined;
}

export const URL_OPTION = text('URL of the registry', 'url');

export const JSON_OPTION = {
  kind: 'boolean',
  default: false,
  withNegated: false,
  brief: 'Print the answer of the registry as JSON',
} as const;

export const DRY_RUN = {
  kind: 'boolean',
  default: false,
  withNegated: false,
  brief: 'Change nothing, and say what would be done',
} as const;

export interface Grants {
  role: Role | undefined;
  repositories: string[] | undefined;
  tags: string | undefined;
}

type Role = (typeof ROLES)[number];

export const ROLES = ['reader', 'writer', 'maintainer', 'admin'] as const;

const ROLE_OPTION = {
  kind: 'enum',
  values: ROLES,
  optional: true,
  brief: 'A reader pulls, a writer also pushes, a maintainer also deletes, an admin of ** also manages',
} as const;

export const GRANT_OPTIONS = {
  role: ROLE_OPTION,
  repositories: texts('Repositories that the role is for, as a pattern', 'pattern'),
  tags: text('The role then covers only tags that match the pattern', 'pattern'),
};

/** Empty without the options. Throws a CommandFailure if one of the two is missing. */
export function grantsOf({ role, repositories = [], tags = undefined }: Grants) {
  if (role === undefined && repositories.length === 0) return [];
  if (role === undefined || repositories.length === 0)
    throw new CommandFailure('--role and --repositories must be given together.');
  return repositories.map((pattern) => ({ role, repositories: pattern, ...given({ tags }) }));
}

export const EXPIRES_OPTION = {
  kind: 'parsed',
  parse: secondsOf,
  optional: true,
  brief: 'Time until it expires, such as 90d, 12h or 30m',
  placeholder: 'time',
} as const;

/** `90d`, `12h`, `30m`, `45s`. */
function secondsOf(value: string): number {
  const [, count, unit = ''] = /^(\d{1,9})([dhms])$/.exec(value) ?? [];
  const seconds = { d: 86_400, h: 3600, m: 60, s: 1 }[unit];
  if (count === undefined || seconds === undefined)
    throw new Error('use a number and a unit, such as 90d, 12h or 30m');
  return Number(count) * seconds;
}

type Optional<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

/** Without the properties that are undefined. */
export function given<T extends object>(values: T): Optional<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Optional<T>;
}
