/**
 * The access matrix: caller (anonymous, roles, robots, tokens that are narrowed or for some tags) x repository x endpoint x kind
 * of credentials. Every cell is compared with a separate model (`matrix/model.ts`). A caller who may not pull from a repository
 * that is there is answered word for word as for one that is not. On one machine all of it, on Cloudflare a sample.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { ADMIN as ADMIN_SHOWN, Api, GUARDED } from '../management/api.ts';
import { imageManifest, type Manifest } from '../support/fixtures.ts';
import { type Home, onHome } from '../support/homes.ts';
import { type Answer, Visitor } from '../support/visitor.ts';
import { ask, type Cell, found, wanted } from './matrix/cell.ts';
import { ENDPOINTS, type Endpoint, OF_ALL, pushImage, SOURCES, type Target } from './matrix/endpoints.ts';
import {
  CALLERS,
  type Caller,
  isMissing,
  KINDS,
  type Kind,
  may,
  NAMES,
  RULES,
  type Way,
} from './matrix/model.ts';

const AT_A_TIME = 12;
const PASSWORD = 'the password of a user';
/** Those that meet every kind of refusal, and of success. */
const SAMPLE = ['without credentials', 'robot-maintainer', 'pr-writer'];

const ownName = (kind: Kind) => `${NAMES[kind]}m${String(numbered++).padStart(6, '0')}`;
let numbered = 0;
let cells = 0;

function matrix(home: Home, callers: Caller[]): void {
  const admin = new Visitor(home, ADMIN_SHOWN);
  const images = new Map<Kind, Manifest>();
  const visitors = new Map<string, Visitor>();
  const visitor = ({ name }: Caller) => visitors.get(name) ?? new Visitor(home, null);

  before(async () => {
    await prepare(new Api(home), callers, (name, shown) => visitors.set(name, new Visitor(home, shown)));
    for (const kind of KINDS) {
      images.set(kind, imageManifest());
      if (!isMissing(kind)) await pushImage(admin, NAMES[kind], images.get(kind) ?? imageManifest());
    }
    await pushImage(admin, SOURCES.own, imageManifest());
  });

  /** What a push could bring into being has a name of its own. */
  const targetOf = (kind: Kind, { need }: Endpoint): Target => {
    const missing = need === 'push' ? ownName(kind) : `${NAMES[kind]}nothing`;
    const name = isMissing(kind) ? missing : NAMES[kind];
    return { name, kind, admin, image: images.get(kind) ?? imageManifest() };
  };

  for (const caller of callers)
    for (const way of caller.ways) {
      it(`${caller.name}, ${way}: the registry`, async () => {
        const asked = OF_ALL.map((endpoint): Cell => ({ caller, way, endpoint }));
        await holds(asked, ({ endpoint }) => targetOf('own', endpoint), visitor(caller));
      });

      const refused = new Map<string, string>();
      for (const kind of KINDS)
        it(`${caller.name}, ${way}: ${kind}`, async () => {
          const asked = ENDPOINTS.map((endpoint): Cell => ({ caller, way, endpoint }));
          const answers = await holds(asked, ({ endpoint }) => targetOf(kind, endpoint), visitor(caller));
          if (may(caller, kind, 'pull') || !['private', 'missing'].includes(kind)) return;
          for (const { cell, target, answer } of answers) {
            const said = wordForWord(answer, target.name);
            const before = refused.get(cell.endpoint.name) ?? said;
            assert.equal(said, before, `${cell.endpoint.name} tells a private repository from a missing one`);
            refused.set(cell.endpoint.name, said);
          }
          assert.equal(refused.size, ENDPOINTS.length);
        });
    }
}

/** Asks all of some cells, and holds what they come to beside the model. */
async function holds(asked: Cell[], targetOf: (cell: Cell) => Target, visitor: Visitor) {
  const answers: { cell: Cell; target: Target; answer: Answer }[] = [];
  const rest = [...asked];
  const one = async () => {
    for (let cell = rest.shift(); cell !== undefined; cell = rest.shift()) {
      const target = targetOf(cell);
      answers.push({ cell, target, answer: await ask(cell, target, visitor) });
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, one));
  cells += answers.length;
  const table = (outcome: (entry: (typeof answers)[number]) => string) =>
    Object.fromEntries(answers.map((entry) => [entry.cell.endpoint.name, outcome(entry)]));
  assert.deepEqual(
    table(({ answer }) => found(answer)),
    table(({ cell, target }) => wanted(cell, target)),
  );
  return answers;
}

/** An answer without the name of its repository, and without what differs by the clock alone. */
function wordForWord({ status, headers, text }: Answer, name: string): string {
  const lines = [...headers].filter(([key]) => key !== 'date').map(([key, value]) => `${key}: ${value}`);
  return [status, ...lines, text].join('\n').replaceAll(name, 'NAME');
}

/** Users, robots and tokens, with their rules. */
async function prepare(
  api: Api,
  callers: Caller[],
  made: (name: string, shown: string) => void,
): Promise<void> {
  for (const rule of RULES) await api.made('POST', '/rules', rule);
  const users = new Set<string>();
  const user = async (name: string, role: Caller['role'], tags: string | null) => {
    if (users.has(name)) return;
    users.add(name);
    await api.made('POST', '/users', { name, password: PASSWORD });
    if (role === null) return;
    await api.made('POST', '/rules', { subject: `user:${name}`, role, repositories: 'own/*', tags });
  };
  for (const { name, as, role, tags } of callers) {
    if (as === 'anonymous') continue;
    if (as === 'admin') made(name, ADMIN_SHOWN);
    else if (as === 'user') {
      await user(name, role, tags);
      made(name, `${name}:${PASSWORD}`);
    } else if (as === 'robot') {
      const { token } = await api.made('POST', '/tokens', {
        name,
        grants: [{ role, repositories: 'own/*', tags }],
      });
      made(name, `robot:${token}`);
    } else {
      const owner = `user-${as.tokenOf}`;
      await user(owner, as.tokenOf, null);
      const [given, repositories] = as.grant;
      const body = { name, owner, grants: [{ role: given, repositories }] };
      made(name, `${owner}:${(await api.made('POST', '/tokens', body)).token}`);
    }
  }
}

describe('the access matrix', () => {
  onHome('disk', (home) => matrix(home, CALLERS), GUARDED);
  const only = (caller: Caller) => ({ ...caller, ways: caller.ways.filter((way: Way) => way !== 'basic') });
  const sample = CALLERS.filter(({ name }) => SAMPLE.includes(name)).map(only);
  onHome('r2', (home) => matrix(home, sample), GUARDED);

  it('the access matrix has all its cells', (test) => {
    test.diagnostic(`${cells} cells were asked`);
    assert.ok(cells > 5000, `${cells} cells`);
  });
});
