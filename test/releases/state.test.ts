/**
 * State folders that earlier releases wrote (`test/fixtures/state-<version>.tar.gz`, made by `make.ts`): this release opens a
 * copy of each, serves what is in it, and goes on with it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { digest, imageManifest, type Manifest } from '../support/fixtures.ts';
import { Home } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { countersOf } from '../usage/counters.ts';
import { ADMIN, Asking, BOB, bytesOf, DELETED, FOREIGN, ROBOT, SIGNATURE, TAGGED, VARS } from './state.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures');
const DAY_MS = 24 * 3600 * 1000;
const ARCHIVES = readdirSync(FIXTURES).filter((name) => /^state-.*\.tar\.gz$/.test(name));

it('there is a state folder of release 0.1.0', () => {
  assert.ok(ARCHIVES.includes('state-0.1.0.tar.gz'));
});

for (const archive of ARCHIVES) {
  describe(`the folder in ${archive}`, () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'longshore-release-'));
    execFileSync('tar', ['-xzf', join(FIXTURES, archive), '-C', stateDir, '--no-same-owner']);
    chmodSync(stateDir, 0o700);
    const { robot }: { robot: string } = JSON.parse(readFileSync(join(stateDir, 'secrets.json'), 'utf8'));
    // The folder is opened for years to come.
    const home = new Home('disk', { stateDir, vars: { ...VARS, AUDIT_DAYS: '3650' } });
    before(() => home.start());
    after(() => home.stop());
    const asking = (as: string) => new Asking(home.url, as);

    const pullsAll = async () => {
      const admin = asking(ADMIN);
      for (const { repository, tag, manifest } of TAGGED) {
        assert.ok((await admin.pull(`/v2/${repository}/manifests/${tag}`)).equals(manifest.bytes), tag);
        for (const bytes of manifest.blobs) {
          const found = await admin.pull(`/v2/${repository}/blobs/${digest(bytes)}`);
          assert.ok(found.equals(bytes), `${repository} ${digest(bytes)}`);
        }
      }
      const referrers = JSON.parse(
        String(await admin.pull(`/v2/team/app/referrers/${TAGGED[0]?.manifest.digest}`)),
      ) as { manifests: { digest: string }[] };
      assert.deepEqual(
        referrers.manifests.map((one) => one.digest),
        [SIGNATURE.digest],
      );
      const { tags } = JSON.parse(String(await admin.pull('/v2/team/app/tags/list'))) as { tags: string[] };
      assert.deepEqual(tags, ['latest', 'multi', 'v1', 'v2']);
      assert.equal((await admin.send('GET', `/v2/team/app/manifests/${DELETED.digest}`)).status, 404);
    };

    it(`the state folder in ${archive} is served whole`, pullsAll);

    it(`the state folder in ${archive} lists its repositories`, async () => {
      const { repositories } = JSON.parse(String(await asking(ADMIN).pull('/v2/_catalog'))) as {
        repositories: string[];
      };
      for (const { repository } of TAGGED) assert.ok(repositories.includes(repository), repository);
    });

    it(`the state folder in ${archive} admits its users and its robot by their credentials, and refuses what its rules do not grant`, async () => {
      const statusOf = async (as: string, path: string) => (await asking(as).send('GET', path)).status;
      assert.equal(await statusOf(BOB, '/v2/team/app/tags/list'), 200);
      assert.equal(await statusOf(BOB, '/v2/public/tools/tags/list'), 200);
      assert.equal(await statusOf('bob:not the password', '/v2/team/app/tags/list'), 401);
      assert.equal(await statusOf(`${ROBOT}:${robot}`, '/v2/team/app/tags/list'), 200);
      assert.equal(await statusOf(`${ROBOT}:${robot}`, '/v2/team/chunked/tags/list'), 401);
      const anonymous = async (name: string) => {
        const visitor = new Visitor(home, null);
        const authorization = await visitor.bearer(`repository:${name}:pull`);
        return (await visitor.send('GET', `/v2/${name}/tags/list`, { authorization })).status;
      };
      assert.deepEqual([await anonymous('public/tools'), await anonymous('team/app')], [200, 401]);
    });

    it(`the state folder in ${archive} keeps its audit log`, async () => {
      const { events } = JSON.parse(String(await asking(ADMIN).pull('/api/v1/audit'))) as {
        events: { action: string }[];
      };
      assert.ok(
        events.some(({ action }) => action === 'user.create'),
        JSON.stringify(events.slice(0, 3)),
      );
    });

    it(`the state folder in ${archive} keeps the moves of its tags`, async () => {
      const moves = await home.rows(
        'REPOSITORY',
        'team/app',
        `SELECT digest FROM tag_history WHERE tag = 'old' ORDER BY seq`,
      );
      assert.deepEqual(moves, [{ digest: DELETED.digest }, { digest: null }]);
      const history = JSON.parse(
        String(await asking(ADMIN).pull('/api/v1/repositories/team%2Fapp/history?tag=old')),
      ) as { moves: { digest: string | null; from: string | null }[] };
      assert.deepEqual(
        history.moves.map(({ from, digest }) => [from, digest]),
        [
          [DELETED.digest, null],
          [null, DELETED.digest],
        ],
      );
    });

    it(`the state folder in ${archive} takes pushes: of what it has, of what is new, and by mounting`, async () => {
      const bob = asking(BOB);
      const added = imageManifest({
        layers: [bytesOf('a layer that all images have', 1000), bytesOf('new')],
      });
      for (const bytes of added.blobs) await bob.pushBlob('team/app', bytes);
      await bob.pushManifest('team/app', 'added', added);
      await bob.pushInChunks('team/app', bytesOf('new chunks', 3_000_000), 3);
      await bob.pushManifest('team/app', 'v1', TAGGED[1]?.manifest as Manifest);
      await bob.pushManifest('team/app', 'v1', TAGGED[0]?.manifest as Manifest);
      await asking(ADMIN).want(202, 'DELETE', '/v2/team/app/manifests/added');
      const mount = `mount=${digest(FOREIGN.layer)}&from=team/foreign`;
      await bob.want(201, 'POST', `/v2/team/new/blobs/uploads/?${mount}`);
    });

    it(`the state folder in ${archive} counts abandoned uploads`, async () => {
      const upload = { id: 'an upload', offeredAt: Date.now(), userAgent: 'docker/28', wasCut: true };
      await home.call('REPOSITORY', 'team/app', 'recordAbandoned', 'team/app', [upload]);
      await home.settled();
      const { repositories } = JSON.parse(String(await asking(ADMIN).pull('/api/v1/abandoned-uploads'))) as {
        repositories: { repository: string; count: number; userAgent: string }[];
      };
      assert.deepEqual(
        repositories.map(({ repository, count, userAgent }) => [repository, count, userAgent]),
        [['team/app', 1, 'docker/28']],
      );
    });

    it(`the state folder in ${archive} is collected: what manifests name stays, and of the rest nothing`, async () => {
      for (let days = 1; days <= 8; days++) {
        await home.setClockAhead(days * DAY_MS);
        for (const name of ['app', 'chunked', 'foreign', 'half', 'mounted', 'new'])
          await home.ringDue('REPOSITORY', `team/${name}`);
        await home.ringDue('BLOB_SHARD', 'all');
      }
      await home.setClockAhead(0);
      await pullsAll();
      // What it keeps of the past is complete: only tags that are there have no end.
      const open = await home.rows(
        'REPOSITORY',
        'team/app',
        'SELECT tag FROM tag_history WHERE until IS NULL AND tag NOT IN (SELECT name FROM tags)',
      );
      assert.deepEqual(open, []);
      const held = new Set<string>();
      // "team/new" only had a blob that no manifest names. It is empty now, and has no tables any more.
      for (const name of ['team/app', 'team/chunked', 'team/foreign', 'public/tools']) {
        // No shard knows of small blobs, whose bytes are beside their links.
        const query = `SELECT key FROM blobs WHERE key NOT GLOB 'inline/*'`;
        for (const { key } of await home.rows('REPOSITORY', name, query)) held.add(String(key));
      }
      const left = (await home.rows('BLOB_SHARD', 'all', 'SELECT key FROM objects')).map(({ key }) =>
        String(key),
      );
      assert.deepEqual(left.sort(), [...held].sort());
      assert.deepEqual(await home.violations(), []);
    });

    it(`the repositories of the state folder in ${archive} know what they hold`, async () => {
      for (const name of new Set(TAGGED.map(({ repository }) => repository))) {
        await home.ring('REPOSITORY', name);
        const counters = await countersOf(home, name);
        assert.deepEqual(counters?.found, counters?.wanted, name);
        assert.equal(counters?.countedTo, null, name);
        assert.ok((counters?.found.bytes ?? 0) > 0 && (counters?.found.tags ?? 0) > 0, name);
      }
    });

    it(`a manifest that is deleted from the state folder in ${archive} stays deleted after a restart`, async () => {
      await asking(ADMIN).want(202, 'DELETE', `/v2/public/tools/manifests/${TAGGED[4]?.manifest.digest}`);
      await home.restart();
      assert.equal((await asking(ADMIN).send('GET', '/v2/public/tools/manifests/v1')).status, 404);
      assert.ok(
        (await asking(BOB).pull('/v2/team/app/manifests/v2')).equals(
          TAGGED[1]?.manifest.bytes ?? Buffer.alloc(0),
        ),
      );
    });
  });
}
