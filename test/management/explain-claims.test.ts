/** What the trusts make of the claims of a token, as an admin asks; and that a login with the token says the same. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { scopeOf } from '../auth/signing-in.ts';
import {
  type ClaimSet,
  githubClaims,
  githubPullRequest,
  gitlabClaims,
  googleClaims,
} from '../support/claims.ts';
import { eachHome } from '../support/homes.ts';
import { TestIssuer } from '../support/issuer.ts';
import { Api, GUARDED, type Json } from './api.ts';

interface Explained {
  subject: string | null;
  allowed: boolean;
  why: string;
  tags: string[][] | null;
  problems: string[];
  notes: string[];
  trusts: {
    name: string;
    isUsed: boolean;
    why: string | null;
    conditions: { claim: string; values: string[]; isMet: boolean; why: string | null }[];
    grants: { filled: { repositories: string; tags: string | null } | null; why: string | null }[];
  }[];
}

const issuer = new TestIssuer();
const other = new TestIssuer();
before(() => Promise.all([issuer.start(), other.start()]));
after(() => Promise.all([issuer.stop(), other.stop()]));

eachHome(
  (home) => {
    const api = new Api(home);
    const ask = async (claims: ClaimSet, action = 'push', repository = 'acme/api') => {
      const { status, text, json } = await api.call('POST', '/explain', { claims, action, repository });
      assert.equal(status, 200, text);
      return json as unknown as Explained;
    };

    before(async () => {
      const writer = { role: 'writer', repositories: 'acme/{repository_name}' };
      const trusts: Json[] = [
        { name: 'main', conditions: { repository: 'acme/*', ref: 'refs/heads/main' }, grants: [writer] },
        {
          name: 'pulls',
          conditions: { repository: 'acme/*', event_name: 'pull_request' },
          grants: [
            { ...writer, tags: 'pr-*' },
            { role: 'reader', repositories: 'base/{missing}' },
          ],
        },
        {
          name: 'mail',
          conditions: { email: 'builder@*' },
          grants: [{ role: 'reader', repositories: 'acme/**' }],
        },
      ];
      for (const trust of trusts) {
        await api.made('POST', '/trusts', { issuer: issuer.url, audience: 'longshore', ...trust });
      }
      await api.made('POST', '/rules', {
        subject: 'anonymous',
        role: 'reader',
        repositories: 'public/**',
      });
    });

    describe('the explanation of claims', () => {
      it('the explanation of claims names the trust that is used, its grant and the identity', async () => {
        const { subject, allowed, why, trusts, problems } = await ask(issuer.payload(githubClaims()));
        assert.equal(subject, 'trust:main:repo:acme/api:ref:refs/heads/main');
        assert.equal(allowed, true);
        assert.match(why, /^writer of acme\/api for trust:main/);
        assert.deepEqual(problems, []);
        assert.deepEqual(
          trusts.map(({ name, isUsed }) => `${name} ${isUsed}`),
          ['main true', 'pulls false', 'mail false'],
        );
        assert.deepEqual(trusts[0]?.grants[0]?.filled, { repositories: 'acme/api', tags: null });
        assert.match(trusts[1]?.why ?? '', /event_name does not match pull_request/);
      });

      it('the explanation of claims says of each condition whether it is met, and with which value', async () => {
        const { trusts, why } = await ask(issuer.payload(githubClaims({ ref: 'refs/heads/fix' })));
        const [main] = trusts;
        assert.deepEqual(
          main?.conditions.map(({ claim, values, isMet }) => [claim, values.join(), isMet]),
          [
            ['aud', 'longshore', true],
            ['repository', 'acme/api', true],
            ['ref', 'refs/heads/fix', false],
          ],
        );
        assert.match(
          why,
          /ref does not match refs\/heads\/main \(trust main\); its claim event_name .*\(trust pulls\)/,
        );
      });

      it('the explanation of claims says which grant of a used trust gives nothing', async () => {
        const { trusts, tags, allowed } = await ask(issuer.payload(githubPullRequest()));
        assert.deepEqual([allowed, tags], [true, [['pr-*']]]);
        assert.deepEqual(
          trusts[1]?.grants.map(({ filled, why }) => [filled?.repositories, why]),
          [
            ['acme/api', null],
            [undefined, 'the claim missing is not there, or cannot be part of a name'],
          ],
        );
      });

      it('the explanation of claims names the issuers of trusts where none has that of the token', async () => {
        const { why, trusts } = await ask(issuer.payload(githubClaims({ iss: `${issuer.url}/` })));
        assert.deepEqual(trusts, []);
        assert.equal(why, `no trust has the issuer ${issuer.url}/. There are trusts in ${issuer.url}`);
      });

      it('the explanation of claims explains an expired token as of its issue, and says that it has expired', async () => {
        const { allowed, notes } = await ask(
          issuer.payload(githubClaims(), { issuedAt: -7200, expiresIn: -6900 }),
        );
        assert.equal(allowed, true);
        assert.match(notes[0] ?? '', /^it has expired \(exp\): the registry refuses it now/);
        assert.match(notes[1] ?? '', /signature.* not checked/);
      });

      it('the explanation of claims quotes long claims shortly, and few values of a list', async () => {
        const { trusts } = await ask(
          issuer.payload(githubClaims({ ref: Array.from({ length: 50 }, () => 'x'.repeat(500)) })),
        );
        const values = trusts[0]?.conditions[2]?.values ?? [];
        assert.deepEqual([values.length, values[0]?.length], [10, 200]);
      });

      it('the explanation of claims is not in the audit log as a change', async () => {
        await ask(issuer.payload(githubClaims()));
        await home.settled();
        const { text } = await api.call('GET', '/audit?n=100');
        assert.match(text, /"rule.create"/);
        assert.doesNotMatch(text, /explain/);
      });

      for (const body of [
        { action: 'push', repository: 'a' },
        { claims: [], action: 'push', repository: 'a' },
        { claims: 'eyJhbGciOiJub25lIn0.e30.', action: 'push', repository: 'a' },
        { claims: {}, action: 'dance', repository: 'a' },
        { claims: {}, action: 'push', repository: 'UPPER' },
      ]) {
        it(`the explanation of claims refuses ${JSON.stringify(body)}`, async () => {
          assert.equal((await api.call('POST', '/explain', body)).status, 400);
        });
      }
    });

    describe('a login agrees with the explanation', () => {
      const rows: {
        name: string;
        claims: ClaimSet;
        signed?: Parameters<TestIssuer['sign']>[1];
        want: boolean;
      }[] = [
        { name: 'of the main branch', claims: githubClaims(), want: true },
        { name: 'of another branch', claims: githubClaims({ ref: 'refs/heads/x' }), want: false },
        { name: 'of a pull request', claims: githubPullRequest(), want: true },
        { name: 'of another owner', claims: githubClaims({ repository: 'evil/api' }), want: false },
        { name: 'of a sibling repository', claims: githubClaims({ repository: 'acme/web' }), want: false },
        { name: 'with a star in a claim', claims: githubClaims({ repository: 'acme/*' }), want: false },
        { name: 'for two audiences', claims: githubClaims({ aud: ['longshore', 'other'] }), want: false },
        { name: 'for a list of one audience', claims: githubClaims({ aud: ['longshore'] }), want: true },
        { name: 'without aud', claims: githubClaims({ aud: undefined }), want: false },
        { name: 'without sub', claims: githubClaims({ sub: undefined }), want: false },
        { name: 'with an empty sub', claims: githubClaims({ sub: '' }), want: false },
        { name: 'without iat', claims: githubClaims(), signed: { issuedAt: null }, want: false },
        { name: 'without exp', claims: githubClaims(), signed: { expiresIn: null }, want: false },
        { name: 'with exp as a text', claims: githubClaims({ exp: 'tomorrow' }), want: false },
        { name: 'with a sub of 500 letters', claims: githubClaims({ sub: 'ä'.repeat(500) }), want: true },
        { name: 'of GitLab, with other claims', claims: gitlabClaims(), want: false },
        {
          name: 'with an address that is not verified',
          claims: googleClaims({ email_verified: false }),
          want: false,
        },
        { name: 'with a role that only pulls', claims: googleClaims(), want: false },
      ];
      for (const { name, claims, signed = {}, want } of rows) {
        it(`a login agrees with the explanation about a push by the token ${name}`, async () => {
          const payload = JSON.parse(JSON.stringify(issuer.payload(claims, signed))) as ClaimSet;
          const explained = await ask(payload);
          assert.equal(explained.allowed, want, explained.why);
          const token = await issuer.sign(claims, signed);
          const scope = await scopeOf(home, 'ci', token, 'repository:acme/api:push');
          assert.equal(scope === 'repository:acme/api:push', want, `login: ${scope}`);
          assert.equal(scope === 401, explained.subject === null, `login: ${scope}`);
        });
      }

      it('a login agrees with the explanation about a pull by public rules, which only an accepted token may use', async () => {
        const accepted = await ask(issuer.payload(githubClaims()), 'pull', 'public/x');
        const refused = await ask(issuer.payload(gitlabClaims()), 'pull', 'public/x');
        assert.deepEqual([accepted.allowed, refused.allowed], [true, false]);
      });
    });
  },
  { vars: { ...GUARDED.vars, ALLOW_PRIVATE_ISSUERS: 'true' } },
);
