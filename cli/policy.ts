// `longshore policy`: what must hold besides a role.
import { buildChoiceParser, buildCommand, buildRouteMap } from '@stricli/core';
import { allPages, done, textIn } from './client.ts';
import { type Context, positional, text, texts, URL_OPTION, type Url } from './command.ts';
import { table } from './table.ts';

type Kind = (typeof KINDS)[number];

const KINDS = ['networks', 'certificate', 'create'] as const;

const add = buildCommand({
  docs: {
    brief: 'Add a policy and print its id',
    fullDescription: [
      'Add a policy and print its id. There are three kinds:',
      '  networks     Requests must come from one of the networks.',
      '  certificate  Clients must show a certificate, of one of the subjects if there are any.',
      '  create       A push may create repositories only if their names match.',
    ].join('\n'),
  },
  parameters: {
    flags: {
      repositories: text('Repositories that the policy is for, as a pattern', 'pattern'),
      network: texts('A network, such as 10.0.0.0/8', 'network'),
      subject: texts('The subject of a client certificate', 'subject'),
      url: URL_OPTION,
    },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'kind', placeholder: KINDS.join('|'), parse: buildChoiceParser(KINDS) }],
    },
  },
  async func(
    this: Context,
    options: {
      repositories: string | undefined;
      network: string[] | undefined;
      subject: string[] | undefined;
    } & Url,
    kind: Kind,
  ) {
    const { repositories = '', network: networks = [], subject: subjects = [] } = options;
    const body = {
      networks: { kind: 'networks', repositories, networks } as const,
      certificate: { kind: 'certificate', repositories, subjects } as const,
      create: { kind: 'create', repositories } as const,
    }[kind];
    const { data } = await this.connect(options.url).POST('/policies', { params: { path: {} }, body });
    this.print(`${textIn(data?.id)}\n`);
  },
});

const list = buildCommand({
  docs: { brief: 'List policies' },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    const client = this.connect(url);
    const policies = await allPages(async (query) => {
      const { data, response } = await client.GET('/policies', { params: { path: {}, query } });
      return { entries: data?.policies, response };
    });
    const rows = policies.map((entry) => ({ networks: [], subjects: [], ...entry }));
    this.print(table(rows, ['id', 'kind', 'repositories', 'networks', 'subjects']));
  },
});

const remove = buildCommand({
  docs: { brief: 'Delete a policy' },
  parameters: { flags: { url: URL_OPTION }, positional: positional('id') },
  async func(this: Context, { url }: Url, id: string) {
    await done(this.connect(url).DELETE('/policies/{id}', { params: { path: { id } } }));
  },
});

export const policy = buildRouteMap({
  routes: { add, list, remove },
  docs: { brief: 'Policies: what must hold besides a role' },
});
