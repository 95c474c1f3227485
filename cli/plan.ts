// `longshore plan`: what the retention policies are about to delete, and how to stop it.
import { buildCommand, buildRouteMap } from '@stricli/core';
import { allPages } from './client.ts';
import {
  type Context,
  DRY_RUN,
  given,
  JSON_OPTION,
  positional,
  text,
  URL_OPTION,
  type Url,
} from './command.ts';
import { CommandFailure } from './failure.ts';
import { bytesText, countText } from './progress/format.ts';
import { table } from './table.ts';

type Action = 'cancel' | 'approve' | 'run';

interface Shown {
  id: string;
  state: string;
  tags: number;
  of: number;
  manifests: number;
  bytes: number;
  says: string;
}

const show = buildCommand({
  docs: { brief: 'Show the plan: each tag that it deletes, the rule, and the bytes that this frees' },
  parameters: { flags: { json: JSON_OPTION, url: URL_OPTION }, positional: positional('repository') },
  async func(this: Context, { json, url }: { json: boolean } & Url, name: string) {
    const client = this.connect(url);
    let plan: Shown | null = null;
    const tags = await allPages(async (query) => {
      const { data, response } = await client.GET('/repositories/{name}/plan', {
        params: { path: { name }, query },
      });
      plan = data?.plan ?? null;
      return { entries: data?.tags, response };
    });
    if (json) this.print(`${JSON.stringify({ plan, tags })}\n`);
    else if (plan === null) this.print(`There is no plan for ${name}.\n`);
    else {
      const rows = tags.map((entry) => ({ ...entry, pushed: entry.pushedAt.slice(0, 10) }));
      this.print(`${summaryOf(plan)}${table(rows, ['tag', 'pushed', 'policy', 'why'])}`);
    }
  },
});

export const plan = buildRouteMap({
  routes: {
    show,
    cancel: acting('cancel', 'Cancel the plan. The next one is made 7 days later'),
    approve: acting('approve', 'Approve a plan that waits for a person'),
    run: acting('run', 'Apply the plan now, and do not wait for its time'),
  },
  docs: { brief: 'Plans of the retention policies: what is about to be deleted' },
});

function acting(action: Action, brief: string) {
  return buildCommand({
    docs: { brief },
    parameters: {
      flags: {
        id: text('Only the plan with this id', 'id'),
        dryRun: DRY_RUN,
        json: JSON_OPTION,
        url: URL_OPTION,
      },
      positional: positional('repository'),
    },
    async func(
      this: Context,
      { id, dryRun, json, url }: { id: string | undefined; dryRun: boolean; json: boolean } & Url,
      name: string,
    ) {
      const { data } = await this.connect(url).POST('/repositories/{name}/plan', {
        params: { path: { name } },
        body: { action, dryRun, ...given({ id }) },
      });
      if (data === undefined) throw new CommandFailure('The answer of the registry is not complete.');
      this.print(json ? `${JSON.stringify(data)}\n` : summaryOf(data));
    },
  });
}

function summaryOf({ id, state, tags, of, manifests, bytes, says }: Shown): string {
  const what = `${countText(tags, 'tag')} of ${of}, ${countText(manifests, 'manifest')}, ${bytesText(bytes)}`;
  return `Plan ${id}, ${state}: ${what}.\nIt ${says}.\n`;
}
