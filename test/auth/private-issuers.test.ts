/** Issuers of OpenID Connect tokens on private addresses, which need a setting. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isPrivate } from '../../worker/auth/openid/issuer.ts';
import { Api, GUARDED } from '../management/api.ts';
import { onHome } from '../support/homes.ts';

const PRIVATE = [
  'https://localhost',
  'https://127.0.0.1:8443',
  'https://10.1.2.3',
  'https://192.168.0.10',
  'https://169.254.169.254',
  'https://[::1]',
  'https://[fd00::1]',
  'https://[::ffff:10.0.0.1]',
  'https://gitlab',
  'https://kubernetes.default.svc.cluster.local',
  'https://idp.internal',
  'https://idp.localhost.',
];
const PUBLIC = [
  'https://token.actions.githubusercontent.com',
  'https://192.0.79.33',
  'https://local.example.com',
];

describe('an issuer', () => {
  for (const url of PRIVATE) it(`the issuer ${url} is private`, () => assert.ok(isPrivate(url)));
  for (const url of PUBLIC) it(`the issuer ${url} is public`, () => assert.ok(!isPrivate(url)));
});

const trust = (name: string, issuer: string, more: object = {}) => ({
  name,
  issuer,
  audience: 'longshore',
  conditions: { repository: 'acme/*' },
  grants: [{ role: 'reader', repositories: '**' }],
  ...more,
});

onHome(
  'disk',
  (home) => {
    const api = new Api(home);

    it('a trust in an issuer on a private address is refused, and names the setting', async () => {
      const { status, text } = await api.call('POST', '/trusts', trust('ci', 'https://10.1.2.3'));
      assert.equal(status, 400);
      assert.match(text, /ALLOW_PRIVATE_ISSUERS=true/);
    });

    it('a trust that brings the key set of such an issuer is taken', async () => {
      const jwks = { keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }] };
      await api.made(
        'POST',
        '/trusts',
        trust('cluster', 'https://kubernetes.default.svc.cluster.local', { jwks }),
      );
    });
  },
  GUARDED,
);

onHome(
  'disk',
  (home) => {
    it('a trust in an issuer on a private address is taken where the setting allows it', async () => {
      await new Api(home).made('POST', '/trusts', trust('ci', 'https://10.1.2.3'));
    });
  },
  { vars: { ...GUARDED.vars, ALLOW_PRIVATE_ISSUERS: 'true' } },
);
