// `longshore explain`: why a subject may or may not do something.
import { buildChoiceParser, buildCommand } from '@stricli/core';
import { textIn } from './client.ts';
import { type Context, URL_OPTION, type Url } from './command.ts';

type Action = (typeof ACTIONS)[number];

const ACTIONS = ['pull', 'push', 'delete'] as const;

export const explain = buildCommand({
  docs: { brief: 'Explain whether a subject may pull, push or delete, and why' },
  parameters: {
    flags: { url: URL_OPTION },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'such as user:bob, token:ci or anonymous', placeholder: 'subject', parse: String },
        { brief: 'action', placeholder: ACTIONS.join('|'), parse: buildChoiceParser(ACTIONS) },
        { brief: 'repository', placeholder: 'repository', parse: String },
      ],
    },
  },
  async func(this: Context, { url }: Url, subject: string, action: Action, repository: string) {
    const query = { subject, action, repository };
    const { data } = await this.connect(url).GET('/explain', { params: { path: {}, query } });
    const { allowed, why, tags, networks, certificates } = data ?? {};
    const conditions = Object.entries({ tags, networks, certificates })
      .filter(([, lists]) => lists != null)
      .map(([name, lists]) => `  only ${name}: ${lists?.map((list) => list.join(' or ')).join(', and ')}\n`);
    this.print(`${allowed ? 'allowed' : 'refused'}: ${textIn(why)}\n${conditions.join('')}`);
  },
});
