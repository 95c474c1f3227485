// `longshore rm`, `trash`, `restore` and `purge`: deletes in a repository, and undoes it.
import { buildCommand } from '@stricli/core';
import { allPages } from './client.ts';
import { type Context, DRY_RUN, given, JSON_OPTION, text, URL_OPTION, type Url } from './command.ts';
import { CommandFailure, EXIT } from './failure.ts';
import { bytesText, countText } from './progress/format.ts';
import { repositoryTarget } from './repository-target.ts';
import { table } from './table.ts';
import { timeOption } from './time-option.ts';

interface Flags extends Url {
  json: boolean;
}
interface DryRun extends Flags {
  dryRun: boolean;
}

const target = (placeholder: string, brief: string) =>
  ({ kind: 'tuple', parameters: [{ brief, placeholder, parse: repositoryTarget }] }) as const;

type Target = ReturnType<typeof repositoryTarget>;

export const rm = buildCommand({
  docs: {
    brief: 'Delete a tag, a manifest or a whole repository, until it is restored',
    fullDescription: `Delete a tag, a manifest or a whole repository.

What only that tag or manifest needs goes with it: children of an index, referrers and signatures. It is gone at once. It can be restored until
the time that the command prints, and its bytes are freed after that. With --dry-run, nothing is deleted.`,
  },
  parameters: {
    flags: {
      all: { kind: 'boolean', default: false, withNegated: false, brief: 'Delete the whole repository' },
      dryRun: DRY_RUN,
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: target('repository[:tag|@digest]', 'What to delete'),
  },
  async func(
    this: Context,
    { all, dryRun, json, url }: DryRun & { all: boolean },
    { name, tag, digest }: Target,
  ) {
    const isWhole = tag === null && digest === null;
    if (isWhole && !all)
      throw new CommandFailure(
        `Say what to delete in ${name}: ${name}:TAG or ${name}@DIGEST, or --all for the whole repository.`,
        EXIT.usage,
      );
    if (all && !isWhole)
      throw new CommandFailure(
        '--all is for a whole repository: leave out the tag or the digest.',
        EXIT.usage,
      );
    const { data } = await this.connect(url).POST('/repositories/{name}/deletions', {
      params: { path: { name } },
      body: {
        all,
        dryRun,
        ...(tag === null ? {} : { tags: [tag] }),
        ...(digest === null ? {} : { manifests: [digest] }),
      },
    });
    if (data === undefined) throw new CommandFailure('The answer of the registry is not complete.');
    if (json) return this.print(`${JSON.stringify(data)}\n`);
    if (data.tagCount + data.manifestCount === 0)
      throw new CommandFailure(`There is nothing to delete: ${name} has no ${tag ?? digest ?? 'content'}.`);
    const tags = data.tags.map((entry) => `  ${entry.tag}\n`);
    const manifests = data.manifests.map((entry) => `  ${entry.digest}  ${WHY[entry.why]}\n`);
    this.print(
      [
        `${dryRun ? 'This would delete' : 'Deleted'} ${countText(data.tagCount, 'tag')} and ${countText(data.manifestCount, 'manifest')} of ${name}:\n`,
        ...shortened(tags, data.tagCount),
        ...shortened(manifests, data.manifestCount),
        `${bytesText(data.bytes ?? 0)} ${dryRun ? 'would be' : 'will be'} freed by ${data.freedBy}.\n`,
        data.undoUntil === null
          ? 'It cannot be undone: UNDO_DAYS is 0.\n'
          : data.undo === null
            ? `It could be undone until ${data.undoUntil}.\n`
            : `Undo it until ${data.undoUntil}: ${data.undo}\n`,
      ].join(''),
    );
  },
});

export const trash = buildCommand({
  docs: { brief: 'List deletions in a repository that can be undone' },
  parameters: {
    flags: { json: JSON_OPTION, url: URL_OPTION },
    positional: target('repository', 'The repository'),
  },
  async func(this: Context, { json, url }: Flags, { name }: Target) {
    const client = this.connect(url);
    const deletions = await allPages(async (query) => {
      const path = { name };
      const { data, response } = await client.GET('/repositories/{name}/deletions', {
        params: { path, query },
      });
      return { entries: data?.deletions, response };
    });
    if (json) return this.print(`${JSON.stringify({ deletions })}\n`);
    const rows = deletions.map((entry) => ({
      ...entry,
      size: bytesText(entry.bytes),
      by: entry.actor || null,
    }));
    this.print(
      table(rows, [
        'id',
        'at',
        'by',
        'why',
        'what',
        'names',
        'tags',
        'manifests',
        'size',
        'undoUntil',
        'state',
      ]),
    );
    const bytes = deletions.reduce((sum, entry) => sum + entry.bytes, 0);
    if (deletions.length > 0) this.print(`The store keeps ${bytesText(bytes)} for them.\n`);
  },
});

export const restore = buildCommand({
  docs: {
    brief: 'Restore what was deleted, or a tag as it was',
    fullDescription: `Restore what was deleted, or a tag as it was.

  longshore restore team/app:v1                      what the tag was before it was deleted
  longshore restore team/app:v1 --at 2026-11-01T09:00Z   what it was at that time
  longshore restore team/app --deletion ID           all of a deletion; longshore trash lists them

A restore can be repeated. Tags that have moved since stay where they are, unless --force is given.`,
  },
  parameters: {
    flags: {
      at: timeOption('What the tag was at this time'),
      deletion: text('The deletion to undo', 'id'),
      force: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Move tags back that have moved since',
      },
      dryRun: DRY_RUN,
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: target('repository[:tag[@digest]]', 'What to restore'),
  },
  async func(
    this: Context,
    options: DryRun & { at: string | undefined; deletion: string | undefined; force: boolean },
    { name, tag, digest }: Target,
  ) {
    const { at, deletion, force, dryRun, json, url } = options;
    if ((tag === null) === (deletion === undefined) || digest !== null)
      throw new CommandFailure(
        `Say what to restore: ${name}:TAG, or --deletion with the id of a deletion. "longshore trash ${name}" lists them.`,
        EXIT.usage,
      );
    const { data } = await this.connect(url).POST('/repositories/{name}/restores', {
      params: { path: { name } },
      body: { force, dryRun, ...given({ at, deletion, ...(tag === null ? {} : { tag }) }) },
    });
    if (data === undefined) throw new CommandFailure('The answer of the registry is not complete.');
    if (json) return this.print(`${JSON.stringify(data)}\n`);
    const conflicts = data.conflicts.map(
      (entry) =>
        `  ${entry.tag} ${entry.digest === null ? 'was deleted again' : `leads to ${entry.digest} now`}\n`,
    );
    this.print(
      [
        `${dryRun ? 'This would restore' : 'Restored'} ${countText(data.tagCount, 'tag')} and ${countText(data.manifestCount, 'manifest')} of ${name}.\n`,
        ...shortened(
          data.tags.map((entry) => `  ${entry.tag}  ${entry.digest}\n`),
          data.tagCount,
        ),
        ...(conflicts.length === 0
          ? []
          : ['Not restored, because these have moved since (--force moves them):\n']),
        ...shortened(conflicts, conflicts.length),
        ...(data.isUnderWay
          ? [
              tag === null
                ? 'The rest follows in the background.\n'
                : 'There is more: repeat the command for the rest.\n',
            ]
          : []),
      ].join(''),
    );
  },
});

export const purge = buildCommand({
  docs: {
    brief: 'Delete for good what a deletion has deleted; this cannot be undone',
    fullDescription:
      'Delete for good what a deletion has deleted, for example a secret that was pushed by mistake. This cannot be undone. "longshore trash" lists the ids.',
  },
  parameters: {
    flags: {
      deletion: { kind: 'parsed', parse: String, brief: 'The deletion', placeholder: 'id' },
      dryRun: DRY_RUN,
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: target('repository', 'The repository'),
  },
  async func(
    this: Context,
    { deletion, dryRun, json, url }: DryRun & { deletion: string },
    { name }: Target,
  ) {
    const { data } = await this.connect(url).POST('/repositories/{name}/purges', {
      params: { path: { name } },
      body: { deletion, dryRun },
    });
    if (data === undefined) throw new CommandFailure('The answer of the registry is not complete.');
    if (json) return this.print(`${JSON.stringify(data)}\n`);
    const { tags, manifests } = data.deletion;
    this.print(
      `${dryRun ? 'This would delete' : 'Deleted'} for good: ${countText(manifests, 'manifest')} and the history of ${countText(tags, 'tag')} in the deletion ${deletion} of ${name}.\n`,
    );
  },
});

const WHY = {
  named: '',
  untagged: 'it has no other tag',
  child: 'only what goes needs it',
  referrer: 'refers to what goes',
  signature: 'signs what goes',
};

/** Lines that are printed of a long list. */
const PRINTED_MAX = 50;

function shortened(lines: string[], count: number): string[] {
  const more = count - Math.min(lines.length, PRINTED_MAX);
  return [...lines.slice(0, PRINTED_MAX), ...(more > 0 ? [`  and ${more} more\n`] : [])];
}
