/** Log-in through `longshore proxy`: that of its clients, and the credentials that it lends. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { serve } from '../support/serve.ts';
import { basic, Visitor } from '../support/visitor.ts';
import { startFront } from '../transfer/support/front.ts';
import { assertRefused, locationOf, Proxied } from './support/proxied.ts';

const PASSWORD = 'the password of the admin';
const ADMIN = `admin:${PASSWORD}`;
const READER = 'rita:the password of rita';
const MIB = 1024 * 1024;

onHome(
  'disk',
  (home) => {
    let here: Proxied;
    before(async () => {
      here = await Proxied.start(home.url, { memoryBytes: 2 * MIB });
      const admin = new Visitor(home, ADMIN);
      const rita = { name: 'rita', password: 'the password of rita' };
      await admin.must(201, 'POST', '/api/v1/users', { json: rita });
      const rule = { subject: 'user:rita', role: 'reader', repositories: '**' };
      await admin.must(201, 'POST', '/api/v1/rules', { json: rule });
    });
    after(() => here[Symbol.asyncDispose]());

    /** A token for pushing, by way of an origin. */
    const tokenFrom = async (url: string, repository: string, shown: string) => {
      const query = new URLSearchParams({ service: new URL(home.url).host });
      query.append('scope', `repository:${repository}:pull,push`);
      const { json } = await new Visitor({ url }, shown).must(200, 'GET', `/token?${query}`);
      return `Bearer ${json.token}`;
    };

    it('longshore proxy leads clients to its own token endpoint, by the name that they use, and keeps the service', async () => {
      for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
        const name = `${host}:${here.proxy.port}`;
        const answer = await here.send('GET', '/v2/', { headers: { Host: name } });
        assert.equal(answer.status, 401);
        const challenge = `Bearer realm="http://${name}/token",service="${new URL(home.url).host}"`;
        assert.equal(answer.headers['www-authenticate'], challenge);
      }
    });

    it('longshore proxy logs clients in at the token service of the registry, by GET and by POST', async () => {
      const repository = repositoryName();
      const byGet = await tokenFrom(here.url, repository, ADMIN);
      const scope = `repository:${repository}:pull,push`;
      const form = new URLSearchParams({
        grant_type: 'password',
        username: 'admin',
        password: PASSWORD,
        scope,
      });
      const posted = await here.send('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: String(form),
      });
      const byPost = `Bearer ${JSON.parse(posted.body.toString()).token}`;
      for (const Authorization of [byGet, byPost]) {
        const bytes = blob(100);
        const location = await here.begin(repository, { Authorization });
        const target = `${location}?digest=${digestOf(bytes)}`;
        const pushed = await here.send('PUT', target, { body: bytes, headers: { Authorization } });
        assert.equal(pushed.status, 201, pushed.body.toString());
      }
      const wrong = await here.send('GET', '/token', {
        headers: { Authorization: basic('admin:a guess') },
      });
      assert.equal(wrong.status, 401);
      assertRefused(wrong, 'UNAUTHORIZED');
    });

    it('longshore proxy finds the token service also if no client has met a challenge yet', async () => {
      await using fresh = await Proxied.start(home.url);
      await tokenFrom(fresh.url, repositoryName(), ADMIN);
    });

    it('longshore proxy renews a token that a registry refuses while a layer is on its way', async () => {
      // Longshore takes the rest of an upload with a token that has expired. Other registries do not.
      const challenge = { 'WWW-Authenticate': 'Bearer realm="http://127.0.0.1/token"' };
      const isExpired = (method: string, number: number) => method === 'PATCH' && number === 2;
      for (const { through, status } of [
        { through: 'proxy', status: 201 },
        // The proxy knows nothing of how this token was obtained.
        { through: 'registry', status: 401 },
      ]) {
        await using front = await startFront(
          () => home.url,
          ({ method, number }) =>
            isExpired(method, number) ? { status: 401, headers: challenge } : undefined,
        );
        await using proxied = await Proxied.start(front.url, { memoryBytes: 2 * MIB });
        const [repository, bytes] = [repositoryName(), blob(4 * MIB)];
        const origin = through === 'proxy' ? proxied.url : front.url;
        const headers = { Authorization: await tokenFrom(origin, repository, ADMIN) };
        try {
          // Two tokens for the same within a second are the same token.
          await home.setClockAhead(2_000);
          const location = await proxied.begin(repository, headers);
          const target = `${location}?digest=${digestOf(bytes)}`;
          const pushed = await proxied.send('PUT', target, { body: bytes, headers });
          assert.equal(pushed.status, status, pushed.body.toString());
          if (status === 201) continue;
          assert.match(
            String(pushed.headers['www-authenticate']),
            new RegExp(`realm="${proxied.url}/token"`),
          );
          assert.equal(proxied.proxy.uploads.memoryBytes, 0);
        } finally {
          await home.setClockAhead(0);
        }
      }
    });

    it('longshore proxy counts no byte of a client that the registry refuses, and goes on with the one that has begun', async () => {
      const [repository, bytes] = [repositoryName(), blob(2000)];
      const Authorization = await tokenFrom(here.url, repository, ADMIN);
      const location = await here.begin(repository, { Authorization });
      const part = { body: bytes.subarray(0, 1000), headers: { Authorization } };
      assert.equal((await here.send('PATCH', location, part)).status, 202);
      const reader = await tokenFrom(here.url, repository, READER);
      for (const headers of [{}, { Authorization: reader }, { Authorization: 'Bearer nonsense' }]) {
        for (const method of ['PATCH', 'PUT', 'GET', 'DELETE']) {
          const sent = method === 'GET' || method === 'DELETE' ? { headers } : { headers, body: blob(1000) };
          const refused = await here.send(method, `${location}?digest=${digestOf(bytes)}`, sent);
          assert.equal(refused.status, 401, `${method} ${JSON.stringify(headers)}`);
          assert(refused.headers['www-authenticate']);
        }
      }
      const rest = { body: bytes.subarray(1000), headers: { Authorization } };
      const pushed = await here.send('PUT', `${location}?digest=${digestOf(bytes)}`, rest);
      assert.equal(pushed.status, 201, pushed.body.toString());
    });

    it('longshore proxy lends its credentials to clients that send none, and never in the place of theirs', async () => {
      const credentials = { username: 'admin', password: PASSWORD };
      await using lends = await Proxied.start(home.url, { credentials, memoryBytes: 2 * MIB });
      const [repository, bytes] = [repositoryName(), blob(3 * MIB)];
      assert.equal((await lends.send('GET', '/v2/')).status, 200);
      assert.equal((await lends.push(repository, bytes)).status, 201);
      const mount = `/v2/${repositoryName()}/blobs/uploads/?mount=${digestOf(bytes)}&from=${repository}`;
      assert.equal((await lends.send('POST', mount)).status, 201);
      assert.equal((await lends.send('GET', '/v2/_catalog')).status, 200);
      const target = `/v2/${repository}/blobs/${digestOf(bytes)}`;
      assert.equal((await lends.send('DELETE', target)).status, 202);
      const headers = { Authorization: await tokenFrom(lends.url, repository, READER) };
      const refused = await lends.send('POST', `/v2/${repository}/blobs/uploads/`, { headers });
      assert.equal(refused.status, 401);
    });

    it('longshore proxy does not start with credentials that the registry refuses, or without a registry', async () => {
      const credentials = { username: 'admin', password: 'a guess' };
      await assert.rejects(
        Proxied.start(home.url, { credentials }),
        /refused the credentials of this machine/,
      );
      await using other = await serve((_, response) => response.writeHead(404).end());
      await assert.rejects(Proxied.start(other.url), /not the answer of a registry/);
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: PASSWORD } },
);

it('longshore proxy passes redirects to other hosts on, and follows those to the registry itself without the credentials', async () => {
  const asked: (string | undefined)[] = [];
  await using registry = await serve(({ url, headers }, response) => {
    if (url === '/v2/') return response.writeHead(200).end();
    if (url?.startsWith('/stored')) {
      asked.push(headers.authorization);
      return response.writeHead(206, { 'Content-Range': 'bytes 0-4/9' }).end('bytes');
    }
    const Location = url?.includes('/own/')
      ? '/stored?signature=1'
      : 'https://bucket.example/key?signature=1';
    return response.writeHead(307, { Location }).end();
  });
  await using here = await Proxied.start(registry.url);
  const headers = { Authorization: 'Bearer secret', Range: 'bytes=0-4' };
  const own = await here.send('GET', '/v2/own/blobs/sha256:1', { headers });
  assert.equal(own.status, 206);
  assert.equal(own.body.toString(), 'bytes');
  assert.deepEqual(asked, [undefined]);
  const other = await here.send('GET', '/v2/other/blobs/sha256:1', { headers });
  assert.equal(other.status, 307);
  assert.equal(locationOf(other), 'https://bucket.example/key?signature=1');
});
