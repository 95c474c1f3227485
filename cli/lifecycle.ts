// `longshore lifecycle`: how long tags are kept, which tags may move, and how much repositories may hold.
import { readFileSync } from 'node:fs';
import { buildChoiceParser, buildCommand, buildRouteMap } from '@stricli/core';
import type { Paths } from './api.ts';
import { allPages, entriesIn, textIn } from './client.ts';
import {
  type Context,
  DRY_RUN,
  given,
  JSON_OPTION,
  positional,
  text,
  texts,
  URL_OPTION,
  type Url,
} from './command.ts';
import { CommandFailure } from './failure.ts';
import { bytesText, countText } from './progress/format.ts';
import { printVerdicts } from './retention.ts';
import { table } from './table.ts';

type NewPolicy = Paths['/lifecycle']['post']['requestBody']['content']['application/json'];
type Policy = Paths['/lifecycle']['get']['responses'][200]['content']['application/json']['policies'][number];
type KeepRule = Extract<NewPolicy, { kind: 'retention' }>['keep'][number];

const KINDS = ['retention', 'tags', 'quota'] as const;
type Kind = (typeof KINDS)[number];

interface PolicyOptions {
  repositories: string | undefined;
  tags: string | undefined;
  keep: string[] | undefined;
  after: number | undefined;
  untaggedAfter: number | undefined;
  deletesImmutable: boolean;
  immutable: string[] | undefined;
  protected: string[] | undefined;
  semver: boolean;
  except: string[] | undefined;
  maxBytes: number | undefined;
  maxTags: number | undefined;
  soft: boolean;
  file: string | undefined;
}

interface Output {
  json: boolean;
}

const POLICY_OPTIONS = {
  repositories: text('Repositories that the policy is for, as a pattern', 'pattern'),
  tags: text('retention: tags that the policy covers, as a pattern', 'pattern'),
  keep: texts('retention: a rule that keeps tags, such as last-pushed=10', 'rule'),
  after: days('retention: tags that no rule keeps expire when they are this old, such as 30d'),
  untaggedAfter: days('retention: untagged manifests are deleted after this time'),
  deletesImmutable: flag('retention: immutable tags expire too'),
  immutable: texts('tags: these neither move nor are deleted', 'pattern'),
  protected: texts('tags: only maintainers move or delete these', 'pattern'),
  semver: flag('tags: full versions such as 1.4.2 are immutable'),
  except: texts('tags: the policy does not cover these', 'pattern'),
  maxBytes: {
    kind: 'parsed',
    parse: sizeOf,
    optional: true,
    brief: 'quota: what each repository may hold, such as 10GB',
    placeholder: 'size',
  } as const,
  maxTags: {
    kind: 'parsed',
    parse: countOf,
    optional: true,
    brief: 'quota: tags that each repository may have',
    placeholder: 'count',
  } as const,
  soft: flag('quota: pushes over the limit are only recorded, not refused'),
  file: text('A file with the policy as JSON, instead of the other options', 'file'),
};

const RULES = [
  'A rule of --keep is one of:',
  '  last-pushed=N            the N images that were pushed last',
  '  last-pulled=N            the N images that were pulled last',
  '  newest-of-each-minor=N   the N newest versions of each minor version, such as 1.4',
  '  younger-than=DAYS        tags that were pushed within this time, such as 14d',
  '  pulled-within=DAYS       tags that were pulled within this time',
  '  matches=PATTERN          tags that match',
  '  running                  images that are reported as running',
  '  signed                   images that have a signature',
].join('\n');

const KIND = {
  kind: 'tuple',
  parameters: [{ brief: 'kind', placeholder: KINDS.join('|'), parse: buildChoiceParser(KINDS) }],
} as const;

