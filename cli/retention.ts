// `longshore retention`: what keeps each tag of a repository, or when it expires and why.
import { buildCommand } from '@stricli/core';
import { allPages } from './client.ts';
import { type Context, JSON_OPTION, positional, URL_OPTION, type Url } from './command.ts';
import { table } from './table.ts';

interface Verdict {
  tag: string;
  state: string;
  at: string | null;
  pushedAt: string;
  pulledAt: string | null;
  why: string;
}

interface Output {
  json: boolean;
  expired: boolean;
}

export const retention = buildCommand({
  docs: { brief: 'List the tags of a repository: what keeps each, or when it expires and why' },
  parameters: {
    flags: {
      expired: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Only tags that the next run deletes',
      },
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: positional('repository'),
  },
  async func(this: Context, options: Output & Url, name: string) {
    const client = this.connect(options.url);
    const tags = await allPages(async (query) => {
      const { data, response } = await client.GET('/repositories/{name}/retention', {
        params: { path: { name }, query },
      });
      return { entries: data?.tags, response };
    });
    printVerdicts(this, tags, options);
  },
});

export function printVerdicts(context: Context, tags: Verdict[], { json, expired }: Output): void {
  const wanted = expired ? tags.filter(({ state }) => state === 'expired') : tags;
  if (json) {
    context.print(`${JSON.stringify({ tags: wanted })}\n`);
    return;
  }
  const rows = wanted.map(({ tag, pushedAt, pulledAt, why }) => ({
    tag,
    pushed: pushedAt.slice(0, 10),
    pulled: pulledAt?.slice(0, 10) ?? null,
    why,
  }));
  context.print(table(rows, ['tag', 'pushed', 'pulled', 'why']));
}
