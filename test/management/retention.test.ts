/** What the registry knows of pulls and of running images, and what the retention policies say about each tag. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Registry } from '../budgets/client.ts';
import { AHEAD } from '../durable-objects/calls.ts';
import { imageIndex, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { basic } from '../support/visitor.ts';
import { ADMIN, Api, GUARDED, type Json } from './api.ts';

const DAY_MS = 24 * 3600 * 1000;
const HOUR_MS = 3600 * 1000;
const LOGIN = basic(ADMIN);

interface Judged {
  tag: string;
  state: string;
  at: string | null;
  pulledAt: string | null;
  running: boolean;
  why: string;
  policy: string | null;
}

eachHome((home) => {
  const api = new Api(home);
  const fresh = () => new Registry(home, LOGIN, repositoryName('kept'));
  const verdicts = async (name: string, query = '') =>
    (await api.made('GET', `/repositories/${encodeURIComponent(name)}/retention${query}`)).tags as Judged[];
  const sentences = async (name: string) =>
    Object.fromEntries((await verdicts(name)).map(({ tag, why }) => [tag, why]));
  const add = async (policy: Json) => {
    const made = await api.made('POST', '/lifecycle', policy);
    await spread(home);
    return (made.policy as { id: string }).id;
  };

  before(() => home.stopClock(AHEAD));

  describe('a pull', () => {
    const pullsOf = async (registry: Registry) => {
      await home.settled();
      const rows = await home.rows(
        'REPOSITORY',
        registry.name,
        'SELECT reference, at FROM pulls ORDER BY reference',
      );
      return Object.fromEntries(rows.map(({ reference, at }) => [reference, (Number(at) - AHEAD) / HOUR_MS]));
    };

    it('is recorded with its tag or digest, and again after an hour', async () => {
      const registry = fresh();
      const image = await registry.pushImage('v1');
      await registry.send('GET', 'manifests/v1', 200);
      assert.deepEqual(await pullsOf(registry), { v1: 0 });
      await registry.send('GET', `manifests/${image.digest}`, 200);
      assert.deepEqual(await pullsOf(registry), { v1: 0, [image.digest]: 0 });
      await home.stopClock(AHEAD + 0.9 * HOUR_MS);
      await registry.send('GET', 'manifests/v1', 200);
      await registry.send('GET', `manifests/${image.digest}`, 200);
      assert.deepEqual(await pullsOf(registry), { v1: 0, [image.digest]: 0 });
      await home.stopClock(AHEAD + HOUR_MS);
      await registry.send('HEAD', 'manifests/v1', 200);
      await registry.send('GET', `manifests/${image.digest}`, 200);
      assert.deepEqual(await pullsOf(registry), { v1: 1, [image.digest]: 1 });
      await home.stopClock(AHEAD);
    });

    it('writes no more than one row an hour, also after the object was evicted', async () => {
      const registry = fresh();
      await registry.pushImage('v1');
      await registry.send('GET', 'manifests/v1', 200);
      await home.settled();
      await home.evict('REPOSITORY', registry.name);
      await home.reset();
      for (let time = 0; time < 5; time++) await registry.send('GET', 'manifests/v1', 200);
      await home.settled();
      const { statements } = await home.counts();
      const pulls = Object.entries(statements).filter(([statement]) => /pulls/.test(statement));
      assert.deepEqual(
        pulls.map(([, { written }]) => written),
        pulls.map(() => 0),
      );
    });

    it('by digest is recorded where a cache answers, and a HEAD by digest is no pull', async () => {
      const registry = fresh();
      const image = await registry.pushImage('v1');
      await registry.send('HEAD', `manifests/${image.digest}`, 200);
      await registry.send('GET', `manifests/${image.digest}`, 200);
      await home.cached();
      assert.deepEqual(await pullsOf(registry), { [image.digest]: 0 });
      await home.rows('REPOSITORY', registry.name, 'DELETE FROM pulls');
      await home.stopClock(AHEAD + 50_000);
      await registry.send('GET', `manifests/${image.digest}`, 200);
      assert.deepEqual(await pullsOf(registry), {}, 'within the hour');
      await home.stopClock(AHEAD);
    });

    it('of what is not there is not recorded', async () => {
      const registry = fresh();
      await registry.pushImage('v1');
      await registry.send('GET', 'manifests/other', 404);
      await home.settled();
      const tables = await home.rows(
        'REPOSITORY',
        registry.name,
        `SELECT 1 FROM sqlite_master WHERE name = 'pulls'`,
      );
      assert.deepEqual(tables, []);
    });
  });

  describe('the verdicts of a repository', () => {
    const registry = fresh();
    const { name } = registry;
    let index: Manifest;
    let child: Manifest;
    let running: Manifest;
    let signed: Manifest;
    let id = '';
    const tagged = async (tag: string, daysAgo: number) => {
      await home.stopClock(AHEAD - daysAgo * DAY_MS);
      return registry.pushImage(tag);
    };

    before(async () => {
      await tagged('old', 60);
      await tagged('pulled', 59);
      running = await tagged('running', 58);
      signed = await tagged('signed', 57);
      child = await registry.pushBlobs(imageManifest());
      await registry.pushManifest(child, child.digest);
      index = imageIndex([child]);
      await registry.pushManifest(index, 'by-child');
      await tagged('release-1', 50);
      await tagged('release-2', 49);
      await tagged('main', 3);
      await home.stopClock(AHEAD - 5 * DAY_MS);
      await registry.send('GET', 'manifests/pulled', 200);
      await home.settled();
      await home.stopClock(AHEAD);
      id = await add({
        kind: 'retention',
        repositories: name,
        keep: [{ pulledWithin: 10 }, { running: true }, { signed: true }, { matches: 'release-*' }],
        after: 30,
      });
    });

    it('say of each tag what keeps it, or when it expires', async () => {
      const reported = await api.made('POST', '/running', {
        source: 'cluster-1',
        images: [
          `docker-pullable://registry.example.com/${name}@${running.digest}`,
          `registry.example.com:5000/${name}:latest@${child.digest}`,
          `${name}:latest`,
          `docker.io/library/nginx@${child.digest}`,
        ],
      });
      assert.deepEqual(reported, { recorded: 3, ignored: 1 });
      const signature = imageManifest({
        artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json',
        subject: signed.descriptor,
      });
      await registry.pushManifest(await registry.pushBlobs(signature), signature.digest);
      assert.deepEqual(await sentences(name), {
        'by-child': 'kept: it is reported as running',
        main: `expires on ${day(27)}: no rule will keep it, and it will be 30 days old`,
        old: `expired on ${day(-30)}: no rule keeps it, and it was pushed 60 days ago`,
        pulled: `kept until ${day(5)}: it was pulled 5 days ago, and is kept for 10 days after a pull`,
        'release-1': 'kept: it matches release-*',
        'release-2': 'kept: it matches release-*',
        running: 'kept: it is reported as running',
        signed: 'kept: it is signed',
      });
      const [old] = (await verdicts(name)).filter(({ tag }) => tag === 'old');
      assert.deepEqual([old?.state, old?.policy, old?.running], ['expired', id, false]);
    });

    it('come in pages', async () => {
      const first = await verdicts(name, '?n=3');
      const rest = await verdicts(name, '?n=100&last=old');
      assert.deepEqual(
        [...first, ...rest].map(({ tag }) => tag),
        ['by-child', 'main', 'old', 'pulled', 'release-1', 'release-2', 'running', 'signed'],
      );
      const { headers } = await api.call('GET', `/repositories/${encodeURIComponent(name)}/retention?n=3`);
      assert.match(headers.get('Link') ?? '', /last=old.*rel="next"/);
    });

    it('of a running image end three days after the last report', async () => {
      await home.stopClock(AHEAD + 3 * DAY_MS);
      assert.equal((await sentences(name)).running, 'kept: it is reported as running');
      await home.stopClock(AHEAD + 3.3 * DAY_MS);
      assert.match((await sentences(name)).running ?? '', /^expired/);
      await home.stopClock(AHEAD);
    });

    it('can be tried with another policy, which changes nothing', async () => {
      const policy = {
        kind: 'retention',
        repositories: 'kept/**',
        tags: 'release-*',
        keep: [{ lastPushed: 1 }],
        after: 1,
      };
      const tried = async (body: Json) =>
        Object.fromEntries(
          ((await api.made('POST', '/lifecycle/preview', body)).tags as Judged[]).map(({ tag, why }) => [
            tag,
            why,
          ]),
        );
      const before = await sentences(name);
      const exact = { ...policy, repositories: name };
      assert.deepEqual(await tried({ repository: name, policy: exact }), {
        ...before,
        'release-1': `expired on ${day(-49)}: no rule keeps it, and it was pushed 50 days ago`,
        'release-2': 'kept: the last pushed of release-*',
      });
      assert.deepEqual(
        await tried({ repository: name, policy }),
        before,
        'one of the namespace decides less',
      );
      const replaced = await tried({ repository: name, policy, replaces: id });
      assert.equal(replaced.old, 'kept: no retention policy covers it');
      assert.match(replaced['release-1'] ?? '', /^expired/);
      assert.deepEqual(await sentences(name), before);
      const missing = { repository: 'kept/nothing', policy };
      assert.equal((await api.call('POST', '/lifecycle/preview', missing)).status, 404);
      const unknown = { repository: name, policy, replaces: '999' };
      assert.equal((await api.call('POST', '/lifecycle/preview', unknown)).status, 404);
    });

    it('are only for those who may pull the repository, and so are reports', async () => {
      await api.made('POST', '/users', { name: 'carol', password: 'the password of carol' });
      const carol = 'carol:the password of carol';
      const path = `/repositories/${encodeURIComponent(name)}/retention`;
      assert.equal((await api.call('GET', path, undefined, carol)).status, 404);
      const report = { source: 'x', images: [`host.example/${name}@${index.digest}`] };
      assert.deepEqual(await api.made('POST', '/running', report, carol), { recorded: 0, ignored: 1 });
    });

    it('of many tags are read in steps, within the limits of production', async () => {
      const many = fresh();
      const image = await many.pushImage('first');
      await home.rows(
        'REPOSITORY',
        many.name,
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO tags (name, digest, updated_at, generation)
           SELECT printf('t%05d', i), digest, ${AHEAD} - i * 60000, generation FROM n, manifests
           WHERE digest = '${image.digest}'`,
      );
      const page = await verdicts(many.name, '?n=1000&last=t00999');
      assert.equal(page.length, 1000);
      assert.equal(page.at(-1)?.tag, 't01999');
      assert.deepEqual(await home.violations(), []);
    });
  });
}, GUARDED);

function day(fromNow: number): string {
  return new Date(AHEAD + fromNow * DAY_MS).toISOString().slice(0, 10);
}

async function spread(home: Home): Promise<void> {
  await home.settled();
  while (await home.ringDue('CATALOG', 'catalog'));
}
