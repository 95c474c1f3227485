// `longshore abandoned-uploads`: the repositories that layers over Cloudflare's limit did not reach.
import { buildCommand } from '@stricli/core';
import { allPages } from './client.ts';
import { type Context, URL_OPTION, type Url } from './command.ts';
import { table } from './table.ts';

export const abandonedUploads = buildCommand({
  docs: {
    brief: 'List repositories whose uploads were cut off before they arrived',
    fullDescription:
      'List repositories with uploads of the last 7 days that began and brought no bytes. On Cloudflare these are mostly layers over 100 MB, which must be sent by longshore push (docs/large-layers.md).',
  },
  parameters: { flags: { url: URL_OPTION } },
  async func(this: Context, { url }: Url) {
    const client = this.connect(url);
    const repositories = await allPages(async (query) => {
      const { data, response } = await client.GET('/abandoned-uploads', { params: { path: {}, query } });
      return { entries: data?.repositories ?? [], response };
    });
    this.print(table(repositories, ['repository', 'count', 'lastAt', 'userAgent']));
  },
});
