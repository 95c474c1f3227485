// `longshore explain`: why a subject, or the token of a CI job, may or may not do something.
import { buildCommand } from '@stricli/core';
import type { Paths } from './api.ts';
import { claimsIn } from './claims.ts';
import { type Client, entriesIn, textIn } from './client.ts';
import { type Context, text, URL_OPTION, type Url } from './command.ts';
import { CommandFailure, EXIT } from './failure.ts';

interface Options {
  claims: string | undefined;
  json: boolean | undefined;
}

type Action = (typeof ACTIONS)[number];
type Answer = Paths['/explain']['post']['responses'][200]['content']['application/json'];
type Decision = Partial<Pick<Answer, 'allowed' | 'why' | 'tags' | 'networks' | 'certificates'>>;
type Trust = Answer['trusts'][number];
type Grant = Pick<Trust['grants'][number], 'role' | 'repositories' | 'tags'>;

const ACTIONS = ['pull', 'push', 'delete'] as const;

export const explain = buildCommand({
  docs: {
    brief: 'Explain whether a subject or a CI token may pull, push or delete, and why',
    fullDescription: `Explain whether a subject or a CI token may pull, push or delete, and why.

A subject is user:NAME, token:NAME, group:NAME, authenticated or anonymous.
With --claims it is the token of an OpenID Connect issuer: the command prints what each trust makes of its claims. Of a JWT, only
the claims are sent to the registry. The signature is not checked.`,
    customUsage: [
      `[--json] [--url url] <subject> ${ACTIONS.join('|')} <repository>`,
      `--claims <file> [--json] [--url url] ${ACTIONS.join('|')} <repository>`,
    ],
  },
  parameters: {
    flags: {
      claims: text('File with the claims of a token as JSON, or with the token; - is standard input', 'file'),
      json: { kind: 'boolean', optional: true, brief: 'Print the answer of the registry as JSON' },
      url: URL_OPTION,
    },
    positional: {
      kind: 'array',
      parameter: { brief: 'subject (without --claims), action and repository', parse: String },
    },
  },
  async func(this: Context, { claims, json = false, url }: Options & Url, ...named: string[]) {
    const client = this.connect(url);
    if (claims === undefined) {
      const [subject, action, repository] = argumentsIn(named, ['subject', 'action', 'repository']);
      const answer = await ofSubject(client, subject, actionOf(action), repository);
      const told = decisionText(answer);
      this.print(json ? jsonOf(answer) : told);
      return;
    }
    const [action, repository] = argumentsIn(named, ['action', 'repository']);
    const body = { claims: await claimsIn(claims), action: actionOf(action), repository };
    const { data } = await client.POST('/explain', { params: { path: {} }, body });
    const told = claimsText(data ?? {});
    this.print(json ? jsonOf(data) : told);
  },
});

async function ofSubject(client: Client, subject: string, action: Action, repository: string) {
  const query = { subject, action, repository };
  const { data } = await client.GET('/explain', { params: { path: {}, query } });
  return data ?? {};
}

/** Throws a CommandFailure unless there are as many arguments as names. */
function argumentsIn<const Names extends readonly string[]>(
  given: string[],
  names: Names,
): { [At in keyof Names]: string } {
  if (given.length === names.length) return given as { [At in keyof Names]: string };
  throw new CommandFailure(
    `The arguments are ${names.map((name) => `<${name}>`).join(' ')}. There are ${given.length}.\nAdd --help to see how the command is used.`,
    EXIT.usage,
  );
}

function actionOf(text: string): Action {
  const action = ACTIONS.find((one) => one === text);
  if (action !== undefined) return action;
  throw new CommandFailure(`The action is ${ACTIONS.join(', ')}. It is not ${text}.`, EXIT.usage);
}

function jsonOf(answer: unknown): string {
  return `${JSON.stringify(answer, null, 2)}\n`;
}

function decisionText({ allowed, why, tags, networks, certificates }: Decision): string {
  const conditions = Object.entries({ tags, networks, certificates })
    .filter(([, lists]) => lists != null)
    .map(([name, lists]) => `  only ${name}: ${lists?.map((list) => list.join(' or ')).join(', and ')}\n`);
  return `${allowed ? 'allowed' : 'refused'}: ${textIn(why)}\n${conditions.join('')}`;
}

function claimsText(answer: Partial<Answer>): string {
  const trusts = entriesIn(answer.trusts).map(trustText);
  const notes = (answer.notes ?? []).map((note) => `note: ${note}\n`);
  return [decisionText(answer), ...trusts, ...notes].join('');
}

function trustText({ name, id, isUsed, why, conditions, grants }: Trust): string {
  const lines = [
    ...entriesIn(conditions).map(({ claim, wanted, values, isMet, why: reason }) => {
      const value = values.length === 0 ? 'not in the token' : values.join(', ');
      return isMet
        ? `met      ${claim}: ${value} matches ${wanted}`
        : `not met  ${claim}: ${reason} (${value})`;
    }),
    ...entriesIn(grants).map(({ filled, why: reason, ...grant }) =>
      filled === null
        ? `nothing  ${grantText(grant)}: ${reason}`
        : `grant    ${grantText({ ...grant, ...filled })}`,
    ),
  ];
  const heading = `trust ${name} (id ${id}): ${isUsed ? 'used' : `not used${why === null ? '' : `: ${why}`}`}`;
  return [heading, ...lines.map((line) => `  ${line}`)].map((line) => `${line}\n`).join('');
}

function grantText({ role, repositories, tags }: Grant): string {
  return `${role} of ${repositories}${tags === null ? '' : ` (tags ${tags})`}`;
}
