/** Tokens that are not what they claim: forged, of another issuer, for another audience, or outside their lifetime. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT } from 'jose';
import { issuerOf } from '../../worker/auth/openid/trusts.ts';
import { type ClaimSet, githubClaims } from '../support/claims.ts';
import type { SigningOptions } from '../support/issuer.ts';
import { given, issuer, other, refused, trust, verify } from './trusting.ts';

describe('a token that is refused', () => {
  const signed = (claims: ClaimSet, options?: SigningOptions) => () => issuer.sign(claims, options);
  const rows: { name: string; token: () => Promise<string> | string; want: RegExp }[] = [
    {
      name: 'for another audience',
      token: signed(githubClaims({ aud: 'else' })),
      want: /aud must be longshore/,
    },
    {
      name: 'for several audiences',
      token: signed(githubClaims({ aud: ['longshore', 'else'] })),
      want: /aud must be longshore alone/,
    },
    {
      name: 'without an audience',
      token: signed(githubClaims({ aud: undefined })),
      want: /lacks the claim aud/,
    },
    {
      name: 'of an issuer that is not trusted',
      token: () => other.sign(githubClaims()),
      want: /not trusted/,
    },
    {
      name: 'of one that claims to be another, by a key of its own',
      token: () => other.sign(githubClaims({ iss: issuer.url })),
      want: /no key/,
    },
    {
      name: 'by the key of another under the name of the right one',
      token: () =>
        other.sign(githubClaims({ iss: issuer.url }), { header: { kid: issuer.keySet.keys[0]?.kid } }),
      want: /signature/,
    },
    {
      name: 'by a key that is not known',
      token: signed(githubClaims(), { header: { kid: 'none' } }),
      want: /no key/,
    },
    {
      name: 'that has expired',
      token: signed(githubClaims(), { issuedAt: -600, expiresIn: -61 }),
      want: /expired \(exp\)/,
    },
    {
      name: 'without an end',
      token: signed(githubClaims(), { expiresIn: null }),
      want: /lacks the claim exp/,
    },
    { name: 'whose end is no number', token: signed(githubClaims({ exp: 'never' })), want: /claim exp/ },
    {
      name: 'without a beginning',
      token: signed(githubClaims(), { issuedAt: null }),
      want: /lacks the claim iat/,
    },
    {
      name: 'from long ago, though good for ever',
      token: signed(githubClaims(), { issuedAt: -90_000, expiresIn: 9e6 }),
      want: /too long ago/,
    },
    {
      name: 'that is not valid yet',
      token: signed(githubClaims(), { notBefore: 120 }),
      want: /not valid yet \(nbf\)/,
    },
    {
      name: 'from the future',
      token: signed(githubClaims(), { issuedAt: 120 }),
      want: /not valid yet \(iat\)/,
    },
    {
      name: 'without a subject',
      token: signed(githubClaims({ sub: undefined })),
      want: /lacks the claim sub/,
    },
    {
      name: 'of another type',
      token: signed(githubClaims(), { header: { typ: 'logout+jwt' } }),
      want: /type/,
    },
    { name: 'unsigned', token: () => unsigned('none'), want: /algorithm/ },
    { name: 'unsigned, in capitals', token: () => unsigned('NONE'), want: /algorithm/ },
    { name: 'with the public key as a secret (JSON)', token: () => confused('json'), want: /algorithm/ },
    { name: 'with the public key as a secret (PEM)', token: () => confused('pem'), want: /algorithm/ },
    { name: 'with a key in its own header', token: selfSigned, want: /no key/ },
    { name: 'that was changed', token: changed, want: /signature/ },
    {
      name: 'without its signature',
      token: async () => (await issuer.sign(githubClaims())).replace(/[^.]+$/, ''),
      want: /signature|cannot|no token/,
    },
  ];
  for (const { name, token, want } of rows) {
    it(`a forged token of an issuer is refused: ${name}`, async () => {
      await refused(verify(await token(), [trust()]), want);
    });
  }

  it('a token that is not forged is taken', async () => {
    assert.deepEqual(await given(await issuer.sign(githubClaims()), trust()), ['writer acme/api']);
  });
});

describe('the issuer that a text claims', () => {
  it('the issuer that a text claims is that of a JWT', async () => {
    assert.equal(issuerOf(await issuer.sign(githubClaims())), issuer.url);
    assert.equal(issuerOf(unsigned('none')), issuer.url);
  });
  for (const text of [
    '',
    'secret',
    'a.b.c',
    '..',
    `lsr_0123456789abcdef_${'a'.repeat(43)}`,
    `${'a'.repeat(40_000)}.e30.`,
  ]) {
    it(`the issuer that a text claims is not read from ${text.slice(0, 20) || 'nothing'}`, () =>
      assert.equal(issuerOf(text), null));
  }
});

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function unsigned(alg: string): string {
  return `${part({ alg, typ: 'JWT' })}.${part(issuer.payload(githubClaims()))}.`;
}

/** HS256 with what everybody can read as the secret, under the name of the key. */
async function confused(form: 'json' | 'pem'): Promise<string> {
  const [jwk] = issuer.keySet.keys;
  assert.ok(jwk !== undefined);
  const key = (await importJWK({ ...jwk, ext: true }, 'RS256')) as CryptoKey;
  const secret = form === 'json' ? JSON.stringify(jwk) : await exportSPKI(key);
  const text = `${part({ alg: 'HS256', typ: 'JWT', kid: jwk.kid })}.${part(issuer.payload(githubClaims()))}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** RFC 7515, section 4.1.3: a header may bring its own key, which proves nothing. */
async function selfSigned(): Promise<string> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return new SignJWT(issuer.payload(githubClaims()))
    .setProtectedHeader({ alg: 'ES256', jwk: await exportJWK(publicKey) })
    .sign(privateKey);
}

async function changed(): Promise<string> {
  const [head, , signature] = (await issuer.sign(githubClaims())).split('.');
  return [head, part(issuer.payload(githubClaims({ repository: 'acme/else' }))), signature].join('.');
}
