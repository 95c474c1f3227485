/**
 * Sign-in of people from end to end: a browser's requests and cookies against the registry in both homes, and an issuer that
 * holds its clients to PKCE.
 */

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { User } from '../../worker/access/model.ts';
import { SIGN_IN_TOKENS_MAX } from '../../worker/auth/openid/sign-in.ts';
import { type Home, onHome } from '../support/homes.ts';
import { CLIENT, TestIssuer } from '../support/issuer.ts';
import { Visitor } from '../support/visitor.ts';
import { ACCOUNT, accounts, Browser, loginOf, refused, scopeOf, TYPED, VARS } from './signing-in.ts';

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
  it('the sign-in of a registry with a public name leads back to that name, whatever the request and its proxies say', async () => {
    issuer.wrong.clear();
    issuer.person = { sub: 'person-1', preferred_username: 'Alice', groups: ['dev'] };
    const browser = new Browser(home, issuer, {
      'X-Forwarded-Proto': 'http',
      'X-Forwarded-Host': 'evil.example',
    });
    const back = await browser.toIssuer();
    assert.equal(back.origin + back.pathname, 'https://registry.example/auth/callback');
    const response = await browser.back(back);
    assert.match(response.headers.get('Set-Cookie') ?? '', /^__Host-longshore-sign-in=; .*; Secure(?:;|$)/);
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

    it('the sign-in of a person ends with a token of theirs, which has the rights of their groups', async () => {
      const { token, host, name } = await loginOf(await new Browser(home, issuer).signIn());
      assert.equal(host, new URL(home.url).host);
      assert.match(name, ACCOUNT);
      assert.equal(
        await scopeOf(home, name, token, 'repository:dev/api:pull,push'),
        'repository:dev/api:pull,push',
      );
      assert.equal(await scopeOf(home, name, token, 'repository:other/api:pull'), '');
      const { groups, disabled } = await accounts<User>(home, 'getUser', name);
      assert.deepEqual({ groups, disabled }, { groups: ['dev'], disabled: false });
    });

    it('the sign-in of a person shows its page to no other user, and runs no script', async () => {
      const browser = new Browser(home, issuer);
      const response = await browser.signIn();
      assert.match(response.headers.get('Content-Security-Policy') ?? '', /^default-src 'none';/);
      assert.equal(response.headers.get('Cache-Control'), 'no-store');
      assert.equal(response.headers.get('Referrer-Policy'), 'no-referrer');
      assert.match(
        response.headers.get('Set-Cookie') ?? '',
        /^longshore-sign-in=; Max-Age=0; Path=\/; HttpOnly; SameSite=Lax$/,
      );
      const login = await browser.get('/auth/login', TYPED);
      assert.match(login.headers.get('Set-Cookie') ?? '', /; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/);
    });

    it('the sign-in of a person replaces no token of another machine, and drops the oldest beyond a number', async () => {
      const scope = 'repository:dev/api:pull';
      const tokens: string[] = [];
      for (let at = 0; at <= SIGN_IN_TOKENS_MAX; at++) {
        await home.setClockAhead(at * 1000);
        tokens.push((await loginOf(await new Browser(home, issuer).signIn())).token);
        if (at === 1) assert.equal(await scopeOf(home, 'any', tokens[0] ?? '', scope), scope);
      }
      const [oldest = '', ...others] = tokens;
      assert.equal(await scopeOf(home, 'any', oldest, scope), 401);
      for (const token of others) assert.equal(await scopeOf(home, 'any', token, scope), scope);
      await home.setClockAhead(0);
    });

    it('the sign-in of a person takes groups away that the issuer no longer names', async () => {
      issuer.person = { sub: 'person-1', preferred_username: 'alice' };
      const { token } = await loginOf(await new Browser(home, issuer).signIn());
      assert.equal(await scopeOf(home, 'any', token, 'repository:dev/api:pull'), '');
    });

    it('the sign-in of a person takes one group that is a text, and writes what it shows as text', async () => {
      issuer.person = { sub: 'person-3', preferred_username: 'eve', groups: '<script>' };
      const page = await (await new Browser(home, issuer).signIn()).text();
      assert.match(page, /of &lt;script&gt;/);
      assert.doesNotMatch(page, /<script/);
    });

    it('the sign-in of a person gives a token that ends after a week', async () => {
      const { token } = await loginOf(await new Browser(home, issuer).signIn());
      await home.setClockAhead(7 * 24 * 3600_000 + 1000);
      assert.equal(await scopeOf(home, 'any', token, 'repository:dev/api:pull'), 401);
      await home.setClockAhead(0);
    });

    it('the sign-in of a person shows the name that the issuer gives', async () => {
      issuer.person = { sub: 'idp|42', preferred_username: ' Zoë: <x>' };
      const page = await (await new Browser(home, issuer).signIn()).text();
      assert.match(page, /You are <b>Zoë: &lt;x&gt;<\/b>/);
    });

    describe('begins only where the person wants it', () => {
      const from = (site: string | null, path = '/auth/login', cookie = '') =>
        new Visitor(home, null).open('GET', path, {
          headers: { Cookie: cookie, ...(site === null ? {} : { 'Sec-Fetch-Site': site }) },
        });

      for (const site of ['none', 'same-origin'])
        it(`a sign-in begins at once from ${site}`, async () => assert.equal((await from(site)).status, 302));

      for (const site of ['cross-site', 'same-site', null])
        it(`a sign-in begins after a page that asks from ${site ?? 'a browser that does not say'}`, async () => {
          const response = await from(site);
          const page = await response.text();
          assert.equal(response.status, 200);
          assert.match(page, /came here from another site/);
          const cookie = (response.headers.getSetCookie()[0] ?? '').replace(/;.*/, '');
          const [, link = ''] = /href="([^"]+)"/.exec(page) ?? [];
          const clicked = site === null ? null : 'same-origin';
          assert.equal((await from(clicked, link, cookie)).status, 302);
          // The link is worth nothing in another browser, nor on another site.
          assert.equal((await from(null, link)).status, 200);
          assert.equal((await from('cross-site', link, cookie)).status, 200);
        });
    });
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
      it(`a sign-in is refused: ${name}`, async () => {
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
      it(`a sign-in is refused: ${name}`, async () => {
        const browser = new Browser(home, issuer);
        const url = await browser.toIssuer();
        change(url.searchParams);
        await refused(await browser.back(url), 401, want);
      });
    }

    it('a sign-in is refused in another browser', async () => {
      const url = await new Browser(home, issuer).toIssuer();
      await refused(await new Browser(home, issuer).back(url), 401, /another browser/);
      const theirs = new Browser(home, issuer);
      await theirs.toIssuer();
      await refused(await theirs.back(url), 401, /another sign-in/);
    });

    it('a sign-in is refused in an earlier tab of the same browser, which does not end that of the later tab', async () => {
      const browser = new Browser(home, issuer);
      const earlier = await browser.toIssuer();
      const later = await browser.toIssuer();
      await refused(await browser.back(earlier), 401, /another sign-in/);
      await loginOf(await browser.back(later));
      await refused(await browser.back(later), 401, /has expired/);
    });

    it('a sign-in is refused with a code that was used', async () => {
      const browser = new Visitor(home, null);
      const login = await browser.send('GET', '/auth/login', { headers: TYPED });
      const headers = { Cookie: (login.headers.getSetCookie()[0] ?? '').replace(/;.*/, '') };
      const answer = await browser.send('GET', login.headers.get('Location') ?? '');
      const url = new URL(answer.headers.get('Location') ?? '');
      const back = () => new Visitor(home, null).open('GET', url.pathname + url.search, { headers });
      await loginOf(await back());
      await refused(await back(), 401, /invalid_grant/);
    });

    it('a sign-in is refused after its time', async () => {
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
        want: /additional untrusted audiences/,
      },
      { name: 'that another client asked for', person: { azp: 'else' }, want: /azp/ },
      { name: 'of another issuer', person: { iss: 'https://else.example' }, want: /iss/ },
      { name: 'that has expired', person: { exp: 1 }, want: /expired/ },
    ];
    for (const { name, person, want } of tokens) {
      it(`a sign-in is refused with a token ${name}`, async () => {
        issuer.person = { ...issuer.person, ...person };
        await refused(await new Browser(home, issuer).signIn(), 401, want);
      });
    }

    it('a sign-in is refused where the issuer gives a wrong answer', async () => {
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