const add = buildCommand({
  docs: {
    brief: 'Add a lifecycle policy and print its id',
    fullDescription: `Add a lifecycle policy and print its id. There are three kinds:
  retention  Says which tags are kept. What no rule keeps expires.
  tags       Says which tags may not move.
  quota      Says how much each repository may hold.

${RULES}`,
  },
  parameters: {
    flags: {
      ...POLICY_OPTIONS,
      dryRun: DRY_RUN,
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: KIND,
  },
  async func(this: Context, options: PolicyOptions & Output & { dryRun: boolean } & Url, kind: Kind) {
    const query = options.dryRun ? { dryRun: 'true' as const } : {};
    const body = policyOf(kind, options);
    const { data } = await this.connect(options.url).POST('/lifecycle', {
      params: { path: {}, query },
      body,
    });
    if (options.json) return this.print(`${JSON.stringify(data)}\n`);
    this.print(options.dryRun ? reachOf('This would add', data) : `${textIn(data?.policy.id)}\n`);
  },
});

const list = buildCommand({
  docs: { brief: 'List lifecycle policies' },
  parameters: { flags: { json: JSON_OPTION, url: URL_OPTION } },
  async func(this: Context, { json, url }: Output & Url) {
    const { data } = await this.connect(url).GET('/lifecycle', { params: { path: {} } });
    printPolicies(this, entriesIn(data?.policies), json);
  },
});

const show = buildCommand({
  docs: { brief: 'Show the lifecycle policies of a repository' },
  parameters: { flags: { json: JSON_OPTION, url: URL_OPTION }, positional: positional('repository') },
  async func(this: Context, { json, url }: Output & Url, name: string) {
    const { data } = await this.connect(url).GET('/repositories/{name}/lifecycle', {
      params: { path: { name } },
    });
    printPolicies(this, entriesIn(data?.policies), json);
  },
});

const remove = buildCommand({
  docs: { brief: 'Delete a lifecycle policy' },
  parameters: {
    flags: {
      dryRun: DRY_RUN,
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: positional('id'),
  },
  async func(this: Context, { dryRun, json, url }: { dryRun: boolean } & Output & Url, id: string) {
    const query = dryRun ? { dryRun: 'true' as const } : {};
    const { data } = await this.connect(url).DELETE('/lifecycle/{id}', { params: { path: { id }, query } });
    if (json) return this.print(`${JSON.stringify(data)}\n`);
    this.print(reachOf(dryRun ? 'This would delete' : 'Deleted', data));
  },
});

const preview = buildCommand({
  docs: {
    brief: 'Try a policy on a repository: what keeps each tag, or when it expires and why',
    fullDescription: `Try a policy on a repository: what keeps each tag, or when it expires and why. Nothing is stored.

${RULES}`,
  },
  parameters: {
    flags: {
      ...POLICY_OPTIONS,
      replaces: text('The id of a policy that this one is to replace', 'id'),
      expired: flag('Only tags that the next run would delete'),
      json: JSON_OPTION,
      url: URL_OPTION,
    },
    positional: positional('repository'),
  },
  async func(
    this: Context,
    options: PolicyOptions & Output & { replaces: string | undefined; expired: boolean } & Url,
    repository: string,
  ) {
    const policy = policyOf('retention', { ...options, repositories: options.repositories ?? repository });
    const client = this.connect(options.url);
    const body = { repository, policy, ...given({ replaces: options.replaces }) };
    const tags = await allPages(async (query) => {
      const { data, response } = await client.POST('/lifecycle/preview', {
        params: { path: {}, query },
        body,
      });
      return { entries: data?.tags, response };
    });
    printVerdicts(this, tags, options);
  },
});

export const lifecycle = buildRouteMap({
  routes: { add, list, show, remove, preview },
  docs: {
    brief:
      'Lifecycle policies: how long tags are kept, which tags may move, and how much repositories may hold',
  },
});

/** Throws a CommandFailure. */
function policyOf(kind: Kind, options: PolicyOptions): NewPolicy {
  if (options.file !== undefined) return policyIn(options.file);
  const { repositories = '', tags, keep = [], after, untaggedAfter, deletesImmutable, semver } = options;
  if (kind === 'tags') {
    const { immutable = [], protected: guarded = [], except = [] } = options;
    return { kind, repositories, immutable, protected: guarded, semver, except };
  }
  if (kind === 'quota') {
    const { maxBytes: bytes = null, maxTags = null, soft } = options;
    return { kind, repositories, bytes, tags: maxTags, hard: !soft };
  }
  if (after === undefined)
    throw new CommandFailure(
      'A retention policy needs --after, such as --after 30d: tags are kept at least this long.',
    );
  return {
    kind,
    repositories,
    keep: keep.map(ruleOf),
    after,
    deletesImmutable,
    ...given({ tags, untaggedAfter }),
  };
}

/** `last-pushed=10`, `pulled-within=30d`, `running`. Throws a CommandFailure. */
function ruleOf(written: string): KeepRule {
  const at = written.indexOf('=');
  const [name, value] = at < 0 ? [written, ''] : [written.slice(0, at), written.slice(at + 1)];
  const count = Number(/^\d{1,6}$/.test(value) ? value : Number.NaN);
  const time = Number(/^(\d{1,5})d?$/.exec(value)?.[1] ?? Number.NaN);
  const rule = {
    'last-pushed': { lastPushed: count },
    'last-pulled': { lastPulled: count },
    'newest-of-each-minor': { newestOfEachMinor: count },
    'younger-than': { youngerThan: time },
    'pulled-within': { pulledWithin: time },
    matches: { matches: value },
    running: { running: true as const },
    signed: { signed: true as const },
  }[name];
  if (rule === undefined || Object.values(rule).some((one) => Number.isNaN(one)))
    throw new CommandFailure(`--keep ${written} is not a rule.\n${RULES}`);
  return rule;
}

function policyIn(file: string): NewPolicy {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as NewPolicy;
  } catch (error) {
    throw new CommandFailure(`Cannot read --file ${file}: ${error instanceof Error ? error.message : error}`);
  }
}

function printPolicies(context: Context, policies: Policy[], json: boolean): void {
  if (json) {
    context.print(`${JSON.stringify({ policies })}\n`);
    return;
  }
  const rows = policies.map((policy) => ({ ...policy, says: inWords(policy) }));
  context.print(table(rows, ['id', 'kind', 'repositories', 'says']));
}

function reachOf(what: string, answer: { policy: Policy; repositories: number } | undefined): string {
  if (answer === undefined) throw new CommandFailure('The answer of the registry is not complete.');
  const { policy, repositories } = answer;
  return `${what} a policy of kind ${policy.kind} for ${repositories === 1 ? '1 repository' : `${repositories} repositories`}: ${inWords(policy)}\n`;
}

/** Such as `release-*: keeps lastPushed=10, running; the others expire after 30 days`. */
function inWords(policy: Policy): string {
  if (policy.kind === 'tags') {
    const { immutable, protected: guarded, semver, except } = policy;
    const frozen = [...(semver ? ['full versions'] : []), ...immutable];
    const parts = [
      frozen.length > 0 && `immutable: ${frozen.join(', ')}`,
      guarded.length > 0 && `protected: ${guarded.join(', ')}`,
      except.length > 0 && `except: ${except.join(', ')}`,
    ];
    return parts.filter(Boolean).join('; ');
  }
  if (policy.kind === 'quota') {
    const limits = [
      policy.bytes === null ? [] : bytesText(policy.bytes),
      policy.tags === null ? [] : countText(policy.tags, 'tag'),
    ].flat();
    return `at most ${limits.join(' and ')} in each${policy.hard ? '' : '; pushes over it are only recorded'}`;
  }
  const { tags, keep, after, untaggedAfter, deletesImmutable } = policy;
  const rules = keep.map((rule) =>
    Object.entries(rule)
      .map(([name, value]) => (value === true ? name : `${name}=${value}`))
      .join(' '),
  );
  return [
    `${tags ?? 'all tags'}: ${rules.length === 0 ? 'keeps none' : `keeps ${rules.join(', ')}`}`,
    `the others expire after ${after} days`,
    ...(untaggedAfter === null ? [] : [`untagged manifests after ${untaggedAfter} days`]),
    ...(deletesImmutable ? ['immutable tags too'] : []),
  ].join('; ');
}

function flag(brief: string) {
  return { kind: 'boolean', default: false, withNegated: false, brief } as const;
}

function days(brief: string) {
  const parse = (value: string) => {
    const [, count] = /^(\d{1,5})d?$/.exec(value) ?? [];
    if (count === undefined) throw new Error('use a number of days, such as 30d');
    return Number(count);
  };
  return { kind: 'parsed', parse, optional: true, brief, placeholder: 'days' } as const;
}

const SIZE_UNITS: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/** `10GB`, `500 MB`, `1000`: in units of 1000, as sizes are printed. */
function sizeOf(value: string): number {
  const [, number = '', unit = ''] = /^(\d{1,15}(?:\.\d{1,3})?) ?([kmgt]?)b?$/i.exec(value) ?? [];
  const bytes = Math.round(Number(number) * (SIZE_UNITS[unit.toLowerCase()] ?? Number.NaN));
  if (number === '' || !Number.isSafeInteger(bytes)) throw new Error('use a size, such as 500MB or 10GB');
  return bytes;
}

function countOf(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new Error('use a whole number, such as 100');
  return Number(value);
}
