/** Tokens that are genuine, and whose claims give them nothing: the conditions of a trust, and what fills its grants. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClaimSet, githubClaims, gitlabClaims, googleClaims } from '../support/claims.ts';
import { type Given, given, issuer, refused, trust, verify } from './trusting.ts';

describe('a token whose claims are refused', () => {
  const signed = (claims: ClaimSet) => () => issuer.sign(claims);
  const grant = (repositories: string, tags: string | null = null): Given => {
    return { conditions: { sub: '**' }, grants: [{ role: 'writer', repositories, tags }] };
  };
  const rows: { name: string; token: () => Promise<string> | string; given?: () => Given; want: RegExp }[] = [
    {
      name: 'of another repository',
      token: signed(githubClaims({ repository: 'evil/api' })),
      want: /repository does not match acme\/\*/,
    },
    {
      name: 'of a repository whose name begins so',
      token: signed(githubClaims({ repository: 'x-acme/api' })),
      want: /repository does not match/,
    },
    {
      name: 'of a repository below',
      token: signed(githubClaims({ repository: 'acme/x/y' })),
      want: /repository does not match/,
    },
    {
      name: 'whose address is not verified',
      token: signed(googleClaims({ email: 'boss@acme.example', email_verified: false })),
      given: () => ({ conditions: { email: 'boss@acme.example' } }),
      want: /email_verified must be true/,
    },
    {
      name: 'that lacks a claim',
      token: signed(googleClaims()),
      want: /lacks the claim repository, which must match acme\/\*/,
    },
    {
      name: 'whose claim is an object',
      token: signed(githubClaims({ repository: { a: 'acme/api' } })),
      want: /lacks the claim repository/,
    },
    {
      name: 'whose claim is only inherited',
      token: signed(githubClaims()),
      given: () => ({ conditions: { 'toString/name': '**' } }),
      want: /lacks the claim toString\/name/,
    },
    {
      name: 'whose claim is endless',
      token: signed(githubClaims({ actor: 'a'.repeat(2000) })),
      given: () => ({ conditions: { actor: '**' } }),
      want: /actor/,
    },
    {
      name: 'of everybody, by a trust without conditions',
      token: signed(githubClaims()),
      given: () => ({ conditions: {} }),
      want: /no conditions/,
    },
    {
      name: 'with * in a claim',
      token: signed(githubClaims({ repository: 'acme/*' })),
      want: /gives it nothing: .*repository/,
    },
    {
      name: 'with ** in a claim',
      token: signed(githubClaims({ repository: 'acme/**' })),
      given: () => grant('{repository}'),
      want: /gives it nothing/,
    },
    {
      name: 'with .. in a claim',
      token: signed(githubClaims({ repository: 'acme/..' })),
      want: /gives it nothing/,
    },
    {
      name: 'with an empty claim',
      token: signed(githubClaims()),
      given: () => grant('acme/{head_ref}'),
      want: /head_ref/,
    },
    {
      name: 'with a slash at the end of a claim',
      token: signed(githubClaims({ actor: 'a/' })),
      given: () => grant('{actor}/x'),
      want: /actor/,
    },
    {
      name: 'with a list for a claim',
      token: signed(gitlabClaims()),
      given: () => grant('{groups_direct}'),
      want: /groups_direct/,
    },
    {
      name: 'with * in a tag',
      token: signed(githubClaims({ ref: 'refs/heads/*' })),
      given: () => grant('acme/api', '{ref_name}'),
      want: /ref_name/,
    },
    {
      name: 'by a template that makes no pattern',
      token: signed(githubClaims()),
      given: () => grant('acme/{'),
      want: /does not make a pattern/,
    },
    {
      name: 'by a trust without grants',
      token: signed(githubClaims()),
      given: () => ({ grants: [] }),
      want: /no grants/,
    },
  ];
  for (const { name, token, given: of = () => ({}), want } of rows) {
    it(`a token of a trusted issuer is refused: ${name}`, async () => {
      await refused(verify(await token(), [trust(of())]), want);
    });
  }

  it('a token whose claims are right is taken', async () => {
    assert.deepEqual(await given(await issuer.sign(githubClaims()), trust()), ['writer acme/api']);
  });

  it('a token whose claim is written in another case is refused', async () => {
    const token = await issuer.sign(githubClaims({ ref: 'refs/heads/MAIN' }));
    assert.deepEqual(
      await given(
        token,
        trust({ grants: [{ role: 'writer', repositories: 'acme/api', tags: '{ref_name}' }] }),
      ),
      ['writer acme/api MAIN'],
    );
  });
});
