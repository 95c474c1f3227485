/** Who a sign-in is: no person becomes another user of the registry by what an issuer calls them. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { User } from '../../worker/access/model.ts';
import { hashPassword } from '../../worker/auth/credentials/password.ts';
import type { Assertion } from '../../worker/auth/openid/assertion.ts';
import { personOf } from '../../worker/auth/openid/sign-in-person.ts';
import { type Home, onHome } from '../support/homes.ts';
import { TestIssuer } from '../support/issuer.ts';
import { Visitor } from '../support/visitor.ts';
import { ACCOUNT, accounts, Browser, loginOf, refused, scopeOf, VARS } from './signing-in.ts';

const issuer = await new TestIssuer().start();
after(() => issuer.stop());
// An issuer that says little of itself, and takes the secret of its client in the form.
issuer.metadata = {
  token_endpoint_auth_methods_supported: ['client_secret_post'],
  scopes_supported: undefined,
};
const vars = { ...VARS, OIDC_ISSUER: issuer.url, OIDC_GROUPS_PREFIX: 'idp:' };

const UNPREFIXED = { groupsClaim: 'groups', groupsPrefix: '' };

for (const name of ['disk', 'r2'] as const) onHome(name, suite, { vars, hasPublicUrl: true });

function suite(home: Home): void {
  const scope = 'repository:theirs/api:pull';
  const signIn = async (person: Record<string, unknown>) => {
    issuer.person = person;
    return loginOf(await new Browser(home, issuer).signIn());
  };

  describe('a person is known by issuer and subject:', () => {
    for (const name of ['local', 'awaited', 'admin', 'file'])
      it(`a person whom the issuer calls ${name} gets nothing of the user ${name}`, async () => {
        if (name === 'local' || name === 'awaited') {
          const password = name === 'local' ? hashPassword('the password of a user') : null;
          await accounts(home, 'putUser', { name, password, groups: ['ops'] });
        }
        await accounts(home, 'createRule', {
          subject: `user:${name}`,
          role: 'reader',
          repositories: 'theirs/*',
          tags: null,
        });
        const signedIn = await signIn({ sub: `called ${name}`, preferred_username: name });
        assert.match(signedIn.name, ACCOUNT);
        assert.equal(await scopeOf(home, signedIn.name, signedIn.token, scope), '');
      });

    it('two persons of one name have two accounts, and one person of two names has one', async () => {
      const first = await signIn({ sub: 'person-4', preferred_username: 'same' });
      const second = await signIn({ sub: 'person-5', preferred_username: 'same' });
      const renamed = await signIn({ sub: 'person-4', preferred_username: 'other' });
      assert.notEqual(first.name, second.name);
      assert.equal(first.name, renamed.name);
      assert.deepEqual(await accounts(home, 'displayNames', [first.name, second.name]), {
        [first.name]: 'other',
        [second.name]: 'same',
      });
    });

    it('groups of the issuer get the prefix, and groups that an admin gave stay', async () => {
      const { name } = await signIn({ sub: 'person-6', groups: ['dev'] });
      await accounts(home, 'putUser', { name, groups: ['idp:dev', 'given'] });
      await signIn({ sub: 'person-6', groups: ['ops'] });
      assert.deepEqual((await accounts<User>(home, 'getUser', name)).groups, ['given', 'idp:ops']);
    });

    it('groups that the issuer told when the prefix was another one do not stay', async () => {
      const { name } = await signIn({ sub: 'person-11', groups: ['dev'] });
      const { mark } = personOf({ iss: issuer.url, sub: 'person-11' } as Assertion, UNPREFIXED);
      const person = { mark, account: name, displayName: 'person', groupsPrefix: '' };
      await accounts(home, 'signIn', { ...person, groups: ['admins', 'dev'] });
      await signIn({ sub: 'person-11', groups: ['dev'] });
      assert.deepEqual((await accounts<User>(home, 'getUser', name)).groups, ['idp:dev']);
    });

    it('a user who is disabled gets no token, and an earlier token is refused', async () => {
      const { name, token } = await signIn({ sub: 'person-7' });
      await accounts(home, 'putUser', { name, disabled: true });
      await refused(await new Browser(home, issuer).signIn(), 403, /is disabled/);
      assert.equal(await scopeOf(home, name, token, scope), 401);
    });
  });

  describe('an admin links an account', () => {
    const admin = new Visitor(home, `admin:${VARS.ADMIN_PASSWORD}`);
    const link = (status: number, account: string, to: string) =>
      admin.must(status, 'POST', `/api/v1/users/${account}/link`, {
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ to }),
      });

    it('an admin links an account to a user, whose rules then hold for the person', async () => {
      const before = await signIn({ sub: 'person-8' });
      await accounts(home, 'putUser', { name: 'linked', password: hashPassword('the password of a user') });
      const rule = { subject: 'user:linked', role: 'reader', repositories: 'theirs/*', tags: null };
      await accounts(home, 'createRule', rule);
      await link(204, before.name, 'linked');
      assert.equal(await scopeOf(home, before.name, before.token, scope), 401);
      const after = await signIn({ sub: 'person-8' });
      assert.equal(after.name, 'linked');
      assert.equal(await scopeOf(home, 'linked', after.token, scope), scope);
      assert.equal(await scopeOf(home, 'linked', 'the password of a user', scope), scope);
    });

    it('an admin links an account to no user of a setting, and to none that is missing', async () => {
      const { name } = await signIn({ sub: 'person-9' });
      await link(409, name, 'admin');
      await link(409, name, 'file');
      await link(404, name, 'not-there');
      await link(404, 'local', 'awaited');
    });
  });

  describe('the token of a sign-in', () => {
    it('the token of a sign-in opens no management API, but revokes the tokens of its owner', async () => {
      const { name, token } = await signIn({ sub: 'person-10' });
      const all = { subject: `user:${name}`, role: 'admin', repositories: '**', tags: null };
      await accounts(home, 'createRule', all);
      const other = await signIn({ sub: 'person-10' });
      const person = new Visitor(home, `any:${token}`);
      for (const path of ['/users', '/tokens', '/rules', '/audit'])
        assert.match((await person.must(403, 'GET', `/api/v1${path}`)).message, /for pulls and pushes/);
      const { text } = await person.must(200, 'GET', '/api/v1/me/tokens');
      const { tokens } = JSON.parse(text) as { tokens: { id: string; owner: string }[] };
      assert.deepEqual([tokens.length, tokens[0]?.owner], [2, name]);
      const id = other.token.split('_')[1];
      await person.must(204, 'DELETE', `/api/v1/me/tokens/${id}`);
      assert.equal(await scopeOf(home, 'any', other.token, scope), 401);
      await person.must(204, 'DELETE', '/api/v1/me/tokens');
      await person.must(401, 'GET', '/api/v1/me/tokens');
    });
  });
}
