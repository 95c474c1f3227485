/** Settings that are wrong are told together, by name: at the start on one machine, by every request on Cloudflare. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { auditDays } from '../../durable-objects/audit-retention.ts';
import { StartFailure } from '../../standalone/failure.ts';
import { signInSettings } from '../../worker/auth/openid/sign-in-settings.ts';
import { authSettings } from '../../worker/auth/settings.ts';
import type { Env } from '../../worker/env.ts';
import { switchSetting } from '../../worker/oci/settings.ts';
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

const readers: Record<string, (env: Env) => unknown> = {
  auth: authSettings,
  'sign-in': signInSettings,
  audit: (env) => auditDays(env.AUDIT_DAYS),
  manifests: (env) => switchSetting('SPARSE_MANIFESTS', env.SPARSE_MANIFESTS),
};

describe('a setting that is wrong is refused', () => {
  const rows: [reader: string, vars: Record<string, string>, want: RegExp][] = [
    ['auth', { AUTH: 'Off' }, /: AUTH is on or off$/],
    ['auth', { HTPASSWD_ROLE: 'king' }, /: HTPASSWD_ROLE is none or one of /],
    ['auth', { HTPASSWD: 'alice:secret' }, /: HTPASSWD line 1 /],
    ['auth', { TOKEN_LIFETIME: '5m' }, /: TOKEN_LIFETIME is a number of seconds from 60 to 86400$/],
    ['auth', { TRUSTED_PROXIES: '10.0.0.0/8 proxy' }, /: TRUSTED_PROXIES is a list of networks/],
    ...['0', '3651', '-1', '7d', '1e3'].map((days): [string, Record<string, string>, RegExp] => [
      'audit',
      { AUDIT_DAYS: days },
      /: AUDIT_DAYS is a number of days from 1 to 3650$/,
    ]),
    ['manifests', { SPARSE_MANIFESTS: '1' }, /: SPARSE_MANIFESTS is true or false$/],
    ['sign-in', { OIDC_ISSUER: ISSUER }, /: OIDC_ISSUER needs OIDC_CLIENT_ID$/],
    ['sign-in', { OIDC_ISSUER: 'issuer', OIDC_CLIENT_ID: 'id' }, /: OIDC_ISSUER is the https URL/],
    ...['OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET', 'OIDC_GROUPS_CLAIM'].map(
      (name): [string, Record<string, string>, RegExp] => [
        'sign-in',
        { [name]: 'x' },
        new RegExp(`: ${name} needs OIDC_ISSUER`),
      ],
    ),
  ];
  for (const [reader, vars, want] of rows) {
    it(JSON.stringify(vars), () => {
      assert.throws(() => readers[reader]?.(vars as unknown as Env), { code: 'UNAVAILABLE', message: want });
    });
  }
});

describe('settings that are wrong, all at once', () => {
  it('keep a registry on one machine from starting, and are named together', async () => {
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
      it('are named together by every answer, which is a 503', async () => {
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
