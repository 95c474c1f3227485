// The options and environment variables of the benchmark, and its help.
import { parseArgs } from 'node:util';
import { HOMES, type HomeName } from './homes.ts';
import type { Scale } from './row.ts';

export interface Options {
  readonly homes: readonly HomeName[];
  readonly scale: Scale;
  /** Only rows whose name matches. */
  readonly only: RegExp;
  readonly rounds: number;
  /** No new round begins after a row has taken this long. At least one round is measured. */
  readonly rowBudgetMs: number;
  readonly peers: readonly { name: string; url: string }[];
  /** Measures pushes of images by clients, and nothing else. */
  readonly push: boolean;
}

const FULL: Scale = { blobMiB: [64, 512], images: 160, tags: 10_000, repositories: 2_000, roundMs: 700 };
const QUICK: Scale = { blobMiB: [64], images: 80, tags: 1_000, repositories: 200, roundMs: 300 };

const HELP = `npm run bench -- [options]

Measures the registry in both homes and a minimal Worker (the floor). Writes results/bench.json.

  --quick           smaller and shorter: 64 MiB only, 1,000 tags, 200 repositories
  --home=HOME       only this home: machine or r2
  --push            only pushes of large images: longshore push, longshore proxy, crane and regctl
  --only=REGEX      only rows whose name matches; with --push, only images: --only='40 layers'
  PEERS=NAME=URL,…  environment variable: other registries to measure beside the machine home.
                    The benchmark pushes to repositories named bench/…

"redirected" is a GET, its 307, and a GET of the blob host. The blob host is the registry itself, because there is no CDN here.
The floor and other registries answer the first GET in their own way. --only='pull .*B,' selects these rows.

"Bearer", "Basic" and "token for" are with access control. They are compared with "open", the registry without it. The floor of
a token is one call of a Durable Object and one signature. --only='Bearer|Basic|token for' selects these rows.
`;

/** Null if it printed the help. Throws for an unknown option. */
export function readOptions(args: string[], env: NodeJS.ProcessEnv): Options | null {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      home: { type: 'string' },
      only: { type: 'string', default: '' },
      push: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return null;
  }
  const homes = HOMES.filter((home) => values.home === undefined || home === values.home);
  if (homes.length === 0) throw new Error(`--home is one of ${HOMES.join(', ')}, not ${values.home}`);
  return {
    homes,
    scale: values.quick ? QUICK : FULL,
    only: new RegExp(values.only, 'i'),
    rounds: values.quick ? 2 : 3,
    rowBudgetMs: 6_000,
    push: values.push,
    peers: (env.PEERS ?? '').split(',').filter(Boolean).map(parsePeer),
  };
}

function parsePeer(text: string): { name: string; url: string } {
  const [name, ...rest] = text.split('=');
  const url = rest.join('=');
  if (name === undefined || !URL.canParse(url))
    throw new Error(`PEERS must be name=url,name=url. It is "${text}".`);
  return { name, url };
}
