/** Settings that are wrong are told together, by name: at the start on one machine, by every request on Cloudflare. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartFailure } from '../../standalone/failure.ts';
import { parseSettings } from '../../worker/settings.ts';
import { Home, onHome } from '../support/homes.ts';

const WRONG: Record<string, string> = {
  AUTH: 'maybe',
  HTPASSWD_ROLE: 'king',
  TOKEN_LIFETIME: '59',
  TRUSTED_PROXIES: 'proxy.example',
  AUDIT_DAYS: '0',
  OIDC_CLIENT_ID: 'registry',
  SPARSE_MANIFESTS: 'yes',
  PREFETCH: '21',
};
const ISSUER = 'https://issuer.example';
const PUBLIC_URL = 'https://registry.example';

describe('a setting that is wrong is refused', () => {
  const rows: [vars: Record<string, string>, want: RegExp][] = [
    [{ AUTH: 'Off' }, /: AUTH is on or off$/],
    [{ HTPASSWD_ROLE: 'king' }, /: HTPASSWD_ROLE is one of none, /],
    [{ HTPASSWD: 'alice:secret' }, /: HTPASSWD line 1 /],
    ...['03', '18', '31', '99'].map((cost): [Record<string, string>, RegExp] => [
      { HTPASSWD: `alice:$2y$${cost}$${'a'.repeat(53)}` },
      /: HTPASSWD line 1 is not .* of a cost from 4 to 17/,
    ]),
    [{ TOKEN_LIFETIME: '5m' }, /: TOKEN_LIFETIME is a number of seconds from 60 to 86400$/],
    [{ TRUSTED_PROXIES: '10.0.0.0/8 proxy' }, /: TRUSTED_PROXIES is a list of networks/],
    ...['0', '3651', '-1', '7d', '1e3'].map((days): [Record<string, string>, RegExp] => [
      { AUDIT_DAYS: days },
      /: AUDIT_DAYS is a number of days from 1 to 3650$/,
    ]),
    ...['366', '-1', '14d'].map((days): [Record<string, string>, RegExp] => [
      { UNDO_DAYS: days },
      /: UNDO_DAYS is a number of days from 0 to 365$/,
    ]),
    [{ GRACE_HOURS: '0' }, /: GRACE_HOURS is a number of hours from 1 to 720$/],
    [{ BACKGROUND_ROWS_PER_DAY: 'few' }, /: BACKGROUND_ROWS_PER_DAY is a number of rows/],
    [{ SPARSE_MANIFESTS: '1' }, /: SPARSE_MANIFESTS is true or false$/],
    [{ OIDC_ISSUER: ISSUER, PUBLIC_URL }, /: OIDC_ISSUER needs OIDC_CLIENT_ID$/],
    [{ OIDC_ISSUER: 'issuer', OIDC_CLIENT_ID: 'id', PUBLIC_URL }, /: OIDC_ISSUER is the https URL/],
    ...['OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET', 'OIDC_GROUPS_CLAIM'].map(
      (name): [Record<string, string>, RegExp] => [
        { [name]: 'x' },
        new RegExp(`: ${name} needs OIDC_ISSUER`),
      ],
    ),
  ];
  for (const [vars, want] of rows) {
    it(`a setting that is wrong is refused: ${JSON.stringify(vars)}`, () => {
      assert.throws(() => parseSettings(vars), { code: 'UNAVAILABLE', message: want });
    });
  }
});

describe('a variable without quotes in wrangler.toml', () => {
  it('a variable without quotes in wrangler.toml is read like its text', () => {
    const { auth, allowsSparse, requestsPerMinute } = parseSettings({
      TOKEN_LIFETIME: 600,
      SPARSE_MANIFESTS: true,
      REQUEST_LIMIT: { limit: () => Promise.resolve({ success: true }) }, // The binding of Cloudflare.
    });
    assert.deepEqual([auth.tokenLifetime, allowsSparse, requestsPerMinute], [600, true, 0]);
    assert.equal(parseSettings({ AUDIT_DAYS: null, PREFETCH: 0 }).delivery.prefetch, 0);
  });

  it('a variable without quotes in wrangler.toml is refused like its text', () => {
    for (const [name, value] of Object.entries({
      AUTH: false,
      TOKEN_LIFETIME: 5,
      PREFETCH: {},
      AUDIT_DAYS: 0,
    })) {
      assert.throws(() => parseSettings({ [name]: value }), { message: new RegExp(`: ${name} is `) });
    }
  });
});

describe('PUBLIC_URL', () => {
  const origins = (value?: string) => parseSettings({ PUBLIC_URL: value }).publicOrigins;

  it('PUBLIC_URL is one URL or several', () => {
    assert.deepEqual(origins(' https://A.example/ , http://b.example:5000'), [
      'https://a.example',
      'http://b.example:5000',
    ]);
    assert.deepEqual(origins(), []);
    assert.deepEqual(origins(''), []);
  });

  for (const wrong of [
    'registry.example',
    'https://a.example/path',
    'ftp://a.example',
    'https://a@b.example',
    'https://a.example?x',
    'x',
  ])
    it(`PUBLIC_URL is not ${wrong}`, () => {
      assert.throws(
        () => origins(`https://one.example,${wrong}`),
        /PUBLIC_URL is the URL of this registry, or several/,
      );
    });

  for (const none of ['', ' , '])
    it(`PUBLIC_URL is needed for a sign-in, where it is ${JSON.stringify(none)}`, () => {
      const vars = { OIDC_ISSUER: ISSUER, OIDC_CLIENT_ID: 'registry', PUBLIC_URL: none };
      assert.throws(() => parseSettings(vars), /PUBLIC_URL is needed for OIDC_ISSUER/);
      assert.equal(parseSettings({ ...vars, PUBLIC_URL }).signIn?.issuer, ISSUER);
    });
});

describe('settings that are wrong, all at once', () => {
  it('settings that are wrong keep a registry on one machine from starting, and are named together', async () => {
    const home = new Home('disk', { vars: WRONG });
    await assert.rejects(
      home.start().finally(() => home.stop()),
      (error) => {
        assert.ok(error instanceof StartFailure);
        for (const name of Object.keys(WRONG)) assert.match(error.message, new RegExp(`\\b${name}\\b`));
        return true;
      },
    );
  });

  onHome(
    'r2',
    (home) => {
      it('settings that are wrong are named together by every answer, which is a 503', async () => {
        for (const path of ['/v2/', '/token', '/api/v1/users', '/']) {
          const response = await fetch(home.url + path);
          assert.equal(response.status, 503, path);
          const text = await response.text();
          for (const name of Object.keys(WRONG)) assert.match(text, new RegExp(`\\b${name}\\b`), path);
        }
      });
    },
    { vars: WRONG },
  );
});
