// `longshore doctor`: checks from this machine whether images can be pushed to a registry, and by which way.
import { buildCommand } from '@stricli/core';
import { allPages, type Client } from './client.ts';
import { type Context, URL_OPTION, type Url } from './command.ts';
import { checkBucket } from './doctor/bucket.ts';
import { checkReach, checkTls, checkWall } from './doctor/connection.ts';
import { type Finding, note, ok, reasonOf, wrong } from './doctor/finding.ts';
import { CommandFailure } from './failure.ts';
import { table } from './table.ts';
import { parseOrigin } from './transfer/target.ts';

/** Repositories that one row names. */
const NAMES_MAX = 3;

const DEFAULT_URL = 'http://localhost:8787';

interface Options extends Url {
  wall: boolean;
}

export const doctor = buildCommand({
  docs: {
    brief: 'Check whether images can be pushed from here, and by which way',
    fullDescription: `Check whether images can be pushed from here, and by which way.

It checks the network, TLS, the clock and the credentials. With the credentials of an admin, and if direct uploads are set up, it tries on
the bucket what R2 enforces: right and wrong bytes, temporary credentials. What it stores there is deleted again.
With --wall it sends a body of 101 MB into an upload that it cancels, to see whether something in front of the registry refuses it.

Exit codes: 0 nothing is wrong, 1 something is wrong.`,
  },
  parameters: {
    flags: {
      url: URL_OPTION,
      wall: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Try a body of 101 MB',
      },
    },
  },
  async func(this: Context, { url, wall }: Options) {
    const { env } = process;
    const origin = parseOrigin(url || env.LONGSHORE_URL || DEFAULT_URL);
    const findings: Finding[] = [];
    const { findings: reach, isReached } = await checkReach(origin);
    findings.push(...reach, await checkTls(origin));
    if (isReached) {
      findings.push(...(await checkAsUser(this.connect(origin), origin)));
      findings.push(wall ? await checkWall(origin, env) : untried());
    }
    this.print(table(findings, ['check', 'state', 'result', 'advice']));
    const count = findings.filter(({ state }) => state === 'wrong').length;
    if (count > 0) {
      throw new CommandFailure(
        `${count === 1 ? '1 check has' : `${count} checks have`} found something wrong.\nThe column ADVICE says what to do.`,
      );
    }
  },
});

async function checkAsUser(client: Client, origin: string): Promise<Finding[]> {
  try {
    const { data } = await client.GET('/me', { params: { path: {} } });
    const login = ok('log-in', `${data?.subject}${data?.admin ? ' (admin)' : ''}`);
    if (data?.admin) return [login, ...(await checkBucket(client, origin)), await checkAbandoned(client)];
    return [login, note('direct uploads', 'were not tried', 'Only an admin can try them.')];
  } catch (error) {
    return [
      wrong('log-in', reasonOf(error), 'Set LONGSHORE_USER and LONGSHORE_PASSWORD (a password or a token).'),
    ];
  }
}

/** What large layers leave behind that something in front of the registry refused. */
async function checkAbandoned(client: Client): Promise<Finding> {
  const check = 'refused layers';
  const repositories = await allPages(async (query) => {
    const { data, response } = await client.GET('/abandoned-uploads', { params: { path: {}, query } });
    return { entries: data?.repositories ?? [], response };
  });
  if (repositories.length === 0) return ok(check, 'none in the last 7 days');
  const names = repositories.slice(0, NAMES_MAX).map(({ repository }) => repository);
  const more = repositories.length > NAMES_MAX ? ` and ${repositories.length - NAMES_MAX} others` : '';
  return note(
    check,
    `uploads to ${names.join(', ')}${more} brought no bytes`,
    'longshore abandoned-uploads lists them, docs/large-layers.md has the ways that work.',
  );
}

function untried(): Finding {
  return note(
    'bodies over 100 MB',
    'were not tried',
    'Add --wall to send one of 101 MB, which is thrown away.',
  );
}
