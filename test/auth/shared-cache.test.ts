/**
 * A cache between the registry and all of its clients, such as that of a proxy or a CDN: it may keep no answer that depends on who
 * asked, on a header that is not in its key, or on what can change.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome, onHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

/** What is the same for all clients, and says how long it is valid. */
const FOR_ALL = ['/.well-known/jwks.json', '/cli.tgz'];
const MISSING = `sha256:${'0'.repeat(64)}`;

eachHome((home) => {
  const admin = new Visitor(home, ADMIN);
  const anonymous = new Visitor(home, null);
  const bytes = blob();

  before(async () => {
    const rule = { subject: 'anonymous', role: 'reader', repositories: 'public/**' };
    await new Api(home).made('POST', '/rules', rule);
    for (const name of ['public/app', 'private/app'])
      await admin.must(201, 'POST', `/v2/${name}/blobs/uploads/?digest=${digest(bytes)}`, { body: bytes });
  });

  const paths = [
    ...['/', '/health', '/nothing', '/token', '/token?scope=repository:public/app:pull', ...FOR_ALL],
    ...['/auth/login', '/auth/callback?code=a&state=b', '/blob-host/nothing', '/v2', '/v2/', '/v2/_catalog'],
    ...['/api/v1/me', '/api/v1/users', '/api/v1/users/missing', '/api/v1/nothing', '/api/v1/openapi.json'],
    ...['public/app', 'private/app', 'missing/app', 'IN/VALID'].flatMap((name) =>
      ['tags/list', 'manifests/missing', `manifests/${MISSING}`, `blobs/${MISSING}`, `blobs/${digest(bytes)}`]
        .concat(`referrers/${MISSING}`, 'blobs/uploads/', 'blobs/uploads/missing')
        .map((path) => `/v2/${name}/${path}`),
    ),
  ];

  describe('a shared cache may keep nothing', () => {
    for (const path of paths.filter((path) => !FOR_ALL.includes(path))) {
      it(`a shared cache may keep nothing of ${path}`, async () => {
        const token = await anonymous.bearer('repository:public/app:pull');
        const forged = { 'X-Forwarded-Host': '127.0.0.2', 'X-Forwarded-Proto': 'https' };
        for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS', 'DELETE']) {
          for (const authorization of [null, admin.basic, token, 'Bearer forged']) {
            // It would delete what the other rows ask for.
            if (method === 'DELETE' && authorization === admin.basic) continue;
            const answer = await anonymous.send(method, path, { authorization, headers: forged });
            const cacheControl = answer.headers.get('Cache-Control') ?? '';
            assert.match(cacheControl, /\b(?:no-store|private)\b/, `${method} ${answer.status}`);
            assert.doesNotMatch(cacheControl, /public|s-maxage/);
          }
        }
      });
    }
  });

  for (const path of FOR_ALL) {
    it(`${path} is the same for all, so a shared cache may keep it`, async () => {
      const [one, other] = await Promise.all([anonymous, admin].map((visitor) => visitor.send('GET', path)));
      assert.match(one?.headers.get('Cache-Control') ?? '', /^public, /);
      assert.equal(one?.text, other?.text);
    });
  }
}, GUARDED);

onHome(
  'disk',
  (home) => {
    describe('behind a cache that keeps all that it may', () => {
      let cache: Server;
      let url = '';
      before(async () => {
        cache = keeping(() => home.url).listen(0, '127.0.0.1');
        await once(cache, 'listening');
        url = `http://127.0.0.1:${(cache.address() as AddressInfo).port}`;
      });
      after(() => cache.close());

      it('no client chooses where others send their password', async () => {
        const forged = { 'X-Forwarded-Host': 'localhost:6666', 'X-Forwarded-Proto': 'https' };
        const realm = async (headers = {}) =>
          (await fetch(`${url}/v2/`, { headers })).headers.get('WWW-Authenticate');
        assert.match((await realm(forged)) ?? '', /realm="https:\/\/localhost:6666\/token"/);
        assert.doesNotMatch((await realm()) ?? '', /6666/);
      });

      it('an older answer does not hide what an admin has changed', async () => {
        const path = '/v2/app/tags/list';
        const status = async () =>
          (await fetch(url + path, { headers: { Authorization: new Visitor(home, ADMIN).basic } })).status;
        assert.equal(await status(), 404);
        const manifest = JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          manifests: [],
        });
        const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
        await new Visitor(home, ADMIN).must(201, 'PUT', '/v2/app/manifests/v1', { body: manifest, headers });
        assert.equal(await status(), 200);
      });
    });
  },
  { vars: { ...GUARDED.vars, TRUSTED_PROXIES: '127.0.0.0/8' } },
);

/** A proxy with a cache by method and path, as operators configure them with `proxy_cache_valid any`. */
function keeping(target: () => string): Server {
  const kept = new Map<string, { status: number; headers: string[]; body: Buffer }>();
  return createServer((incoming, response) => {
    const key = `${incoming.method} ${incoming.url}`;
    const known = kept.get(key);
    if (known !== undefined) {
      response.writeHead(known.status, known.headers).end(known.body);
      return;
    }
    const { method, headers } = incoming;
    const outgoing = request(target() + incoming.url, { method, headers }, async (answer) => {
      const pieces: Buffer[] = [];
      for await (const piece of answer) pieces.push(piece as Buffer);
      const found = {
        status: answer.statusCode ?? 0,
        headers: answer.rawHeaders,
        body: Buffer.concat(pieces),
      };
      if (!/no-store|private/.test(answer.headers['cache-control'] ?? '')) kept.set(key, found);
      response.writeHead(found.status, found.headers).end(found.body);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  });
}
