/** What a browser could be made to do with the registry, and to make of what the registry serves. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { CHUNK_RECOMMENDED_BYTES } from '../../worker/oci/limits.ts';
import { blob, digest, imageManifest } from '../support/fixtures.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { send } from '../support/http.ts';
import { begin } from '../support/socket.ts';
import { sendHead, Visitor } from '../support/visitor.ts';

const PASSWORD = 'the password of the admin';
const MiB = 1024 * 1024;

/** What a browser sends of a page that is not the registry's. */
const STRANGERS: { name: string; headers: Record<string, string> }[] = [
  { name: 'of another site', headers: { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' } },
  { name: 'of another host of the site', headers: { 'Sec-Fetch-Site': 'same-site' } },
  { name: 'of another origin', headers: { Origin: 'https://evil.example' } },
  { name: 'of no origin', headers: { Origin: 'null' } },
];

const AS_DATA = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
};

eachHome(
  (home) => {
    const admin = new Visitor(home, `admin:${PASSWORD}`);
    const anonymous = new Visitor(home, null);
    const layer = blob(100);
    const image = imageManifest({ layers: [layer] });
    const image2 = imageManifest({ layers: [] });

    before(async () => {
      for (const bytes of [...image.blobs, ...image2.blobs])
        await admin.must(201, 'POST', `/v2/app/blobs/uploads/?digest=${digest(bytes)}`, { body: bytes });
      const headers = { 'Content-Type': image.mediaType };
      await admin.must(201, 'PUT', '/v2/app/manifests/v1', { body: image.bytes, headers });
    });

    describe('a page', () => {
      const changes: [method: string, path: string, type: string][] = [
        ['POST', `/v2/app/blobs/uploads/?digest=${digest(Buffer.from('x'))}`, 'text/plain'],
        ['POST', '/v2/app/blobs/uploads/', 'text/plain'],
        ['PUT', '/v2/app/manifests/v2', image.mediaType],
        ['PATCH', '/v2/app/blobs/uploads/none', 'text/plain'],
        ['DELETE', '/v2/app/manifests/v1', 'text/plain'],
        ['POST', '/token', 'application/x-www-form-urlencoded'],
        ['POST', '/api/v1/users', 'application/json'],
        ['DELETE', '/api/v1/users/bob', 'application/json'],
        ['POST', '/no/such/path', 'text/plain'],
      ];
      for (const { name, headers } of STRANGERS)
        for (const [method, path, type] of changes)
          it(`a page ${name} may not ${method} ${path}`, async () => {
            const answer = await request(home, method, path, { ...headers, 'Content-Type': type }, 'x');
            assert.equal(answer.status, 403, answer.body.toString());
            assert.match(answer.body.toString(), /a page of another site/);
          });

      it('a refused request of a web page changes nothing', async () => {
        await admin.must(200, 'GET', '/v2/app/manifests/v1');
        await admin.must(404, 'GET', '/v2/app/manifests/v2');
        await admin.must(404, 'HEAD', `/v2/app/blobs/${digest(Buffer.from('x'))}`);
      });

      it('a page of another site may read what its client may read', async () => {
        for (const { headers } of STRANGERS) {
          assert.equal((await request(home, 'GET', '/v2/app/manifests/v1', headers)).status, 200);
          assert.equal((await request(home, 'OPTIONS', '/v2/app/manifests/v1', headers)).status, 405);
        }
      });

      it('a page of the registry itself may change things', async () => {
        const headers = { 'Sec-Fetch-Site': 'same-origin', Origin: home.url };
        assert.equal((await request(home, 'POST', '/v2/app/blobs/uploads/', headers)).status, 202);
        const typed = { 'Sec-Fetch-Site': 'none' };
        assert.equal((await request(home, 'POST', '/v2/app/blobs/uploads/', typed)).status, 202);
      });
    });

    describe('what is served is data', () => {
      const rows: [name: string, method: string, path: () => string][] = [
        ['a manifest', 'GET', () => '/v2/app/manifests/v1'],
        ['the head of a manifest', 'HEAD', () => '/v2/app/manifests/v1'],
        ['a blob', 'GET', () => `/v2/app/blobs/${digest(layer)}`],
        ['a list of tags', 'GET', () => '/v2/app/tags/list'],
        ['a list of referrers', 'GET', () => `/v2/app/referrers/${image.digest}`],
        ['the catalog', 'GET', () => '/v2/_catalog'],
        ['an error', 'GET', () => '/v2/app/manifests/none'],
        ['an error that names what was asked for', 'GET', () => '/v2/app/blobs/<script>'],
        ['an answer of the management API', 'GET', () => '/api/v1/users'],
        ['a token', 'GET', () => '/token'],
        ['the first page', 'GET', () => '/'],
      ];
      for (const [name, method, path] of rows)
        it(`what is served is data: ${name}`, async () => {
          const { headers } = await admin.send(method, path());
          for (const [header, value] of Object.entries(AS_DATA))
            assert.equal(headers.get(header), value, header);
        });

      it('a blob is served as a file to save', async () => {
        const path = `/v2/app/blobs/${digest(layer)}`;
        for (const [method, headers] of [
          ['GET', {}],
          ['HEAD', {}],
          ['GET', { Range: 'bytes=1-3' }],
          ['GET', { Range: 'bytes=1-3,5-6' }],
        ] as const) {
          const answer = await admin.send(method, path, { headers });
          assert.equal(answer.headers.get('Content-Disposition'), 'attachment');
        }
      });

      for (const type of [
        'application/xhtml+json',
        'image/svg+json',
        'text/json',
        'application/html.json',
        'application/vnd.x+xml',
      ])
        it(`a manifest is not of the type ${type}`, async () => {
          const manifest = {
            schemaVersion: 2,
            config: JSON.parse(image.bytes.toString()).config,
            layers: [],
          };
          const headers = { 'Content-Type': type };
          const { status, code } = await admin.send('PUT', '/v2/app/manifests/page', {
            body: JSON.stringify(manifest),
            headers,
          });
          assert.deepEqual([status, code], [400, 'MANIFEST_INVALID']);
        });

      for (const type of [
        'application/vnd.example.thing.v1+json',
        'application/prs.mine+json',
        'application/json',
      ])
        it(`a manifest may be of the type ${type}`, async () => {
          const body = JSON.stringify({ example: type });
          const headers = { 'Content-Type': type };
          await admin.must(201, 'PUT', '/v2/app/manifests/thing', { body, headers });
          const answer = await admin.must(200, 'GET', '/v2/app/manifests/thing');
          assert.deepEqual([answer.headers.get('Content-Type'), answer.text], [type, body]);
        });

      it('a manifest that an earlier release took with the type of a page is served as JSON', async () => {
        const body = JSON.stringify({ example: 'page' });
        const headers = { 'Content-Type': 'application/json' };
        await admin.must(201, 'PUT', '/v2/old/manifests/page', { body, headers });
        await home.rows('REPOSITORY', 'old', "UPDATE manifests SET media_type = 'application/xhtml+json'");
        const answer = await admin.must(200, 'GET', `/v2/old/manifests/${digest(Buffer.from(body))}`);
        assert.deepEqual([answer.headers.get('Content-Type'), answer.text], ['application/json', body]);
      });
    });

    describe('a body that is refused', () => {
      const head = (size: number, lines: string[] = []) => ({
        method: 'PUT',
        target: '/v2/app/blobs/uploads/none?digest=none',
        lines: [`Content-Length: ${size}`, ...lines],
      });

      it('a body that is refused is not waited for where no credentials came with it', {
        timeout: 20_000,
      }, async () => {
        for (const lines of [
          [],
          ['Authorization: Bearer x.y.z'],
          [`Authorization: Basic ${btoa('admin:wrong')}`],
        ]) {
          const body = Buffer.alloc(100);
          // The rest of the body never arrives. A body up to the recommended chunk would be read first.
          const { status } = await sendHead(home.url, { ...head(CHUNK_RECOMMENDED_BYTES + 1, lines), body });
          assert.equal(status, 401, lines.join());
        }
      });

      it('a body that is refused is read where it is small, and the connection goes on', async () => {
        const socket = begin(home.url, {
          ...head(60_000, ['Connection: keep-alive']),
          body: Buffer.alloc(60_000),
        });
        const again = `GET /health HTTP/1.1\r\nHost: ${new URL(home.url).host}\r\nConnection: close\r\n\r\n`;
        let text = '';
        for await (const piece of socket) {
          if (text === '') socket.write(again);
          text += piece;
        }
        assert.deepEqual(text.match(/HTTP\/1.1 \d{3}/g), ['HTTP/1.1 401', 'HTTP/1.1 200']);
      });

      it('a body that is refused is read to its end for who has credentials, and the answer arrives', async () => {
        const answer = await admin.send('PUT', '/v2/app/blobs/uploads/none?digest=none', {
          body: Buffer.alloc(8 * MiB),
        });
        assert.deepEqual([answer.status, answer.code], [400, 'DIGEST_INVALID']);
      });
    });

    describe('a name that can never be', () => {
      const paths = ['/v2/UPPER/tags/list', '/v2/a_-b/manifests/v1', `/v2/${'a'.repeat(256)}/tags/list`];
      for (const path of paths) {
        it(`a name that can never be is invalid for who has credentials, and asks others to log in: ${path.slice(0, 30)}`, async () => {
          const { status, code } = await admin.send('GET', path);
          assert.deepEqual([status, code], [400, 'NAME_INVALID']);
          const authorization = await admin.bearer('repository:app:pull');
          const withToken = await anonymous.send('GET', path, { authorization });
          assert.deepEqual([withToken.status, withToken.code], [400, 'NAME_INVALID']);
          assert.equal((await anonymous.send('GET', path)).status, 401);
        });
      }
    });

    /** Not by fetch, which sets these headers itself or refuses to set them. */
    const request = (
      { url }: Home,
      method: string,
      path: string,
      headers: Record<string, string>,
      body = '',
    ) => send(url, method, path, { body, headers: { ...headers, Authorization: admin.basic } });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: PASSWORD } },
);
