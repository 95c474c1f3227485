/** Tokens of trusted issuers that are taken, in the shapes of real ones, and what they give. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type ClaimSet,
  githubClaims,
  githubPullRequest,
  gitlabClaims,
  googleClaims,
  kubernetesClaims,
} from '../support/claims.ts';
import type { SigningOptions } from '../support/issuer.ts';
import { type Given, given, issuer, refused, trust, verify } from './trusting.ts';

describe('a token that is taken', () => {
  const gitlab = [{ role: 'writer' as const, repositories: '{project_path}', tags: '{ref_name}' }];
  const rows: {
    name: string;
    claims: ClaimSet;
    given?: Given;
    want: string[];
    subject?: string;
    signed?: SigningOptions;
  }[] = [
    {
      name: 'GitHub',
      claims: githubClaims(),
      want: ['writer acme/api'],
      subject: 'trust:ci:repo:acme/api:ref:refs/heads/main',
    },
    {
      name: 'GitHub, by workflow and branch',
      claims: githubClaims(),
      given: {
        conditions: { job_workflow_ref: 'acme/shared/.github/workflows/build.yml@**', ref: 'refs/heads/*' },
      },
      want: ['writer acme/api'],
    },
    {
      name: 'GitHub, of an owner in capitals',
      claims: githubClaims({ repository: 'Acme/API' }),
      given: { conditions: { repository: 'Acme/*' } },
      want: ['writer acme/api'],
    },
    {
      name: 'GitLab',
      claims: gitlabClaims(),
      given: { conditions: { project_path: 'acme/**' }, grants: gitlab },
      want: ['writer acme/tools/web main'],
    },
    {
      name: 'GitLab, by one of several groups and a number',
      claims: gitlabClaims(),
      given: { conditions: { groups_direct: 'acme/ops', runner_id: '1' }, grants: gitlab },
      want: ['writer acme/tools/web main'],
    },
    {
      name: 'Google, by an address that is verified',
      claims: googleClaims(),
      given: {
        conditions: { email: '*@acme.iam.gserviceaccount.com', email_verified: 'true' },
        grants: [{ role: 'reader', repositories: '**', tags: null }],
      },
      want: ['reader **'],
      subject: 'trust:ci:113774264463038321964',
    },
    {
      name: 'Kubernetes, by claims inside a claim',
      claims: kubernetesClaims(),
      given: {
        conditions: { 'kubernetes.io/namespace': 'team-*', 'kubernetes.io/serviceaccount/name': 'builder' },
        grants: [{ role: 'writer', repositories: '{kubernetes.io/namespace}/**', tags: null }],
      },
      want: ['writer team-a/**'],
      signed: { header: { typ: undefined } },
    },
    {
      name: 'a claim whose own name is a path',
      claims: githubClaims({ 'https://acme.example/team': 'a' }),
      given: { conditions: { 'https://acme.example/team': 'a' } },
      want: ['writer acme/api'],
    },
    {
      name: 'a little before its time, of a clock that is ahead',
      claims: githubClaims(),
      signed: { issuedAt: 50, notBefore: 50 },
      want: ['writer acme/api'],
    },
    {
      name: 'a grant that cannot be filled, left out',
      claims: githubClaims({ actor: 'a*' }),
      given: {
        grants: [
          { role: 'writer', repositories: '{actor}/**', tags: null },
          { role: 'reader', repositories: 'acme/**', tags: null },
        ],
      },
      want: ['reader acme/**'],
    },
  ];
  for (const { name, claims, given: of = {}, want, subject, signed } of rows) {
    it(`a token of a trusted issuer is taken: ${name}`, async () => {
      const token = await issuer.sign(claims, signed);
      assert.deepEqual(await given(token, trust(of)), want);
      const login = await verify(token, [trust(of)]);
      if (subject !== undefined) assert.equal(login.subject, subject);
      assert.deepEqual(new Set(login.rules.map((rule) => rule.subject)), new Set(['trust:ci']));
      assert.ok(login.rules.every(({ id }) => /^trust ci [12]$/.test(id)));
    });
  }

  for (const alg of ['PS256', 'ES256', 'ES384', 'Ed25519']) {
    it(`a token signed by ${alg} is taken`, async () => {
      await issuer.rotate(alg);
      assert.deepEqual(await given(await issuer.sign(githubClaims()), trust()), ['writer acme/api']);
      await issuer.rotate();
    });
  }

  it('a token that is taken has an id that says which it is, also where the issuer gives none', async () => {
    const [named, unnamed] = [
      await issuer.sign(githubClaims({ jti: 'j1' })),
      await issuer.sign(googleClaims()),
    ];
    const of = trust({
      conditions: { sub: '**' },
      grants: [{ role: 'reader', repositories: 'a', tags: null }],
    });
    assert.equal((await verify(named, [of])).id, 'j1');
    const { id, expiresAt } = await verify(unnamed, [of]);
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    assert.equal((await verify(unnamed, [of])).id, id);
    assert.ok(expiresAt > Date.now() && expiresAt <= Date.now() + 300_000);
  });

  it('a token that is taken has a subject of a sane length, that is its own', async () => {
    const subjects = await Promise.all(
      ['a', 'b'].map(async (end) => {
        const token = await issuer.sign(githubClaims({ sub: `repo:${'x'.repeat(900)}${end}` }));
        return (await verify(token, [trust()])).subject;
      }),
    );
    assert.deepEqual(
      subjects.map((subject) => subject.length),
      [200, 200],
    );
    assert.notEqual(subjects[0], subjects[1]);
  });
});

describe('several trusts in one issuer', () => {
  const pulls = () =>
    trust({
      id: 'p',
      name: 'pulls',
      conditions: { repository: 'acme/*', event_name: 'pull_request' },
      grants: [{ role: 'writer', repositories: '{repository}', tags: 'pr-*' }],
    });
  const main = () =>
    trust({ id: 'm', name: 'main', conditions: { repository: 'acme/*', ref: 'refs/heads/main' } });

  it('several trusts in one issuer let pull requests push only tags pr-*, and the main branch all', async () => {
    const of = [pulls(), main()];
    assert.deepEqual(await given(await issuer.sign(githubPullRequest()), ...of), ['writer acme/api pr-*']);
    assert.deepEqual(await given(await issuer.sign(githubClaims()), ...of), ['writer acme/api']);
    await refused(
      given(await issuer.sign(githubClaims({ ref: 'refs/heads/x' })), ...of),
      /event_name does not match pull_request \(trust pulls\); .*ref does not match refs\/heads\/main \(trust main\)/,
    );
  });

  it('several trusts in one issuer give the grants of all', async () => {
    const of = [
      main(),
      trust({ id: 'r', name: 'all', grants: [{ role: 'reader', repositories: 'base/**', tags: null }] }),
    ];
    const token = await issuer.sign(githubClaims());
    assert.deepEqual(await given(token, ...of), ['writer acme/api', 'reader base/**']);
    assert.equal((await verify(token, of)).trust, 'm r');
  });
});
