// `longshore rule`: which subject has which role on which repositories.
import { buildCommand, buildRouteMap } from '@stricli/core';
import { allPages, done, textIn } from './client.ts';
import {
  type Context,
  GRANT_OPTIONS,
  type Grants,
  grantsOf,
  positional,
  URL_OPTION,
  type Url,
} from './command.ts';
import { CommandFailure } from './failure.ts';
import { table } from './table.ts';

const add = buildCommand({
  docs: {
    brief: 'Give a role on repositories to a subject, and print the id of the rule',
    fullDescription:
      'Give a role on repositories to a subject, and print the id of the rule. A subject is user:NAME, token:NAME, group:NAME, authenticated (all who log in) or anonymous (everyone: the repositories are then public).',
  },
  parameters: { flags: { ...GRANT_OPTIONS, url: URL_OPTION }, positional: positional('subject') },
  async func(this: Context, options: Grants & Url, subject: string) {
    const grants = grantsOf(options);
    if (grants.length === 0)
      throw new CommandFailure(
        'A rule needs a role and repositories: --role reader --repositories "team-a/*"',
      );
    const client = this.connect(options.url);
    for (const grant of grants) {
      const { data } = await client.POST('/rules', { params: { path: {} }, body: { subject, ...grant } });
      this.print(`${textIn(data?.id)}\n`);
    }
  },
});

const list = buildCommand({
  docs: { brief: 'List rules' },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    const client = this.connect(url);
    const rules = await allPages(async (query) => {
      const { data, response } = await client.GET('/rules', { params: { path: {}, query } });
      return { entries: data?.rules, response };
    });
    this.print(table(rules, ['id', 'subject', 'role', 'repositories', 'tags']));
  },
});

const remove = buildCommand({
  docs: { brief: 'Delete a rule' },
  parameters: { flags: { url: URL_OPTION }, positional: positional('id') },
  async func(this: Context, { url }: Url, id: string) {
    await done(this.connect(url).DELETE('/rules/{id}', { params: { path: { id } } }));
  },
});

export const rule = buildRouteMap({
  routes: { add, list, remove },
  docs: { brief: 'Rules: roles on repositories' },
});
