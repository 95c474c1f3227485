/** A deployment whose ADMIN_PASSWORD is guessed at once. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { eachHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

eachHome(
  (home) => {
    it('the registry refuses a login as admin with a weak ADMIN_PASSWORD and names the setting', async () => {
      const { message } = await new Visitor(home, 'admin:a').must(
        503,
        'GET',
        '/token?scope=repository:a:pull',
      );
      assert.match(message, /ADMIN_PASSWORD is too weak.*at least 12 characters/);
      await new Visitor(home, 'admin:a').must(503, 'GET', '/api/v1/users');
    });

    it('the registry serves all others beside a weak ADMIN_PASSWORD', async () => {
      await new Visitor(home, null).must(401, 'GET', '/v2/');
      await new Visitor(home, null).must(200, 'GET', '/token?scope=repository:a:pull');
      await new Visitor(home, 'bob:a').must(401, 'GET', '/v2/');
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: 'a' } },
);
