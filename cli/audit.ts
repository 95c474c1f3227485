// `longshore audit`: the audit log.
import { buildCommand } from '@stricli/core';
import { type Context, given, text, URL_OPTION, type Url } from './command.ts';

interface Options {
  count: string | undefined;
  actor: string | undefined;
  repository: string | undefined;
  decision: 'allowed' | 'denied' | undefined;
}

export const audit = buildCommand({
  docs: { brief: 'Print the audit log as JSON lines, newest event first' },
  parameters: {
    flags: {
      count: text('Number of events', 'number'),
      actor: text('Only events of this subject, such as user:bob', 'subject'),
      repository: text('Only events of this repository', 'name'),
      decision: {
        kind: 'enum',
        values: ['allowed', 'denied'],
        optional: true,
        brief: 'Only what was allowed, or only what was denied',
      },
      url: URL_OPTION,
    },
    aliases: { n: 'count' },
  },
  async func(this: Context, { url, count: n, ...filters }: Options & Url) {
    const { data } = await this.connect(url).GET('/audit', {
      params: { path: {}, query: given({ n, ...filters }) },
      headers: { Accept: 'application/x-ndjson' },
      parseAs: 'text',
    });
    this.print(data ?? '');
  },
});
