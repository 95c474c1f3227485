// `longshore log` and `longshore diff`: the history of the tags of a repository.
import { buildCommand } from '@stricli/core';
import { allPages } from './client.ts';
import { type Context, given, JSON_OPTION, URL_OPTION, type Url } from './command.ts';
import { shortDigest } from './progress/format.ts';
import { repositoryTarget } from './repository-target.ts';
import { table } from './table.ts';
import { timeOf } from './time-option.ts';

interface Flags extends Url {
  json: boolean;
}
type Target = ReturnType<typeof repositoryTarget>;

export const log = buildCommand({
  docs: { brief: 'Print who moved and deleted the tags of a repository, the latest first' },
  parameters: {
    flags: { json: JSON_OPTION, url: URL_OPTION },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'The repository, or a tag', placeholder: 'repository[:tag]', parse: repositoryTarget },
      ],
    },
  },
  async func(this: Context, { json, url }: Flags, { name, tag }: Target) {
    const client = this.connect(url);
    const moves = await allPages(async (query) => {
      const { data, response } = await client.GET('/repositories/{name}/history', {
        params: { path: { name }, query: { ...query, ...given({ tag: tag ?? undefined }) } },
      });
      return { entries: data?.moves, response };
    });
    if (json) return this.print(`${JSON.stringify({ moves })}\n`);
    const rows = moves.map((move) => ({
      ...move,
      from: move.from === null ? null : shortDigest(move.from),
      to: move.digest === null ? null : shortDigest(move.digest),
      why: move.source === null ? move.why : `${move.why} from ${move.source}`,
      by: move.actor || null,
      address: move.address || null,
    }));
    this.print(table(rows, ['at', 'tag', 'from', 'to', 'why', 'by', 'address', 'deletion']));
  },
});

export const diff = buildCommand({
  docs: {
    brief: 'List tags that led to something else at one time than at another',
    fullDescription:
      'List tags that led to something else at one time than at another, or than now. A time is such as 2026-11-01T09:00Z, or an age such as 2h or 3d.',
  },
  parameters: {
    flags: { json: JSON_OPTION, url: URL_OPTION },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'The repository', placeholder: 'repository', parse: repositoryTarget },
        { brief: 'A time', placeholder: 'time', parse: timeOf },
        { brief: 'Another time; now without it', placeholder: 'time', parse: timeOf, optional: true },
      ],
    },
  },
  async func(this: Context, { json, url }: Flags, { name }: Target, from: string, to?: string) {
    const client = this.connect(url);
    const tags = await allPages(async (query) => {
      const { data, response } = await client.GET('/repositories/{name}/diff', {
        params: { path: { name }, query: { ...query, from, ...given({ to }) } },
      });
      return { entries: data?.tags, response };
    });
    if (json) return this.print(`${JSON.stringify({ tags })}\n`);
    const short = (digest: string | null) => (digest === null ? null : shortDigest(digest));
    this.print(
      table(
        tags.map((entry) => ({ tag: entry.tag, from: short(entry.from), to: short(entry.to) })),
        ['tag', 'from', 'to'],
      ),
    );
  },
});
