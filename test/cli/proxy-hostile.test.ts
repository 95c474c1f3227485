/** Requests that `longshore proxy` must not pass on. It acts for every program that reaches it, so that web pages must not. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { exchange, type Head } from '../support/socket.ts';
import { type Front, startFront } from '../transfer/support/front.ts';
import { assertRefused, assertStored, locationOf, Proxied } from './support/proxied.ts';

const get = (target: string, ...lines: string[]): Head => ({ method: 'GET', target, lines });
const upload = (...lines: string[]): Head => ({ method: 'POST', target: '/v2/a/blobs/uploads/', lines });

onHome('disk', (home) => {
  let front: Front;
  let here: Proxied;
  before(async () => {
    const { url } = home;
    front = await startFront(() => url);
    here = await Proxied.start(front.url);
  });
  after(async () => {
    await here[Symbol.asyncDispose]();
    await front[Symbol.asyncDispose]();
  });

  describe('a request does not reach the registry', () => {
    const long = 'x'.repeat(40_000);
    const rows: { name: string; head: Head; status: number | number[] }[] = [
      { name: 'for a name that leads to this machine', head: get('/v2/', 'Host: evil.example'), status: 421 },
      {
        name: 'for a name that begins as localhost',
        head: get('/v2/', 'Host: localhost.evil.example'),
        status: 421,
      },
      { name: 'for the address of another machine', head: get('/v2/', 'Host: 192.0.2.1:5000'), status: 421 },
      { name: 'with two hosts', head: get('/v2/', 'Host: localhost', 'Host: localhost'), status: 400 },
      { name: 'with an empty host', head: get('/v2/', 'Host:'), status: 400 },
      { name: 'with a host and a password', head: get('/v2/', 'Host: localhost@evil.example'), status: 400 },
      { name: 'of a web page', head: upload('Origin: https://evil.example'), status: 403 },
      { name: 'of a web page without an origin', head: upload('Origin: null'), status: 403 },
      { name: 'of a link in a web page', head: get('/v2/', 'Sec-Fetch-Site: cross-site'), status: 403 },
      {
        name: 'of a page that thinks it is the proxy',
        head: get('/v2/', 'Sec-Fetch-Site: same-origin'),
        status: 403,
      },
      { name: 'for a path beside /v2/', head: get('/api/v1/tokens'), status: 404 },
      { name: 'for the console', head: get('/'), status: 404 },
      { name: 'for a path that only begins as /v2', head: get('/v2evil/'), status: 404 },
      { name: 'with ..', head: get('/v2/../api/v1/tokens'), status: 404 },
      { name: 'with .. at the end', head: get('/v2/a/..'), status: 404 },
      { name: 'with encoded ..', head: get('/v2/%2e%2E/api/v1/tokens'), status: 404 },
      { name: 'with half-encoded ..', head: get('/v2/.%2e/api/v1/tokens'), status: 404 },
      { name: 'with an encoded slash', head: get('/v2/a%2f..%2f..%2fapi/tags/list'), status: 404 },
      { name: 'with a backslash', head: get('/v2/\\..\\api'), status: 404 },
      { name: 'with an encoded backslash', head: get('/v2/..%5capi'), status: 404 },
      { name: 'with an encoded line break', head: get('/v2/a%0d%0aX:1/tags/list'), status: 404 },
      { name: 'with a broken encoding', head: get('/v2/%zz/tags/list'), status: 404 },
      { name: 'with an encoded NUL', head: get('/v2/a%00/tags/list'), status: 404 },
      { name: 'with another registry as its target', head: get('http://192.0.2.1/v2/'), status: 404 },
      { name: 'with a host in the path', head: get('//192.0.2.1/v2/'), status: 404 },
      {
        name: 'to open a tunnel',
        head: { method: 'CONNECT', target: '192.0.2.1:443' },
        status: [0, 400, 404, 405],
      },
      { name: 'with headers of 40 kB', head: get('/v2/', `X-Long: ${long}`), status: 431 },
      { name: 'with a target of 40 kB', head: get(`/v2/${long}`), status: 431 },
      {
        name: 'with a length and chunks',
        head: upload('Content-Length: 4', 'Transfer-Encoding: chunked'),
        status: 400,
      },
      { name: 'with two lengths', head: upload('Content-Length: 4', 'Content-Length: 5'), status: 400 },
      { name: 'with a negative length', head: upload('Content-Length: -1'), status: 400 },
      { name: 'with a length that is no number', head: upload('Content-Length: 4x'), status: 400 },
      { name: 'with another coding', head: upload('Transfer-Encoding: gzip, chunked'), status: 501 },
      {
        name: 'with a coding after the chunks',
        head: upload('Transfer-Encoding: chunked, gzip'),
        status: [400, 501],
      },
      { name: 'with a header that is folded', head: get('/v2/', 'X-A: 1\r\n folded'), status: 400 },
      { name: 'with a space before the colon', head: get('/v2/', 'X-A : 1'), status: 400 },
      { name: 'with a line feed alone', head: get('/v2/', 'X-A: 1\nX-B: 2'), status: 400 },
    ];
    for (const { name, head, status } of rows) {
      it(`longshore proxy does not pass a request on: ${name}`, async () => {
        const before = front.passed.length;
        const answer = await exchange(here.url, head);
        assert([status].flat().includes(answer.status), `${answer.status}: ${answer.body}`);
        assert.equal(front.passed.length, before);
      });
    }
  });

  describe('a body that is not valid', () => {
    const rows = [
      { name: 'has a chunk without a length', body: 'zz\r\nabc\r\n0\r\n\r\n' },
      { name: 'has a chunk that is longer than its length', body: '2\r\nabcdef\r\n0\r\n\r\n' },
      { name: 'has a chunk of a length over all bounds', body: 'fffffffffffffffff\r\nabc\r\n0\r\n\r\n' },
      {
        name: 'is smuggled behind the last chunk',
        body: '3\r\nabc\r\n0\r\n\r\nDELETE /v2/a/manifests/b HTTP/1.1\r\n\r\n',
      },
    ];
    for (const { name, body } of rows) {
      it(`longshore proxy adds no byte to a body that is not valid, and makes no request of it: ${name}`, async () => {
        const location = await here.begin(repositoryName());
        const lines = ['Transfer-Encoding: chunked', 'Connection: keep-alive'];
        const before = front.passed.length;
        const answer = await exchange(here.url, { method: 'PATCH', target: location, lines, body });
        assert([0, 202, 400].includes(answer.status), String(answer.status));
        const status = await here.send('GET', location);
        assert.match(String(status.headers.range), /^0-[012]$/);
        assert.deepEqual(
          front.passed.slice(before).filter(({ method }) => method === 'DELETE'),
          [],
        );
      });
    }

    it('longshore proxy passes on no body that has another length than its Content-Range', async () => {
      const location = await here.begin(repositoryName());
      const headers = { 'Content-Range': '0-99' };
      assertRefused(await here.send('PATCH', location, { body: blob(50), headers }), 'SIZE_INVALID');
      assert.equal((await here.send('GET', location)).headers.range, '0-0');
      assertRefused(
        await here.send('PATCH', location, { body: blob(150), headers, chunked: true }),
        'SIZE_INVALID',
      );
      assert.equal((await here.send('GET', location)).status, 404);
    });

    it('longshore proxy passes on no body that begins elsewhere than the upload stands', async () => {
      const location = await here.begin(repositoryName());
      for (const [range, status] of [
        ['5-54', 416],
        ['nonsense', 400],
        ['9-3', 400],
      ] as const) {
        const headers = { 'Content-Range': range };
        const answer = await here.send('PATCH', location, { body: blob(50), headers });
        assert.equal(answer.status, status);
        assertRefused(answer, 'BLOB_UPLOAD_INVALID');
      }
    });

    it('longshore proxy passes on no body that is a manifest over all bounds', async () => {
      const path = `/v2/${repositoryName()}/manifests/v1`;
      const before = front.passed.length;
      assert.equal((await here.send('PUT', path, { body: blob(9_000_000), chunked: true })).status, 413);
      assert.equal(front.passed.length, before);
    });
  });

  it('longshore proxy finds an upload only by its id and in its repository', async () => {
    const [repository, bytes] = [repositoryName(), blob(100)];
    const location = await here.begin(repository);
    const id = location.split('/').at(-1) ?? '';
    assert(id.length >= 24);
    for (const target of [
      `/v2/${repositoryName()}/blobs/uploads/${id}`,
      `/v2/${repository}/blobs/uploads/${id.slice(0, -1)}`,
      `/v2/${repository}/blobs/uploads/${id.toUpperCase()}`,
      `/v2/${repository}/blobs/uploads/__proto__`,
    ]) {
      const answer = await here.send('PATCH', target, { body: bytes });
      assert.equal(answer.status, 404, target);
    }
    assert.equal(
      (await here.send('PUT', `${location}?digest=${digestOf(bytes)}`, { body: bytes })).status,
      201,
    );
    await assertStored(home.url, repository, bytes);
  });

  it('longshore proxy does not tell clients the id of an upload in the registry', async () => {
    const before = front.passed.length;
    const started = await here.send('POST', `/v2/${repositoryName()}/blobs/uploads/`);
    assert.equal(front.passed.length, before + 1);
    assert.doesNotMatch(locationOf(started), /token=/);
    assert.equal(locationOf(started).split('/').at(-1), started.headers['docker-upload-uuid']);
  });

  it('other machines may use the address of longshore proxy, its bare name and the names that it was given, if it lends credentials', async () => {
    const names = { kind: 'network', names: ['proxy.ci.example'] } as const;
    await using open = await Proxied.start(home.url, { names });
    for (const [host, status] of [
      ['192.0.2.7:5000', 200],
      ['[2001:db8::1]:5000', 200],
      ['registry-proxy:5000', 200],
      ['proxy.ci.example', 200],
      ['evil.example', 421],
    ] as const) {
      assert.equal((await exchange(open.url, get('/v2/', `Host: ${host}`))).status, status, host);
    }
  });
});
