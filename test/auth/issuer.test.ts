/** What an issuer is asked for and when, and what is not taken from one that answers wrongly. */
import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { githubClaims } from '../support/claims.ts';
import type { Answer } from '../support/issuer.ts';
import { DISCOVERY, given, issuer, other, refused, trust, verify } from './trusting.ts';

describe('the keys of an issuer', () => {
  it('the keys of an issuer are fetched once', async () => {
    for (let times = 0; times < 3; times++) await given(await issuer.sign(githubClaims()), trust());
    assert.deepEqual(Object.fromEntries(issuer.asked), { [DISCOVERY]: 1, '/keys': 1 });
  });

  it('the keys of an issuer are not asked for by tokens of issuers that are not trusted', async () => {
    await refused(verify(await other.sign(githubClaims()), [trust()]), /not trusted/);
    assert.equal(other.asked.size, 0);
  });

  it('the keys of an issuer are found again after they were rotated', async () => {
    mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const old = await issuer.sign(githubClaims());
    await given(old, trust());
    await issuer.rotate();
    const next = await issuer.sign(githubClaims());
    await refused(given(next, trust()), /no key/);
    assert.equal(issuer.asked.get('/keys'), 1, 'a key that is not known is no reason to ask at once');
    mock.timers.tick(30_000);
    assert.deepEqual(await given(next, trust()), ['writer acme/api']);
    assert.equal(issuer.asked.get('/keys'), 2);
    await refused(given(old, trust()), /no key/);
  });

  it('the keys of an issuer may come with the trust, and the issuer is not asked', async () => {
    const jwks = JSON.stringify(issuer.keySet);
    assert.deepEqual(await given(await issuer.sign(githubClaims()), trust({ jwks })), ['writer acme/api']);
    assert.equal(issuer.asked.size, 0);
    const theirs = trust({ jwks: JSON.stringify(other.keySet) });
    await refused(given(await issuer.sign(githubClaims()), theirs), /no key/);
    await refused(
      given(await issuer.sign(githubClaims()), trust({ jwks: '{' })),
      /cannot be read/,
      'UNAVAILABLE',
    );
  });

  const broken: {
    name: string;
    path: string;
    answer?: () => Answer;
    metadata?: () => object;
    want: RegExp;
  }[] = [
    {
      name: 'another issuer',
      path: DISCOVERY,
      metadata: () => ({ issuer: other.url }),
      want: /says that it is another issuer/,
    },
    {
      name: 'a redirect',
      path: DISCOVERY,
      answer: () => ({ status: 302, headers: { Location: `${other.url}${DISCOVERY}` } }),
      want: /answered 302/,
    },
    {
      name: 'a redirect of the keys',
      path: '/keys',
      answer: () => ({ status: 307, headers: { Location: `${other.url}/keys` } }),
      want: /answered 307/,
    },
    { name: 'an error', path: DISCOVERY, answer: () => ({ status: 500 }), want: /answered 500/ },
    {
      name: 'what is no JSON',
      path: DISCOVERY,
      answer: () => ({ body: '<html>' }),
      want: /other than a JSON object/,
    },
    {
      name: 'too much',
      path: '/keys',
      answer: () => ({ body: JSON.stringify({ keys: [], more: 'x'.repeat(300_000) }) }),
      want: /too much/,
    },
    { name: 'no keys', path: '/keys', answer: () => ({ body: '{"keys": "none"}' }), want: /no key set/ },
    {
      name: 'keys that come without TLS',
      path: DISCOVERY,
      metadata: () => ({ jwks_uri: 'http://keys.example/keys' }),
      want: /jwks_uri/,
    },
    {
      name: 'keys in a file',
      path: DISCOVERY,
      metadata: () => ({ jwks_uri: 'file:///etc/passwd' }),
      want: /jwks_uri/,
    },
    {
      name: 'no place of keys',
      path: DISCOVERY,
      metadata: () => ({ jwks_uri: undefined }),
      want: /jwks_uri/,
    },
  ];
  for (const { name, path, answer, metadata, want } of broken) {
    it(`the keys of an issuer are not taken from one that answers with ${name}, who is left alone for a while`, async () => {
      mock.timers.enable({ apis: ['Date'], now: Date.now() });
      if (answer !== undefined) issuer.wrong.set(path, answer());
      issuer.metadata = { ...metadata?.() };
      const token = await issuer.sign(githubClaims());
      await refused(verify(token, [trust()]), want, 'UNAVAILABLE');
      await refused(verify(token, [trust()]), want, 'UNAVAILABLE');
      assert.equal(issuer.asked.get(path), 1);
      assert.equal(other.asked.size, 0);
      issuer.wrong.clear();
      issuer.metadata = {};
      mock.timers.tick(10_000);
      assert.deepEqual(await given(token, trust()), ['writer acme/api']);
    });
  }

  for (const url of [
    'http://issuer.example',
    'http://10.0.0.1',
    'ftp://127.0.0.1',
    'https://a:b@issuer.example',
    'https://issuer.example?x',
    'issuer',
  ]) {
    it(`the keys of an issuer are not asked for at ${url}`, async () => {
      const fetched = mock.method(globalThis, 'fetch', () => assert.fail('it was asked'));
      const token = await issuer.sign(githubClaims({ iss: url }));
      await refused(verify(token, [trust({ issuer: url })]), /neither an https URL/, 'UNAVAILABLE');
      assert.equal(fetched.mock.callCount(), 0);
      fetched.mock.restore();
    });
  }
});
