// `longshore usage`: what repositories hold, and what is left of their quotas.
import { buildCommand } from '@stricli/core';
import { allPages } from './client.ts';
import { type Context, JSON_OPTION, URL_OPTION, type Url } from './command.ts';
import { CommandFailure } from './failure.ts';
import { bytesText, countText } from './progress/format.ts';
import { repositoryTarget } from './repository-target.ts';
import { table } from './table.ts';

interface Flags extends Url {
  json: boolean;
}
type Target = ReturnType<typeof repositoryTarget>;

export const usage = buildCommand({
  docs: {
    brief: 'Print what repositories hold, and what is left of their quotas',
    fullDescription: `Print what a repository holds, and what is left of its quotas. Without a repository, print what each one holds, largest first.

Blobs count once in each repository. Trash is what deleted manifests still hold, until the deletions cannot be undone any more.`,
  },
  parameters: {
    flags: { json: JSON_OPTION, url: URL_OPTION },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'The repository', placeholder: 'repository', parse: repositoryTarget, optional: true },
      ],
    },
  },
  async func(this: Context, { json, url }: Flags, target?: Target) {
    const client = this.connect(url);
    if (target === undefined) {
      const repositories = await allPages(async (query) => {
        const { data, response } = await client.GET('/usage', { params: { path: {}, query } });
        return { entries: data?.repositories, response };
      });
      if (json) return this.print(`${JSON.stringify({ repositories })}\n`);
      const rows = repositories
        .sort((one, other) => other.bytes - one.bytes)
        .map((row) => ({ ...row, size: bytesText(row.bytes), trash: bytesText(row.trashedBytes) }));
      return this.print(table(rows, ['repository', 'size', 'trash', 'tags', 'manifests']));
    }
    const { name } = target;
    const { data } = await client.GET('/repositories/{name}/usage', { params: { path: { name } } });
    if (data === undefined) throw new CommandFailure('The answer of the registry is not complete.');
    if (json) return this.print(`${JSON.stringify(data)}\n`);
    const what = `${countText(data.manifests, 'manifest')} and ${countText(data.tags, 'tag')}`;
    this.print(
      `${name} holds ${bytesText(data.bytes)} in ${what}, and ${bytesText(data.trashedBytes)} in its trash.\n`,
    );
    if (!data.isCounted) this.print('It is still being counted: there is more than this.\n');
    for (const { policy, what, limit, used, left, hard } of data.quotas) {
      const text = (count: number) => (what === 'bytes' ? bytesText(count) : countText(count, 'tag'));
      const percent = limit === 0 ? 100 : Math.floor((100 * used) / limit);
      const over = hard ? 'pushes over it are refused' : 'pushes over it are only recorded';
      this.print(`Quota ${policy}: ${percent} % of ${text(limit)} used, ${text(left)} left; ${over}.\n`);
    }
  },
});
