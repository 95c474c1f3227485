/** Policies: what must hold beside a role, wherever a token was issued, and what a refusal says. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { clientOf } from '../../worker/access/client.ts';
import { checkClient } from '../../worker/access/conditions.ts';
import { isNetwork } from '../../worker/oci/address.ts';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

const ADMIN_PASSWORD = 'the password of the admin';
const INSIDE = '203.0.113.7';
const ELSEWHERE = '198.51.100.7';
const INSIDE_V6 = '2001:db8::7';

/** On one machine a trusted proxy says where a client is, on Cloudflare Cloudflare does. */
const from = (address: string) => ({ headers: { 'X-Forwarded-For': address, 'CF-Connecting-IP': address } });

eachHome(
  (home) => {
    const admin = new Visitor(home, `admin:${ADMIN_PASSWORD}`);
    const writer = new Visitor(home, 'wanda:a password of hers');
    const bytes = blob();

    const post = async (path: string, body: unknown) => {
      const headers = { 'Content-Type': 'application/json' };
      return admin.must(201, 'POST', `/api/v1${path}`, { body: JSON.stringify(body), headers });
    };
    const push = (name: string) => `/v2/${name}/blobs/uploads/?digest=${digest(bytes)}`;
    const pull = (name: string) => `/v2/${name}/blobs/${digest(bytes)}`;

    before(async () => {
      await post('/users', { name: 'wanda', password: 'a password of hers' });
      await post('/rules', { subject: 'user:wanda', role: 'writer', repositories: '**' });
      for (const name of ['office/app', 'office/vault/app', 'old/app', 'signed/app', 'open/app']) {
        // Not by her: Basic credentials are remembered, and what was known of her with them.
        await admin.must(201, 'POST', push(name), { body: bytes });
      }
      await post('/policies', {
        kind: 'networks',
        repositories: 'office/**',
        networks: ['203.0.113.0/24', '2001:db8::/32'],
      });
      await post('/policies', {
        kind: 'networks',
        repositories: 'office/vault/**',
        networks: ['2001:db8::/32'],
      });
      await post('/policies', { kind: 'certificate', repositories: 'signed/**', subjects: [] });
      await post('/policies', { kind: 'create', repositories: 'team/**' });
    });

    describe('networks', () => {
      const cells: { name: string; address: string; status: number }[] = [
        { name: 'office/app', address: INSIDE, status: 200 },
        { name: 'office/app', address: INSIDE_V6, status: 200 },
        { name: 'office/app', address: `::ffff:${INSIDE}`, status: 200 },
        { name: 'office/app', address: ELSEWHERE, status: 403 },
        { name: 'office/app', address: '2001:db9::7', status: 403 },
        { name: 'office/app', address: 'no address', status: 403 },
        { name: 'office/vault/app', address: INSIDE_V6, status: 200 },
        { name: 'office/vault/app', address: INSIDE, status: 403 },
        { name: 'open/app', address: ELSEWHERE, status: 200 },
      ];
      for (const { name, address, status } of cells) {
        it(`a policy of networks ${status === 200 ? 'lets' : 'does not let'} ${address} pull ${name}`, async () => {
          // Issued in the office: where the token is used is what counts.
          const authorization = await writer.bearer(`repository:${name}:pull`);
          for (const shown of [authorization, writer.basic]) {
            const answer = await writer.send('GET', pull(name), { authorization: shown, ...from(address) });
            assert.equal(answer.status, status, answer.text);
            if (status === 403) assert.equal(answer.code, 'DENIED');
            if (status === 403) assert.match(answer.message, /a policy allows office\/.* only from certain/);
          }
        });
      }

      it('policies of networks hold for a push, and for the source of a mount', async () => {
        const refused = await writer.send('POST', push('office/app'), { body: bytes, ...from(ELSEWHERE) });
        assert.equal(refused.status, 403);
        const mount = `/v2/open/app/blobs/uploads/?mount=${digest(bytes)}&from=office/app`;
        assert.equal((await writer.send('POST', mount, from(ELSEWHERE))).status, 202);
        assert.equal((await writer.send('POST', mount, from(INSIDE))).status, 201);
      });
    });

    it('a policy of certificates asks for a client certificate', async () => {
      const answer = await writer.send('GET', pull('signed/app'));
      assert.equal(answer.status, 403);
      assert.match(answer.message, /a policy allows signed\/app only with a client certificate/);
    });

    describe('names that a push may create', () => {
      it('a push may create only names of the policy', async () => {
        await writer.must(201, 'POST', push('team/new'), { body: bytes });
        for (const authorization of [writer.basic, await writer.bearer('repository:new/app:pull,push')]) {
          const refused = await writer.send('POST', push('new/app'), { body: bytes, authorization });
          assert.equal(refused.status, 401);
          assert.equal(refused.challenge.error, 'insufficient_scope');
          assert.match(refused.message, /no policy lets a push create new\/app/);
        }
        assert.equal((await admin.send('HEAD', pull('new/app'))).status, 404);
      });

      it('a policy of new names does not concern what is there', async () => {
        await writer.must(201, 'POST', push('old/app'), { body: bytes });
      });
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD, TRUSTED_PROXIES: '127.0.0.0/8' } },
);

describe('a network', () => {
  const rows: [text: string, isOne: boolean][] = [
    ['10.0.0.0/8', true],
    ['192.0.2.1', true],
    ['2001:db8::/32', true],
    ['10.1/16', false],
    ['010.0.0.0/8', false],
    ['0x0a.0.0.0/8', false],
    ['167772160', false],
    ['::ffff:10.0.0.0/104', false],
    ['10.0.0.0/33', false],
  ];
  for (const [text, isOne] of rows) {
    it(`${text} ${isOne ? 'is' : 'is not'} a network`, () => assert.equal(isNetwork(text), isOne));
  }
});

describe('a client certificate', () => {
  const rows = [
    { name: 'none', tls: undefined, subjects: [], passes: false },
    { name: 'one that was not verified', tls: ['FAILED', 'CN=build'], subjects: [], passes: false },
    { name: 'one that was revoked', tls: ['SUCCESS', 'CN=build', '1'], subjects: [], passes: false },
    { name: 'any that was', tls: ['SUCCESS', 'CN=build'], subjects: [], passes: true },
    { name: 'the one that is asked for', tls: ['SUCCESS', 'CN=build'], subjects: ['CN=build'], passes: true },
    { name: 'another', tls: ['SUCCESS', 'CN=other'], subjects: ['CN=build'], passes: false },
  ];
  for (const { name, tls, subjects, passes } of rows) {
    it(`a client certificate ${passes ? 'opens' : 'does not open'} a repository: ${name}`, () => {
      const [certVerified, certSubjectDN, certRevoked = '0'] = tls ?? [];
      const tlsClientAuth =
        tls === undefined ? {} : { tlsClientAuth: { certVerified, certSubjectDN, certRevoked } };
      const request = Object.assign(new Request('https://registry.example/'), { cf: tlsClientAuth });
      const client = clientOf(request, { setsCfHeaders: true, trustedProxies: [] });
      const access = {
        type: 'repository',
        name: 'a/b',
        actions: [],
        rule: '',
        certificates: [subjects],
      } as const;
      const check = () => checkClient({ ...access, actions: [], certificates: [subjects] }, client);
      if (passes) check();
      else assert.throws(check, { code: 'DENIED' });
    });
  }
});
