/** What `longshore proxy` withstands: slow clients, registries that answer as none should, and other programs on its machine. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { announcement, S3_CREDENTIALS } from '../faults/direct.ts';
import { makePair } from '../standalone/secured.ts';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { type Served, serve } from '../support/serve.ts';
import { answerOf, assertStored, locationOf, MB, Proxied } from './support/proxied.ts';

const MiB = 1024 * 1024;

onHome(
  'r2',
  (home) => {
    it('longshore proxy takes the bytes of a blob that its client would rather store in the bucket', async () => {
      await using proxied = await Proxied.start(home.url);
      const [repository, bytes] = [repositoryName(), blob(MB)];
      const location = await proxied.begin(repository, announcement(bytes));
      const answer = await proxied.send('PATCH', location, { body: bytes, chunked: true });
      assert.equal(answer.status, 202, answer.body.toString());
      const pushed = await proxied.send('PUT', `${locationOf(answer)}?digest=${digestOf(bytes)}`);
      assert.equal(pushed.status, 201, pushed.body.toString());
      await assertStored(home.url, repository, bytes);
    });

    it('longshore proxy takes the bytes of clients that the registry would send to the bucket', async () => {
      await using proxied = await Proxied.start(home.url);
      const [repository, bytes] = [repositoryName(), blob(MB)];
      const headers = { 'User-Agent': 'containerd/2.3.0' };
      const head = await proxied.send('HEAD', `/v2/${repository}/blobs/${digestOf(bytes)}`, { headers });
      assert.equal(head.status, 404);
      const location = await proxied.begin(repository, headers);
      const pushed = await proxied.send('PUT', `${location}?digest=${digestOf(bytes)}`, {
        body: bytes,
        headers,
      });
      assert.equal(pushed.status, 201, pushed.body.toString());
      await assertStored(home.url, repository, bytes);
    });
  },
  { s3Double: S3_CREDENTIALS, vars: { DIRECT_UPLOAD: 'true' } },
);

describe('clients that are slow', () => {
  it('clients of longshore proxy that are slow do not keep others waiting', { timeout: 30_000 }, async () => {
    const pulls = 70;
    const { promise: allArrived, resolve } = Promise.withResolvers<void>();
    let arrived = 0;
    await using registry = await startRegistry((request, response) => {
      if (request.url === '/v2/') return response.end();
      arrived += 1;
      if (arrived === pulls) resolve();
      // The beginning of a blob, whose rest waits for the client.
      response.writeHead(200, { 'Content-Length': MB }).write('x');
    });
    await using proxied = await Proxied.start(registry.url);
    const requests = Array.from({ length: pulls }, () => proxied.open('GET', '/v2/app/blobs/x').end());
    await allArrived;
    assert.equal((await proxied.send('GET', '/v2/')).status, 200);
    for (const request of requests) request.destroy();
  });

  it('clients of longshore proxy that are slow have a bound on the memory of their manifests, and small ones pass meanwhile', async () => {
    await using registry = await startRegistry((request, response) => {
      response.writeHead(request.method === 'PUT' ? 201 : 200).end();
    });
    await using proxied = await Proxied.start(registry.url);
    const size = 7 * MiB;
    const requests = Array.from({ length: 4 }, (_, at) => {
      const headers = { 'Content-Length': String(size + 1) };
      const request = proxied.open('PUT', `/v2/app/manifests/large${at}`, headers);
      request.write(Buffer.alloc(size));
      return request;
    });
    const refused = await Promise.race(requests.map(answerOf));
    assert.equal(refused.statusCode, 429);
    assert.equal(refused.headers['retry-after'], '5');
    const small = await proxied.send('PUT', '/v2/app/manifests/small', { body: '{}' });
    assert.equal(small.status, 201, small.body.toString());
    for (const request of requests) request.destroy();
  });

  it('clients of longshore proxy that are slow send no form to the token service that is larger than a form', async () => {
    await using registry = await startRegistry((request, response) => {
      if (request.url === '/token') return response.end('{"token":"t"}');
      const realm = `http://${request.headers.host}/token`;
      response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${realm}",service="s"` }).end('{}');
    });
    await using proxied = await Proxied.start(registry.url);
    assert.equal((await proxied.send('POST', '/token', { body: 'grant_type=password' })).status, 200);
    const large = await proxied.send('POST', '/token', { body: Buffer.alloc(20_000) });
    assert.equal(large.status, 413, large.body.toString());
  });
});

describe('a registry that asks for a longer wait than containerd has', () => {
  const body = '{"errors":[{"code":"UNAVAILABLE","message":"maintenance until noon"}]}';
  const headers = { 'Retry-After': '600', Warning: '299 - "until noon"' };

  for (const [name, method, target] of [
    ['a manifest', 'PUT', '/v2/app/manifests/1'],
    ['a mount', 'POST', '/v2/app/blobs/uploads/?mount=sha256:0&from=other'],
    ['a whole blob', 'POST', `/v2/app/blobs/uploads/?digest=${digestOf(Buffer.from('x'))}`],
  ] as const) {
    it(`longshore proxy passes a long Retry-After on to the client that sends ${name}`, async () => {
      await using registry = await startRegistry((request, response) => {
        if (request.url === '/v2/') return response.end();
        response.writeHead(503, headers).end(body);
      });
      await using proxied = await Proxied.start(registry.url);
      const answer = await proxied.send(method, target, { body: 'x' });
      assert.equal(answer.status, 503);
      assert.equal(answer.body.toString(), body);
      assert.equal(answer.headers['retry-after'], '600');
      assert.equal(answer.headers.warning, headers.Warning);
    });
  }

  it('longshore proxy passes a long Retry-After on to the client that ends an upload', async () => {
    await using registry = await startRegistry((request, response) => {
      if (request.url === '/v2/') return response.end();
      if (request.method !== 'POST') return response.writeHead(503, headers).end(body);
      response.writeHead(202, { Location: '/v2/app/blobs/uploads/1' }).end();
    });
    await using proxied = await Proxied.start(registry.url);
    const answer = await proxied.putWhole('app', Buffer.from('x'));
    assert.equal(answer.status, 503);
    assert.equal(answer.body.toString(), body);
    assert.equal(answer.headers['retry-after'], '600');
  });
});

describe('another program on the machine', () => {
  it('another program on the machine of longshore proxy does not get what clients send to localhost', async (context) => {
    const other = createServer().listen(0, '::1');
    const listening = await once(other, 'listening').catch(() => null);
    if (listening === null) return context.skip('this machine has no IPv6');
    const { port } = other.address() as AddressInfo;
    await using registry = await startRegistry((_, response) => response.end());
    await assert.rejects(Proxied.start(registry.url, { port }), {
      message: `Port ${port} of ::1 is in use.\nChoose another one with --port.`,
    });
    other.close();
  });
});

describe('a registry whose certificate is not trusted', () => {
  it('a registry whose certificate is not trusted is asked once, and the message says how to trust it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'longshore-proxy-'));
    const { cert, key } = makePair(folder, 'own');
    const server = createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) });
    let connections = 0;
    server.on('connection', () => {
      connections += 1;
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await assert.rejects(Proxied.start(`https://127.0.0.1:${port}`), {
      message:
        /^The certificate of https:\S+ is not trusted: DEPTH_ZERO_SELF_SIGNED_CERT\.\nIf it is your own, set NODE_EXTRA_CA_CERTS/,
    });
    assert.equal(connections, 1);
    server.close();
    rmSync(folder, { recursive: true });
  });
});

/** A server that reads the whole body of each request before it answers. */
function startRegistry(answer: RequestListener): Promise<Served> {
  return serve((request, response) => {
    request.resume();
    request.on('end', () => answer(request, response));
  });
}
