/** Rights that are narrowed to some tags reach no further: not into the management, and not to what other tags point to. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

const ADMIN_PASSWORD = 'the password of the admin';
/** It does not say itself what it is. */
const INDEX = JSON.stringify({ schemaVersion: 2, manifests: [] });
const TYPE = 'application/vnd.oci.image.index.v1+json';
const OTHER = 'application/vnd.docker.distribution.manifest.list.v2+json';
const PATH = `/v2/app/x/manifests/${digest(Buffer.from(INDEX))}`;

eachHome(
  (home) => {
    const admin = new Visitor(home, `admin:${ADMIN_PASSWORD}`);
    let robot: Visitor;

    const token = async (name: string, role: string, owner?: string) => {
      const grants = [{ role, repositories: '**', tags: 'pr-*' }];
      const headers = { 'Content-Type': 'application/json' };
      const body = JSON.stringify({ name, grants, ...(owner === undefined ? {} : { owner }) });
      const made = await admin.must(201, 'POST', '/api/v1/tokens', { body, headers });
      return new Visitor(home, `robot:${JSON.parse(made.text).token}`);
    };
    const put = (who: Visitor, path: string, type: string) =>
      who.send('PUT', path, { body: INDEX, headers: { 'Content-Type': type } });

    before(async () => {
      robot = await token('pull-requests', 'maintainer');
      assert.equal((await put(admin, '/v2/app/x/manifests/latest', TYPE)).status, 201);
    });

    it('a narrowed token may not change the media type of what other tags point to', async () => {
      const refused = await put(robot, PATH, OTHER);
      assert.equal(refused.status, 403);
      assert.match(refused.message, /cannot change the media type/);
      const latest = await admin.must(200, 'GET', '/v2/app/x/manifests/latest');
      assert.equal(latest.headers.get('Content-Type'), TYPE);
      assert.equal((await put(robot, PATH, TYPE)).status, 201);
      assert.equal((await put(robot, '/v2/app/x/manifests/pr-1', TYPE)).status, 201);
    });

    it('a narrowed token may not delete what its tags do not name', async () => {
      assert.equal((await robot.send('DELETE', PATH)).status, 403);
      assert.equal((await robot.send('DELETE', '/v2/app/x/manifests/latest')).status, 403);
    });

    describe('to attach to', () => {
      const attach = (who: Visitor, subject: string) => {
        const body = JSON.stringify({
          schemaVersion: 2,
          manifests: [],
          annotations: { about: subject, by: who.shown?.slice(0, 5) ?? '' },
          subject: { mediaType: TYPE, digest: subject, size: 10 },
        });
        const path = `/v2/app/x/manifests/${digest(Buffer.from(body))}`;
        return who.send('PUT', path, { body, headers: { 'Content-Type': TYPE } });
      };
      const pushed = async (who: Visitor, text: string, ...tags: string[]) => {
        const body = JSON.stringify({ schemaVersion: 2, manifests: [], annotations: { text } });
        const subject = digest(Buffer.from(body));
        const query = tags.map((tag) => `tag=${tag}`).join('&');
        const headers = { 'Content-Type': TYPE };
        await who.must(201, 'PUT', `/v2/app/x/manifests/${subject}?${query}`, { body, headers });
        return subject;
      };

      it('a narrowed token may not attach to what others tag', async () => {
        for (const tags of [['v1.0'], ['pr-7', 'v1.1'], ['aa', 'pr-8']]) {
          const subject = await pushed(admin, tags.join(), ...tags);
          const { status, code, message } = await attach(robot, subject);
          assert.deepEqual([status, code], [403, 'DENIED']);
          assert.match(message, /because it has the tag (?:v1\.[01]|aa): .* covers only pr-\*/);
          const { text } = await admin.must(200, 'GET', `/v2/app/x/referrers/${subject}`);
          assert.deepEqual(JSON.parse(text).manifests, []);
        }
      });

      it('a narrowed token may not attach to what has no tag, or is not here', async () => {
        for (const subject of [await pushed(admin, 'untagged'), digest(Buffer.from('missing'))]) {
          const { status, message } = await attach(robot, subject);
          assert.equal(status, 403);
          assert.match(message, /has no tag here: give it a tag/);
        }
      });

      it('a narrowed token may not attach to what has more tags than are checked', async () => {
        const tags = Array.from({ length: 100 }, (_, at) => `pr-many-${at}`);
        const subject = await pushed(robot, 'many', ...tags);
        assert.equal((await attach(robot, subject)).status, 201);
        await pushed(robot, 'many', 'pr-one-more');
        assert.match((await attach(robot, subject)).message, /has more than 100 tags/);
      });

      it('a narrowed token may attach only to what has only its own tags', async () => {
        const own = await pushed(robot, 'own', 'pr-9', 'pr-10');
        assert.equal((await attach(robot, own)).status, 201);
        const { text } = await robot.must(200, 'GET', `/v2/app/x/referrers/${own}`);
        assert.equal(JSON.parse(text).manifests.length, 1);
        const other = await pushed(admin, 'by admin', 'v2.0');
        assert.equal((await attach(admin, other)).status, 201);
      });
    });

    it('a narrowed token may not manage the registry', async () => {
      for (const narrow of [await token('narrow', 'admin', 'admin'), await token('robot', 'admin')]) {
        assert.equal((await narrow.send('GET', '/api/v1/users')).status, 403);
      }
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD } },
);
