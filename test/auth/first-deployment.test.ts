/** A deployment without an admin: it refuses all logins, and says which command to type. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blob, digest, unknownDigest } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

const COMMAND = /npx wrangler secret put ADMIN_PASSWORD/;

onHome(
  'disk',
  (home) => {
    const body = blob();
    const requests: [string, string][] = [
      ['GET', '/v2/'],
      ['GET', '/v2/_catalog'],
      ['GET', '/v2/a/tags/list'],
      ['GET', '/v2/a/manifests/v1'],
      ['PUT', '/v2/a/manifests/v1'],
      ['GET', `/v2/a/blobs/${unknownDigest()}`],
      ['POST', `/v2/a/blobs/uploads/?digest=${digest(body)}`],
      ['DELETE', '/v2/a/manifests/v1'],
      ['GET', '/token'],
      ['GET', '/token?scope=repository:a:pull'],
      ['GET', '/api/v1/users'],
      ['POST', '/api/v1/users'],
    ];
    describe('refuses', () => {
      for (const [method, path] of requests)
        for (const shown of [null, 'admin:', 'admin:admin', 'admin:undefined', 'admin:null', ':'])
          it(`a registry without an admin password refuses ${method} ${path} as ${shown ?? 'anonymous'}`, async () => {
            const sent = method === 'GET' || method === 'DELETE' ? {} : { body };
            const { status, text } = await new Visitor(home, shown).send(method, path, sent);
            // The same names fail again and again.
            assert.ok(status === 401 || status === 429, `${status} ${text}`);
          });
    });

    it('a registry without an admin password says the command to each user who tries to log in', async () => {
      await home.setClockAhead(24 * 3600_000);
      const { message } = await new Visitor(home, 'bob:x').must(401, 'GET', '/token?account=bob');
      assert.match(message, COMMAND);
      const anonymous = await new Visitor(home, null).must(401, 'GET', '/token?scope=repository:a:pull');
      assert.match(anonymous.message, COMMAND);
      const unasked = await new Visitor(home, 'bob:x').must(401, 'GET', '/v2/');
      assert.match(unasked.message, COMMAND);
      const page = await new Visitor(home, null).must(200, 'GET', '/');
      assert.match(page.text, COMMAND);
    });

    it('a registry without an admin password answers /health, and has stored nothing', async () => {
      await new Visitor(home, null).must(200, 'GET', '/health');
      assert.deepEqual(await home.storedKeys(), []);
    });
  },
  { vars: { AUTH: 'on' } },
);
