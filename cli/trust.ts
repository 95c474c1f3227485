// `longshore trust`: issuers of OpenID Connect tokens, and what their tokens may do.
import { readFileSync } from 'node:fs';
import { buildCommand, buildRouteMap } from '@stricli/core';
import { done, entriesIn, textIn } from './client.ts';
import { type Context, positional, ROLES, text, texts, URL_OPTION, type Url } from './command.ts';
import { CommandFailure } from './failure.ts';
import { onlyOne } from './only-one.ts';
import { table } from './table.ts';

interface Options {
  issuer: string | undefined;
  audience: string | undefined;
  condition: string[] | undefined;
  grant: string[] | undefined;
  jwks: string | undefined;
}

interface KeySet {
  keys: Record<string, unknown>[];
}

/** `role:repositories[:tags]`; a claim in braces may contain colons. */
const GRANT = /^([a-z]+):((?:\{[^}]*\}|[^:{}])+)(?::(.+))?$/;

const add = buildCommand({
  docs: {
    brief: 'Trust the tokens of an OpenID Connect issuer, and print the id of the trust',
    fullDescription:
      'Trust the tokens of an OpenID Connect issuer, and print the id of the trust. A token must meet all conditions. It then has the grants, in which {claim} is replaced by the value of the claim.',
  },
  parameters: {
    flags: {
      issuer: text('URL of the issuer', 'url'),
      audience: text('Audience that the tokens must name', 'audience'),
      condition: texts('A claim and its pattern, such as repository=acme/*', 'claim=pattern'),
      grant: texts('A grant, such as writer:acme/{repository_name}', 'role:repositories[:tags]'),
      jwks: text('File with the keys of an issuer that the registry cannot reach', 'file'),
      url: URL_OPTION,
    },
    positional: positional('name'),
  },
  async func(this: Context, options: Options & Url, name: string) {
    const { issuer = '', audience = '', condition = [], grant = [], jwks: file } = options;
    const body = {
      name,
      issuer,
      audience,
      conditions: Object.fromEntries(condition.map(conditionOf)),
      grants: grant.map(grantOf),
      ...(file === undefined ? {} : { jwks: keySetIn(file) }),
    };
    const { data } = await this.connect(options.url).POST('/trusts', { params: { path: {} }, body });
    this.print(`${textIn(data?.id)}\n`);
  },
});

const list = buildCommand({
  docs: { brief: 'List trusts' },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    const { data } = await this.connect(url).GET('/trusts', { params: { path: {} } });
    this.print(table(entriesIn(data?.trusts), ['id', 'name', 'issuer', 'audience', 'conditions', 'grants']));
  },
});

const remove = buildCommand({
  docs: { brief: 'Delete a trust: its tokens are then refused' },
  parameters: { flags: { url: URL_OPTION }, positional: positional('name or id') },
  async func(this: Context, { url }: Url, wanted: string) {
    const client = this.connect(url);
    const { data } = await client.GET('/trusts', { params: { path: {}, query: { name: wanted } } });
    const { id } = onlyOne('trust', wanted, entriesIn(data?.trusts), (trust) => [trust.name, trust.id]);
    await done(client.DELETE('/trusts/{id}', { params: { path: { id } } }));
  },
});

export const trust = buildRouteMap({
  routes: { add, list, remove },
  docs: { brief: 'Trusted issuers of OpenID Connect tokens' },
});

function conditionOf(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1)
    throw new CommandFailure(`--condition must be claim=pattern, such as repository=acme/*. It is ${text}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function grantOf(text: string) {
  const [, name, repositories, tags] = GRANT.exec(text) ?? [];
  const role = ROLES.find((role) => role === name);
  if (role === undefined || repositories === undefined)
    throw new CommandFailure(
      `--grant must be role:repositories or role:repositories:tags. It is ${text}.\nRoles: ${ROLES.join(', ')}.`,
    );
  return { role, repositories, ...(tags === undefined ? {} : { tags }) };
}

function keySetIn(file: string): KeySet {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as KeySet;
  } catch (error) {
    throw new CommandFailure(`Cannot read --jwks ${file}: ${error instanceof Error ? error.message : error}`);
  }
}
