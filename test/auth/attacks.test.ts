/**
 * The attack table. Whatever is tried, nothing of the victim's is read, nothing is left behind, nothing fails from within, and
 * no secret stands in a log or in the audit log.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { ADMIN, GUARDED } from '../management/api.ts';
import { Home, onHome } from '../support/homes.ts';
import { sendHead, Visitor } from '../support/visitor.ts';
import { HEADS, PATHS, SCOPES } from './attacks/rows.ts';
import { PASSWORD, SECRET_MANIFEST, Stage } from './attacks/stage.ts';
import { FORGERIES, type StolenCredentials } from './attacks/tokens.ts';

const STOLEN = 'repository:private/app:pull,push,delete';
const logged: string[] = [];

onHome(
  'disk',
  (home) => {
    const stage = new Stage(home);
    const another = new Home('disk', GUARDED);
    let stolenCredentials: StolenCredentials;

    before(async () => {
      await Promise.all([stage.prepare(), another.start()]);
      stolenCredentials = await gather();
    });
    after(() => another.stop());

    async function gather(): Promise<StolenCredentials> {
      const published = (await stage.anonymous.must(200, 'GET', '/.well-known/jwks.json')).text;
      const elsewhere = `http://localhost:${new URL(home.url).port}/token?scope=${STOLEN}`;
      const forwarded = await stage.admin.must(200, 'GET', elsewhere);
      return {
        access: await stage.mallory.token('repository:own/app:pull,push'),
        stolen: await stage.admin.token(STOLEN),
        login: await login(),
        named: { text: String(stage.robot.token), id: String(stage.robot.id) },
        foreign: await new Visitor(another, ADMIN).token(STOLEN),
        elsewhere: JSON.parse(forwarded.text).token,
        key: JSON.parse(published).keys[0],
      };
    }

    /** The admin of an issuer that is trusted with everything. */
    async function login(): Promise<string> {
      const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
      const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] };
      await stage.api.made('POST', '/trusts', {
        name: 'ci',
        issuer: 'https://issuer.example',
        audience: 'longshore',
        conditions: { sub: 'ci' },
        grants: [{ role: 'admin', repositories: '**' }],
        jwks,
      });
      const assertion = await new SignJWT({ jti: crypto.randomUUID() })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer('https://issuer.example')
        .setAudience('longshore')
        .setSubject('ci')
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey);
      const body = new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: assertion,
      });
      const { text } = await stage.anonymous.must(200, 'POST', '/token', { body: body.toString() });
      return JSON.parse(text).access_token;
    }

    describe('tokens that are forged or of another kind', () => {
      for (const [name, forge] of FORGERIES)
        it(`a forged token is refused: ${name}`, async () => {
          const authorization = await forge(stolenCredentials);
          const sent = { authorization };
          await stage.refused(() =>
            Promise.all([
              stage.anonymous.send('GET', SECRET_MANIFEST, sent),
              stage.anonymous.send('PUT', SECRET_MANIFEST, { ...sent, body: '{}' }),
              stage.anonymous.send('DELETE', SECRET_MANIFEST, sent),
              stage.anonymous.send('GET', '/v2/_catalog', sent),
              stage.anonymous.send('GET', '/api/v1/users', sent),
              stage.anonymous.send('POST', '/api/v1/users', { ...sent, body: '{"name":"eve"}' }),
            ]),
          );
          // No token comes of it, whatever it is shown as.
          await stage.refused(() => stage.anonymous.send('GET', `/token?scope=${STOLEN}`, sent));
        });

      it('an access token opens no management, although the admin has it', async () => {
        const sent = { authorization: `Bearer ${stolenCredentials.stolen}` };
        await stage.anonymous.must(200, 'GET', SECRET_MANIFEST, sent);
        await stage.refused(() => stage.anonymous.send('GET', '/api/v1/users', sent));
      });

      it('hosts in capitals are the same host, and no others are', async () => {
        const { host, port } = new URL(home.url);
        const lines = [`Authorization: Bearer ${stolenCredentials.access}`];
        const at = (name: string) =>
          sendHead(home.url, {
            method: 'GET',
            target: '/v2/own/app/tags/list',
            lines: [...lines, `Host: ${name}`],
          });
        assert.equal((await at(host)).status, 200);
        for (const name of ['127.0.0.1', `localhost:${port}`]) {
          const { status, challenge } = await at(name);
          assert.deepEqual([status, challenge.error], [401, 'invalid_token'], name);
        }
        for (const name of [`evil.example:${port}`, 'evil.example']) {
          const { status, code } = await at(name);
          assert.deepEqual([status, code], [421, 'NAME_INVALID'], name);
        }
        const scope = 'repository:own/app:pull';
        const target = `http://localhost:${port}/token?scope=${scope}`;
        const { text } = await stage.mallory.must(200, 'GET', target, { authorization: stage.mallory.basic });
        lines[0] = `Authorization: Bearer ${JSON.parse(text).token}`;
        for (const name of [`localhost:${port}`, `LOCALHOST:${port}`])
          assert.equal((await at(name)).status, 200);
      });
    });

    describe('paths to another repository', () => {
      for (const target of PATHS)
        for (const as of ['a token', 'Basic', 'nothing'] as const)
          it(`a path to another repository is refused: ${target} with ${as}`, async () => {
            const [, credentials] = [
              as,
              as === 'a token' ? `Bearer ${stolenCredentials.access}` : stage.mallory.basic,
            ];
            const lines = as === 'nothing' ? [] : [`Authorization: ${credentials}`];
            const heads = ['GET', 'HEAD', 'PUT', 'DELETE', 'POST'].map((method) => {
              return { method, target, lines, ...(method === 'PUT' ? { body: '{}' } : {}) };
            });
            await stage.refused(() => Promise.all(heads.map((head) => sendHead(home.url, head))));
          });
    });

    describe('scopes', () => {
      for (const [name, scopes] of SCOPES)
        it(`a scope opens no other repository: ${name}`, async () => {
          const asked = [new URLSearchParams(scopes.map((scope) => ['scope', scope])).toString()];
          if (scopes.length > 1) asked.push(new URLSearchParams({ scope: scopes.join(' ') }).toString());
          for (const query of asked) {
            const form = `${query}&grant_type=password&username=mallory&password=${encodeURIComponent(PASSWORD)}`;
            const answers = await stage.harmless(() =>
              Promise.all([
                stage.mallory.send('GET', `/token?${query}`),
                stage.anonymous.send('POST', '/token', { body: form }),
              ]),
            );
            for (const { status, text } of answers.filter((answer) => answer.status < 400)) {
              assert.equal(status, 200);
              const { token } = JSON.parse(text);
              const { access } = decodeJwt(token) as { access: { type: string; name: string }[] };
              for (const { type, name: given } of access)
                assert.ok(type === 'repository' && /^own\/[^/]+$/.test(given), `${type} ${given}`);
              const sent = { authorization: `Bearer ${token}` };
              await stage.refused(() =>
                Promise.all([
                  stage.anonymous.send('GET', SECRET_MANIFEST, sent),
                  stage.anonymous.send('DELETE', SECRET_MANIFEST, sent),
                ]),
              );
            }
          }
        });

      const froms = [
        'private/app',
        'private/app\r\nX-Evil: 1',
        'a"b',
        'a b',
        'repository:x',
        '',
        '\u0440',
        '../private/app',
        '\0',
        'a'.repeat(5000),
      ];
      for (const from of froms)
        for (const as of ['anonymous', 'mallory'] as const)
          it(`a mount opens no other repository: ${as} mounts from ${JSON.stringify(from.slice(0, 40))}`, async () => {
            const query = new URLSearchParams({ mount: `sha256:${'0'.repeat(64)}`, from });
            const [answer] = await stage.harmless(() =>
              stage[as].send('POST', `/v2/own/app/blobs/uploads/?${query}`),
            );
            assert.ok(answer !== undefined && [202, 400, 401].includes(answer.status), answer?.text);
            assert.equal(answer.headers.get('X-Evil'), null);
            assert.match(
              answer.challenge.scope ?? '',
              /^(?:repository:own\/app:pull,push(?: repository:private\/app:pull)?)?$/,
            );
          });
    });

    describe('heads', () => {
      for (const [name, lines, target = SECRET_MANIFEST] of HEADS)
        it(`a head with odd lines opens nothing: ${name}`, async () => {
          await stage.refused(() => sendHead(home.url, { method: 'GET', target, lines }));
          await stage.refused(() => sendHead(home.url, { method: 'DELETE', target, lines }));
          const asked = await stage.harmless(() =>
            sendHead(home.url, { method: 'GET', target: `/token?scope=${STOLEN}`, lines }),
          );
          for (const { status, text } of asked) {
            if (status !== 200) continue;
            assert.deepEqual((decodeJwt(JSON.parse(text).token) as { access: unknown[] }).access, []);
          }
          await stage.anonymous.must(200, 'GET', '/health');
        });

      it('a form without an end and without a length is refused', async () => {
        const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
        // The length of the chunks is theirs to say.
        const lines = ['Transfer-Encoding: chunked', '', `${chunk.repeat(64)}0`];
        const head = { method: 'POST', target: '/token', lines };
        await stage.refused(() => sendHead(home.url, head));
      });
    });

    describe('what is written down', () => {
      it('the audit log holds no secret after all attacks', async () => {
        await stage.anonymous.must(200, 'GET', '/health');
        const secrets = [
          ADMIN.split(':')[1] ?? '',
          PASSWORD,
          stolenCredentials.stolen.split('.')[2] ?? '',
          stolenCredentials.access.split('.')[2] ?? '',
          stolenCredentials.login.split('.')[2] ?? '',
          stolenCredentials.foreign.split('.')[2] ?? '',
          stolenCredentials.named.text.slice(-43),
        ];
        await home.settled();
        const events = JSON.stringify(await home.rows('AUDIT', 'audit', 'SELECT events FROM batches'));
        assert.ok(
          events.includes('wrong name or password') && events.includes('may not pull'),
          'refusals are there',
        );
        const tables = await home.rows(
          'ACCOUNTS',
          'accounts',
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
        );
        const kept = await Promise.all(
          tables.map(({ name }) => home.rows('ACCOUNTS', 'accounts', `SELECT * FROM ${name}`)),
        );
        for (const [where, text] of [
          ['the audit log', events],
          ['what is kept', JSON.stringify(kept)],
          ['the log', logged.join('')],
        ] as const)
          for (const secret of secrets) {
            assert.ok(secret.length > 15);
            assert.ok(!text.includes(secret), `${where} holds ${secret}`);
          }
        assert.ok(tables.length >= 8);
      });
    });
  },
  { ...GUARDED, onLog: (line) => logged.push(line) },
);
