/** Names in a sign-in: nobody becomes another user of the registry by what an issuer calls them. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { hashPassword } from '../../worker/auth/credentials/password.ts';
import type { User } from '../../worker/auth/rules/rules.ts';
import { type Home, onHome } from '../support/homes.ts';
import { TestIssuer } from '../support/issuer.ts';
import { accounts, Browser, loginOf, refused, scopeOf, VARS } from './signing-in.ts';

const issuer = await new TestIssuer().start();
after(() => issuer.stop());
// An issuer that says little of itself, and takes the secret of its client in the form.
issuer.metadata = {
  token_endpoint_auth_methods_supported: ['client_secret_post'],
  scopes_supported: undefined,
};
const vars = { ...VARS, OIDC_ISSUER: issuer.url };

for (const name of ['disk', 'r2'] as const) onHome(name, suite, { vars, hasPublicUrl: true });

function suite(home: Home): void {
  describe('a name is kept from others', () => {
    it('of a user with a password', async () => {
      await accounts(home, 'putUser', {
        name: 'local',
        password: hashPassword('a password'),
        groups: ['ops'],
      });
      issuer.person = { sub: 'person-9', preferred_username: 'local' };
      await refused(await new Browser(home, issuer).signIn(), 403, /the name local is taken/);
      assert.deepEqual((await accounts<User>(home, 'getUser', 'local')).groups, ['ops']);
      assert.equal(await scopeOf(home, 'local', 'a password', 'repository:x:pull'), '');
    });

    for (const name of ['admin', 'file']) {
      it(`of ${name}, whom a setting lets in`, async () => {
        issuer.person = { sub: 'person-9', preferred_username: name };
        await refused(await new Browser(home, issuer).signIn(), 403, new RegExp(`the name ${name} is taken`));
        assert.equal(await accounts(home, 'getUser', name), null);
      });
    }

    it('of somebody else at the issuer, who signed in first', async () => {
      issuer.person = { sub: 'person-4', preferred_username: 'same' };
      const { token } = await loginOf(await new Browser(home, issuer).signIn());
      issuer.person = { sub: 'person-5', preferred_username: 'Same' };
      await refused(await new Browser(home, issuer).signIn(), 403, /the name same is taken/);
      assert.equal(await scopeOf(home, 'same', token, 'repository:x:pull'), '');
    });

    it('of the other of two who come at the same time', async () => {
      const browsers = [new Browser(home, issuer), new Browser(home, issuer)];
      const urls: URL[] = [];
      for (const [at, browser] of browsers.entries()) {
        issuer.person = { sub: `twin-${at}`, preferred_username: 'twin' };
        urls.push(await browser.toIssuer());
      }
      const answers = await Promise.all(
        browsers.map((browser, at) => browser.back(urls[at] ?? new URL('none:'))),
      );
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403]);
      // However the two met: what one of them would write after the other has come in changes nothing.
      const { password } = await accounts<User>(home, 'getUser', 'twin');
      await accounts(home, 'putUser', {
        name: 'twin',
        password: 'other',
        ifPassword: 'other',
        groups: ['ops'],
      });
      const { password: kept, groups } = await accounts<User>(home, 'getUser', 'twin');
      assert.deepEqual({ kept, groups }, { kept: password, groups: [] });
    });

    it('of one who has no password here, but not from the first that comes', async () => {
      await accounts(home, 'putUser', { name: 'awaited', password: null });
      issuer.person = { sub: 'person-6', preferred_username: 'awaited' };
      await loginOf(await new Browser(home, issuer).signIn());
      assert.equal(await scopeOf(home, 'awaited', '', 'repository:x:pull'), 401);
    });

    it('of one who was disabled, and whose token is worth nothing any more', async () => {
      issuer.person = { sub: 'person-7', preferred_username: 'gone' };
      const { token } = await loginOf(await new Browser(home, issuer).signIn());
      await accounts(home, 'putUser', { name: 'gone', disabled: true });
      await refused(await new Browser(home, issuer).signIn(), 403, /gone is disabled/);
      assert.equal(await scopeOf(home, 'gone', token, 'repository:x:pull'), 401);
    });
  });
}
