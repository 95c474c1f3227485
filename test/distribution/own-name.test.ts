/** The registry decides what it is called: realm, audience and redirects follow its settings, and no header of a stranger. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome, type Home, onHome } from '../support/homes.ts';
import { sendHead, Visitor } from '../support/visitor.ts';

const ADMIN = 'admin:the password of the admin';
const VARS = { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin', BLOB_DELIVERY: 'redirect' };
const EVIL = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.example' };

const ping = (home: Home, lines: string[]) => sendHead(home.url, { method: 'GET', target: '/v2/', lines });
const linesOf = (headers: Record<string, string>) => Object.entries(headers).map(([k, v]) => `${k}: ${v}`);

describe('a registry without PUBLIC_URL', () => {
  eachHome(
    (home) => {
      const admin = new Visitor(home, ADMIN);
      const content = blob(70_000);
      const path = `/v2/app/blobs/${digest(content)}`;
      before(() =>
        admin.must(201, 'POST', `/v2/app/blobs/uploads/?digest=${digest(content)}`, { body: content }),
      );

      it('a registry without PUBLIC_URL sends a client that forwards another host nowhere else', async () => {
        const { challenge } = await ping(home, linesOf(EVIL));
        assert.deepEqual(challenge, { realm: `${home.url}/token`, service: new URL(home.url).host });
        const { status, headers } = await admin.send('GET', path, { headers: EVIL });
        assert.equal(status, 307);
        assert.equal(new URL(headers.get('Location') ?? '').origin, home.url);
      });

      it('a registry without PUBLIC_URL makes no token for a host that a client forwards', async () => {
        const { text } = await admin.must(200, 'GET', '/token?scope=repository:app:pull', { headers: EVIL });
        const [, payload = ''] = JSON.parse(text).token.split('.');
        const { aud, iss } = JSON.parse(Buffer.from(payload, 'base64url').toString());
        assert.deepEqual({ aud, iss }, { aud: new URL(home.url).host, iss: home.url });
      });
    },
    { vars: VARS },
  );

  onHome(
    'disk',
    (home) => {
      for (const name of ['evil.example', 'evil.example:8787', '192.0.2.7', '127.0.0.1.evil.example'])
        it(`a registry without PUBLIC_URL answers ${name}, at which it is not bound, with how to set its name`, async () => {
          const { status, code, message } = await ping(home, [`Host: ${name}`]);
          assert.deepEqual([status, code], [421, 'NAME_INVALID']);
          assert.ok(message.includes(`called ${name}`) && message.includes('set PUBLIC_URL'), message);
        });

      for (const name of ['localhost', 'localhost:5000', '127.0.0.1', '[::1]:8787'])
        it(`a registry without PUBLIC_URL answers ${name} under that name`, async () => {
          const { challenge } = await ping(home, [`Host: ${name}`]);
          assert.deepEqual(challenge, { realm: `http://${name}/token`, service: name });
        });

      it('a registry without PUBLIC_URL tells a load balancer that it is well, under any name', async () => {
        const { status } = await sendHead(home.url, {
          method: 'GET',
          target: '/health',
          lines: ['Host: balancer.example'],
        });
        assert.equal(status, 200);
      });
    },
    { vars: VARS },
  );

  onHome(
    'disk',
    (home) => {
      it('a registry without PUBLIC_URL is called what a trusted proxy says, where it is bound to that name', async () => {
        const forwarded = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'registry.example' };
        const { challenge } = await ping(home, linesOf(forwarded));
        assert.deepEqual(challenge, { realm: 'https://registry.example/token', service: 'registry.example' });
        assert.equal((await ping(home, linesOf(EVIL))).status, 421);
      });
    },
    { vars: { ...VARS, TRUSTED_PROXIES: '127.0.0.0/8', BOUND_NAMES: 'registry.example' } },
  );
});

describe('a registry with PUBLIC_URL', () => {
  const [first, second] = ['https://registry.example', 'https://mirror.example:8443'];
  eachHome(
    (home) => {
      const rows: { name: string; lines: string[]; want: string }[] = [
        { name: 'a host that is not set', lines: ['Host: evil.example'], want: first },
        { name: 'its own address', lines: [], want: first },
        { name: 'what a client forwards', lines: linesOf({ ...EVIL, Host: '127.0.0.1' }), want: first },
        { name: 'its first name', lines: ['Host: registry.example'], want: first },
        { name: 'its second name', lines: ['Host: mirror.example:8443'], want: second },
        {
          name: 'its second name and what a client forwards',
          lines: linesOf({ ...EVIL, Host: 'Mirror.Example:8443' }),
          want: second,
        },
      ];
      for (const { name, lines, want } of rows)
        it(`a registry with PUBLIC_URL is called ${want} for ${name}`, async () => {
          const { challenge, headers } = await ping(home, lines);
          assert.deepEqual(challenge, { realm: `${want}/token`, service: new URL(want).host });
          assert.equal(headers.get('Strict-Transport-Security'), 'max-age=31536000');
        });
    },
    { vars: { ...VARS, PUBLIC_URL: `${first}, ${second}` } },
  );
});

describe('a registry with sign-in and without PUBLIC_URL', () => {
  onHome(
    'r2',
    (home) => {
      it('a registry with sign-in and without PUBLIC_URL says that it needs PUBLIC_URL', async () => {
        const { status, message } = await new Visitor(home, null).send('GET', '/auth/login');
        assert.equal(status, 503);
        assert.match(message, /PUBLIC_URL is needed for OIDC_ISSUER/);
      });
    },
    { vars: { ...VARS, OIDC_ISSUER: 'https://issuer.example', OIDC_CLIENT_ID: 'registry' } },
  );
});
