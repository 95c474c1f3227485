/**
 * Sign-in of people from end to end: a browser's requests and cookies against the registry in both homes, and an issuer that
 * holds its clients to PKCE.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { User } from '../../worker/auth/rules/rules.ts';
import { type Home, onHome } from '../support/homes.ts';
import { CLIENT, TestIssuer } from '../support/issuer.ts';
import { accounts, Browser, loginOf, refused, scopeOf, VARS } from './signing-in.ts';

const issuer = await new TestIssuer().start();
after(() => issuer.stop());

const vars = { ...VARS, OIDC_ISSUER: issuer.url };
for (const name of ['disk', 'r2'] as const) onHome(name, suite, { vars, hasPublicUrl: true });

describe('the sign-in of a registry with a public name', () => {
  const named = { ...vars, PUBLIC_URL: 'https://registry.example,https://registry.example:8443' };
  onHome('disk', underItsName, { vars: named });
  onHome('r2', underItsName, { vars: named });
});

function underItsName(home: Home): void {
  it('leads back to that name, whatever the request and its proxies say', async () => {
    issuer.wrong.clear();
    issuer.person = { sub: 'person-1', preferred_username: 'Alice', groups: ['dev'] };
    const browser = new Browser(home, issuer, {
      'X-Forwarded-Proto': 'http',
      'X-Forwarded-Host': 'evil.example',
    });
    const back = await browser.toIssuer();
    assert.equal(back.origin + back.pathname, 'https://registry.example/auth/callback');
    const response = await browser.back(back);
    assert.match(response.headers.get('Set-Cookie') ?? '', /^__Host-longshore-sign-in=; .*; Secure$/);
    assert.equal((await loginOf(response)).host, 'registry.example');
  });
}

function suite(home: Home): void {
  beforeEach(() => {
    issuer.person = { sub: 'person-1', preferred_username: 'Alice', groups: ['dev'] };
    issuer.wrong.clear();
  });

  describe('the sign-in of a person', () => {
    before(async () => {
      const rule = { role: 'writer', repositories: 'dev/**', tags: null, subject: 'group:dev' };
      await accounts(home, 'createRule', rule);
    });

    it('ends with a token of theirs, which has the rights of their groups', async () => {
      const { token, host, name } = await loginOf(await new Browser(home, issuer).signIn());
      assert.deepEqual({ host, name }, { host: new URL(home.url).host, name: 'alice' });
      assert.equal(
        await scopeOf(home, name, token, 'repository:dev/api:pull,push'),
        'repository:dev/api:pull,push',
      );
      assert.equal(await scopeOf(home, name, token, 'repository:other/api:pull'), '');
      const { groups, disabled } = await accounts<User>(home, 'getUser', 'alice');
      assert.deepEqual({ groups, disabled }, { groups: ['dev'], disabled: false });
    });

    it('shows its page to nobody else, and runs no script', async () => {
      const browser = new Browser(home, issuer);
      const response = await browser.signIn();
      assert.match(response.headers.get('Content-Security-Policy') ?? '', /^default-src 'none';/);
      assert.equal(response.headers.get('Cache-Control'), 'no-store');
      assert.equal(response.headers.get('Referrer-Policy'), 'no-referrer');
      assert.match(
        response.headers.get('Set-Cookie') ?? '',
        /^longshore-sign-in=; .*HttpOnly; SameSite=Lax; Max-Age=0/,
      );
      const login = await browser.get('/auth/login');
      assert.match(login.headers.get('Set-Cookie') ?? '', /; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/);
    });

    it('replaces the token of the last one', async () => {
      const first = await loginOf(await new Browser(home, issuer).signIn());
      const second = await loginOf(await new Browser(home, issuer).signIn());
      assert.equal(await scopeOf(home, 'alice', first.token, 'repository:dev/api:pull'), 401);
      assert.equal(
        await scopeOf(home, 'alice', second.token, 'repository:dev/api:pull'),
        'repository:dev/api:pull',
      );
    });

    it('takes groups away that the issuer tells no longer', async () => {
      issuer.person = { sub: 'person-1', preferred_username: 'alice' };
      const { token } = await loginOf(await new Browser(home, issuer).signIn());
      assert.equal(await scopeOf(home, 'alice', token, 'repository:dev/api:pull'), '');
    });

    it('takes one group that is a text, and writes what it shows as text', async () => {
      issuer.person = { sub: 'person-3', preferred_username: 'eve', groups: '<script>' };
      const page = await (await new Browser(home, issuer).signIn()).text();
      assert.match(page, /of &lt;script&gt;/);
      assert.doesNotMatch(page, /<script/);
    });

    it('gives a token that ends after 30 days', async () => {
      const { token } = await loginOf(await new Browser(home, issuer).signIn());
      await home.setClockAhead(30 * 24 * 3600_000 + 1000);
      assert.equal(await scopeOf(home, 'alice', token, 'repository:dev/api:pull'), 401);
      await home.setClockAhead(0);
    });

    const names: { name: string; person: Record<string, unknown>; want: string }[] = [
      {
        name: 'an address that is verified',
        person: { email: 'Bob@acme.example', email_verified: true },
        want: 'bob@acme.example',
      },
      { name: 'no address that is not', person: { email: 'boss@acme.example' }, want: 'idp-42' },
      { name: 'a name made fit', person: { preferred_username: ' Zoë: <x>' }, want: 'zo-x' },
    ];
    for (const { name, person, want } of names) {
      it(`takes for a name ${name}`, async () => {
        issuer.person = { sub: 'idp|42', ...person };
        const signedIn = await loginOf(await new Browser(home, issuer).signIn());
        assert.equal(signedIn.name, want);
        await accounts(home, 'deleteUser', want);
      });
    }
  });

  describe('a sign-in is refused', () => {
    const changes: { name: string; change: (query: URLSearchParams) => void; want: RegExp }[] = [
      { name: 'with another nonce', change: (query) => query.set('nonce', 'x'), want: /nonce/ },
      {
        name: 'with the challenge of another verifier',
        change: (query) => query.set('code_challenge', 'x'.repeat(43)),
        want: /invalid_grant/,
      },
      { name: 'with another state', change: (query) => query.set('state', 'x'), want: /another sign-in/ },
    ];
    for (const { name, change, want } of changes) {
      it(name, async () => {
        const browser = new Browser(home, issuer);
        await refused(await browser.back(await browser.toIssuer(change)), 401, want);
      });
    }

    const answers: { name: string; change: (query: URLSearchParams) => void; want: RegExp }[] = [
      { name: 'without a code', change: (query) => query.delete('code'), want: /no code/ },
      {
        name: 'with a code that was never given',
        change: (query) => query.set('code', 'x'),
        want: /invalid_grant/,
      },
      {
        name: 'by another issuer',
        change: (query) => query.set('iss', 'https://else.example'),
        want: /another issuer/,
      },
      {
        name: 'by the person',
        change: (query) => query.set('error', 'access_denied<'),
        want: /access_denied&lt;/,
      },
    ];
    for (const { name, change, want } of answers) {
      it(name, async () => {
        const browser = new Browser(home, issuer);
        const url = await browser.toIssuer();
        change(url.searchParams);
        await refused(await browser.back(url), 401, want);
      });
    }

    it('in another browser', async () => {
      const url = await new Browser(home, issuer).toIssuer();
      await refused(await new Browser(home, issuer).back(url), 401, /another browser/);
      const theirs = new Browser(home, issuer);
      await theirs.toIssuer();
      await refused(await theirs.back(url), 401, /another sign-in/);
    });

    it('with a code that was used', async () => {
      const headers: Record<string, string> = {};
      const login = await fetch(`${home.url}/auth/login`, { redirect: 'manual' });
      headers.Cookie = (login.headers.getSetCookie()[0] ?? '').replace(/;.*/, '');
      const answer = await fetch(login.headers.get('Location') ?? '', { redirect: 'manual' });
      const url = new URL(answer.headers.get('Location') ?? '');
      const back = () => fetch(home.url + url.pathname + url.search, { headers });
      await loginOf(await back());
      await refused(await back(), 401, /invalid_grant/);
    });

    it('after its time', async () => {
      const browser = new Browser(home, issuer);
      const url = await browser.toIssuer();
      await home.setClockAhead(601_000);
      await refused(await browser.back(url), 401, /this sign-in has expired/);
      await home.setClockAhead(0);
    });

    const tokens: { name: string; person: Record<string, unknown>; want: RegExp }[] = [
      { name: 'for another client', person: { aud: 'else' }, want: /aud/ },
      {
        name: 'for several clients, and none of them named',
        person: { aud: [CLIENT.id, 'else'] },
        want: /azp/,
      },
      { name: 'that another client asked for', person: { azp: 'else' }, want: /azp/ },
      { name: 'of another issuer', person: { iss: 'https://else.example' }, want: /iss/ },
      { name: 'that has expired', person: { exp: 1 }, want: /expired/ },
    ];
    for (const { name, person, want } of tokens) {
      it(`with a token ${name}`, async () => {
        issuer.person = { ...issuer.person, ...person };
        await refused(await new Browser(home, issuer).signIn(), 401, want);
      });
    }

    it('where the issuer is not as it should be', async () => {
      issuer.wrong.set('/token', { status: 502 });
      await refused(await new Browser(home, issuer).signIn(), 503, /answered 502/);
      await home.setClockAhead(11_000);
      issuer.wrong.clear();
      issuer.wrong.set('/token', { body: '{}' });
      await refused(await new Browser(home, issuer).signIn(), 401, /no ID token/);
      await home.setClockAhead(0);
    });
  });
}
