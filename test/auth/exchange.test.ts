/**
 * A trusted issuer's token at the registry itself: as the password of a docker login, and exchanged for a login token, once.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Trust } from '../../worker/access/model.ts';
import { githubClaims, githubPullRequest } from '../support/claims.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { TestIssuer } from '../support/issuer.ts';
import { Visitor } from '../support/visitor.ts';
import { accounts, scopeOf } from './signing-in.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const issuer = new TestIssuer();
before(() => issuer.start());
after(() => issuer.stop());

async function exchanged(
  home: Home,
  token: string,
): Promise<{ status: number; text: string; login: string }> {
  const form = new URLSearchParams({ grant_type: EXCHANGE, subject_token: token });
  form.set('subject_token_type', 'urn:ietf:params:oauth:token-type:id_token');
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  const sent = { body: String(form), headers };
  const { status, text } = await new Visitor(home, null).send('POST', '/token', sent);
  const { access_token: login = '' } = JSON.parse(text) as { access_token?: string };
  return { status, text, login };
}

eachHome(
  (home) => {
    let trusts: Trust[] = [];
    const push = 'repository:acme/api:pull,push';

    beforeEach(async () => {
      for (const { id } of trusts) await accounts(home, 'deleteTrust', id);
      const same = { issuer: issuer.url, audience: 'longshore', jwks: null };
      const role = { role: 'writer', repositories: '{repository}' };
      const given = [
        {
          name: 'main',
          conditions: { repository: 'acme/*', ref: 'refs/heads/main' },
          grants: [{ ...role, tags: null }],
        },
        {
          name: 'pulls',
          conditions: { repository: 'acme/*', event_name: 'pull_request' },
          grants: [{ ...role, tags: 'pr-*' }],
        },
        {
          name: 'base',
          conditions: { repository: 'acme/*' },
          grants: [{ role: 'reader', repositories: 'base/**', tags: null }],
        },
      ];
      trusts = [];
      for (const trust of given)
        trusts.push(await accounts<Trust>(home, 'createTrust', { ...same, ...trust }));
    });

    describe('a trusted token', () => {
      it('a trusted token is a password, whatever the name', async () => {
        const token = await issuer.sign(githubClaims());
        assert.equal(await scopeOf(home, 'anyone', token, push), push);
        assert.equal(await scopeOf(home, 'anyone', token, push), push);
        assert.equal(await scopeOf(home, 'anyone', token, 'repository:acme/web:pull'), '');
      });

      it('a token for which no trust holds is no password', async () => {
        const token = await issuer.sign(githubClaims({ repository: 'evil/api' }));
        assert.equal(await scopeOf(home, 'anyone', token, push), 401);
      });

      it('a trusted token of a pull request sets only tags pr-*', async () => {
        const token = await issuer.sign(githubPullRequest());
        const body = JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          manifests: [],
        });
        const put = async (tag: string) => {
          const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
          const job = new Visitor(home, `ci:${token}`);
          return (await job.send('PUT', `/v2/acme/api/manifests/${tag}`, { headers, body })).status;
        };
        assert.deepEqual([await put('pr-7'), await put('latest')], [201, 403]);
      });

      it('a trusted token works by a key that was rotated in, without a restart', async () => {
        await scopeOf(home, 'anyone', await issuer.sign(githubClaims()), push);
        await issuer.rotate();
        await home.setClockAhead(40_000);
        assert.equal(await scopeOf(home, 'anyone', await issuer.sign(githubClaims()), push), push);
        await home.setClockAhead(0);
      });
    });

    describe('an exchange', () => {
      for (const { name, jti } of [
        { name: 'once', jti: crypto.randomUUID() },
        { name: 'once, also without a jti', jti: undefined },
      ]) {
        it(`a trusted token is exchanged ${name}`, async () => {
          const token = await issuer.sign(githubClaims({ jti }));
          assert.equal((await exchanged(home, token)).status, 200);
          const { status, text } = await exchanged(home, token);
          assert.equal(status, 401);
          assert.match(text, /exchanged before/);
        });
      }

      it('an exchange tells the client no condition of a trust, and the audit log which one did not hold', async () => {
        const { status, text } = await exchanged(
          home,
          await issuer.sign(githubClaims({ repository: 'evil/api' })),
        );
        assert.equal(status, 401);
        assert.match(text, /no trust of this registry accepts/);
        assert.doesNotMatch(text, /acme|main|repository does/);
        await home.settled();
        const query = { before: null, count: 10, decision: 'failed' };
        const { entries } = await home.call<{ entries: { rule: string }[] }>('AUDIT', 'audit', 'list', query);
        assert.ok(entries.some(({ rule }) => /repository does not match acme\/\* \(trust main\)/.test(rule)));
      });

      for (const name of ['main', 'base']) {
        it(`an exchanged login is refused without the trust ${name}, which it rests on`, async () => {
          const { login } = await exchanged(home, await issuer.sign(githubClaims()));
          await accounts(home, 'deleteTrust', trusts.find((trust) => trust.name === name)?.id);
          assert.equal(await scopeOf(home, 'ci', login, push), 401);
        });
      }

      it('an exchange gives a login with the same rights, for an hour', async () => {
        const { login } = await exchanged(home, await issuer.sign(githubClaims()));
        assert.equal(await scopeOf(home, 'ci', login, push), push);
        assert.equal(await scopeOf(home, 'ci', login, 'repository:base/x:pull'), 'repository:base/x:pull');
        // The last test, since a failed login is remembered as of this time.
        await home.setClockAhead(3600_000 + 61_000);
        assert.equal(await scopeOf(home, 'ci', login, push), 401);
      });
    });
  },
  {
    vars: {
      AUTH: 'on',
      ADMIN_PASSWORD: 'a password of the admin',
      SPARSE_MANIFESTS: 'true',
      ALLOW_PRIVATE_ISSUERS: 'true',
    },
  },
);
