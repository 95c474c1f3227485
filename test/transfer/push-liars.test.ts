/** Registries that break the specification, and what stands in front of them. Each gets a sentence, and the push ends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CommandFailure } from '../../cli/failure.ts';
import { pushImage } from '../../cli/transfer/push-image.ts';
import { ChunkLimit } from '../../cli/transfer/upload.ts';
import { type Served, serve } from '../support/serve.ts';
import { type Image, imageOf, newTarget } from './support/memory-images.ts';

/** `chunk` is a PATCH, `status` the GET of an upload, `end` its PUT. */
type Kind = 'blob' | 'start' | 'chunk' | 'status' | 'end' | 'manifest' | 'token';

interface Lie {
  status: number;
  headers?: Record<string, string>;
  body?: string | ((response: ServerResponse) => void);
}

interface Row {
  name: string;
  /** What is answered in the place of what a registry would answer. */
  lies: Partial<Record<Kind, Lie>>;
  /** Undefined if the push succeeds. */
  says?: RegExp;
  exitCode?: number;
}

const CHUNK_BYTES = 1024 * 1024;
const HTML = '<!doctype html><html><head><title>Welcome to nginx!</title></head><body>...</body></html>';
const JSON_ERROR = JSON.stringify({ errors: [{ code: 'SIZE_INVALID', message: 'the chunk is too odd' }] });
const DIGEST_INVALID = JSON.stringify({ errors: [{ code: 'DIGEST_INVALID', message: 'not that digest' }] });
const NO_TOKEN = /^The token service at 127\.0\.0\.1:\d+ did not answer with a token\.\nCheck/;
const endless = (response: ServerResponse) => {
  const more = () => {
    while (!response.destroyed && response.write('x'.repeat(16_384)));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
};

const ROWS: Row[] = [
  {
    name: 'no Location',
    lies: { start: { status: 202 } },
    says: /with 202 and no Location, which no registry may do\.\nCheck/,
  },
  {
    name: 'a Location with another scheme',
    lies: { start: { status: 202, headers: { Location: 'ftp://x/y' } } },
    says: /with the Location ftp:\/\/x\/y, which no registry may do/,
  },
  {
    name: 'a Location that is no URL',
    lies: { start: { status: 202, headers: { Location: 'http://[' } } },
    says: /with the Location http:\/\/\[, which/,
  },
  { name: '200 for a POST', lies: { start: { status: 200 } }, says: /answered POST \/v2\/.* with 200/ },
  {
    name: 'a redirect for a POST',
    lies: { start: { status: 307, headers: { Location: '/elsewhere' } } },
    says: /answered POST .* with 307/,
  },
  {
    name: 'a page of a web server',
    lies: { start: { status: 404, headers: { 'Content-Type': 'text/html' }, body: HTML } },
    says: /answered POST .* with 404: Welcome to nginx!$/,
  },
  {
    name: '201 for a PATCH',
    lies: { chunk: { status: 201 } },
    says: /answered PATCH of an upload with 201, which/,
  },
  {
    name: '204 for a PATCH',
    lies: { chunk: { status: 204 } },
    says: /answered PATCH of an upload with 204, which/,
  },
  {
    name: 'a redirect for a PATCH',
    lies: { chunk: { status: 307, headers: { Location: 'http://127.0.0.1:1/' } } },
    says: /answered PATCH of an upload with 307/,
  },
  {
    name: 'an error of the specification',
    lies: { chunk: { status: 400, body: JSON_ERROR } },
    says: /with 400: the chunk is too odd$/,
  },
  {
    name: '413 for every size',
    lies: { chunk: { status: 413, body: '<title>413 Request Entity Too Large</title>' } },
    says: /answered PATCH of an upload with 413: 413 Request Entity Too Large/,
  },
  {
    name: 'a Range beyond what was sent',
    lies: { chunk: { status: 416 }, status: { status: 204, headers: { Range: '0-99999999' } } },
    says: /lost the upload of sha256:\w+ 4 times\. The last time: the upload has bytes that this client did not send\.\nTry again/,
  },
  {
    name: 'no Range in a status',
    lies: { chunk: { status: 416 }, status: { status: 204 } },
    says: /lost the upload .* does not say how much/,
  },
  {
    name: 'a malformed Range',
    lies: { chunk: { status: 416 }, status: { status: 204, headers: { Range: 'bytes=5-3' } } },
    says: /lost the upload .* does not say how much/,
  },
  {
    name: '416 for ever',
    lies: { chunk: { status: 416 }, status: { status: 204, headers: { Range: '0-0' } } },
    says: /answered PATCH of an upload with 416/,
  },
  {
    name: 'an upload that is forgotten at once',
    lies: { chunk: { status: 404, body: '' } },
    says: /lost the upload of sha256:\w+ 4 times/,
  },
  {
    name: 'DIGEST_INVALID for right bytes',
    lies: { end: { status: 400, body: DIGEST_INVALID } },
    says: /4 times\. The last time: the registry received other bytes than the source has/,
  },
  { name: '200 for the end', lies: { end: { status: 200 } }, says: /answered PUT of an upload with 200/ },
  {
    name: 'another digest at the end',
    lies: { end: { status: 201, headers: { 'Docker-Content-Digest': 'sha256:1\u001b[2J' } } },
    says: /with the digest sha256:1/,
  },
  {
    name: 'another digest of a manifest',
    lies: { manifest: { status: 201, headers: { 'Docker-Content-Digest': 'sha256:aa' } } },
    says: /stored the manifest sha256:\w+ under another digest, sha256:aa\.\nThe image is not as it was sent/,
  },
  {
    name: 'a manifest that it does not want',
    lies: {
      manifest: {
        status: 400,
        body: '{"errors":[{"code":"MANIFEST_INVALID","message":"no \\u001b[31m colours"}]}',
      },
    },
    says: /with 400: no \\u\{1b\}\[31m colours$/,
  },
  {
    name: 'errors that are no list',
    lies: { manifest: { status: 400, body: '{"errors":5}' } },
    says: /with 400: \{"errors":5\}/,
  },
  {
    name: 'errors without words',
    lies: { manifest: { status: 400, body: '{"errors":[{}]}' } },
    says: /with 400: /,
  },
  {
    name: 'an endless body of an error',
    lies: { start: { status: 400, body: endless } },
    says: /answered POST .* with 400/,
  },
  { name: 'an endless body of a success', lies: { end: { status: 201, body: endless } } },
  {
    name: 'headers that do not end',
    lies: { blob: { status: 200, headers: { 'X-Long': 'x'.repeat(100_000) } } },
    says: /^The connection to http:.* failed: HPE_HEADER_OVERFLOW\.\nCheck the network/,
    exitCode: 4,
  },
  { name: '403', lies: { blob: { status: 403 } }, says: /answered HEAD .* with 403/, exitCode: 3 },
  {
    name: '401 without a challenge',
    lies: { blob: { status: 401 } },
    says: /with 401: no reason\nCheck that the user name and the password or token are those of 127\.0\.0\.1:\d+,/,
    exitCode: 3,
  },
  {
    name: 'a challenge of an unknown kind',
    lies: { blob: { status: 401, headers: { 'WWW-Authenticate': 'Negotiate' } } },
    says: /with 401/,
    exitCode: 3,
  },
  {
    name: 'a realm that is no URL',
    lies: { blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="//x"' } } },
    says: /with 401/,
    exitCode: 3,
  },
  {
    name: '401 for every token',
    lies: {
      blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="ORIGIN/token"' } },
      token: { status: 200, body: '{"token":"t"}' },
    },
    says: /with 401/,
    exitCode: 3,
  },
  {
    name: 'a token service that answers with a page',
    lies: {
      blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="ORIGIN/token"' } },
      token: { status: 200, body: HTML },
    },
    says: NO_TOKEN,
  },
  {
    name: 'a token service without tokens',
    lies: {
      blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="ORIGIN/token"' } },
      token: { status: 200, body: '{"token":null}' },
    },
    says: NO_TOKEN,
  },
  ...['null', '{"token":5}', '{"token":["t"]}', '{"token":"a\\r\\nX-Other: b"}', '{"token":"\u20ac"}'].map(
    (body) => ({
      name: `a token that no header can hold: ${body}`,
      lies: {
        blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="ORIGIN/token"' } },
        token: { status: 200, body },
      },
      says: NO_TOKEN,
    }),
  ),
  {
    name: 'a token without an end',
    lies: {
      blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="ORIGIN/token"' } },
      token: { status: 200, body: endless },
    },
    says: /^An answer is longer than 262144 bytes\.\nCheck/,
  },
  ...['ftp://x/y', 'file:///etc/passwd'].map((realm) => ({
    name: `the realm ${realm}`,
    lies: { blob: { status: 401, headers: { 'WWW-Authenticate': `Bearer realm="${realm}"` } } },
    says: /with 401/,
    exitCode: 3,
  })),
  {
    name: 'a token service that refuses',
    lies: {
      blob: { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="ORIGIN/token"' } },
      token: { status: 403, body: '{"errors":[{"code":"DENIED","message":"wrong name or password"}]}' },
    },
    says: /answered the log-in with 403: wrong name or password/,
    exitCode: 3,
  },
  { name: 'a blob of another size', lies: { blob: { status: 200, headers: { 'Content-Length': '5' } } } },
  { name: 'no Location in the answer to a PATCH', lies: { chunk: { status: 202 } } },
];

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'longshore-liars-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const push = (image: Image, host: string) =>
  pushImage({
    source: image,
    target: newTarget(host),
    credentials: async () => ({ username: 'u', password: 'p' }),
    jobs: 4,
    env: { XDG_STATE_HOME: folder },
    limit: new ChunkLimit(CHUNK_BYTES),
    attemptsMax: 2,
    listen: () => {},
  });

describe('a push to a registry that lies', () => {
  for (const { name, lies, says, exitCode = 1 } of ROWS) {
    it(`a push ${says === undefined ? 'succeeds' : 'ends'} at a registry that lies with ${name}`, async () => {
      await using liar = await startLiar(lies);
      const pushed = push(imageOf([CHUNK_BYTES + 1000]), liar.host);
      if (says === undefined) return void (await pushed);
      await assert.rejects(pushed, (error) => {
        assert(error instanceof CommandFailure, String(error));
        assert.match(error.message, says);
        assert.equal(error.exitCode, exitCode);
        return true;
      });
    });
  }

  it('a push ends if what answers does not speak HTTP', async () => {
    const server = createTcpServer((socket) =>
      socket.on('error', () => {}).end('220 mail.example.com ESMTP\r\n'),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await assert.rejects(push(imageOf([10]), `127.0.0.1:${port}`), {
      message: /^The connection to http:\/\/127\.0\.0\.1:\d+ failed: HPE_/,
      exitCode: 4,
    });
    server.close();
  });

  it('a push ends if nothing answers', async () => {
    await assert.rejects(push(imageOf([10]), '127.0.0.1:1'), {
      message: /failed: ECONNREFUSED\.\nCheck the network and that the registry runs/,
      exitCode: 4,
    });
  });

  it('a push gives its credentials to no host of a Location', async () => {
    await using other = await startLiar({});
    await using liar = await startLiar({
      blob: { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="x"' } },
      start: { status: 202, headers: { Location: `${other.url}/v2/x/blobs/uploads/1` } },
    });
    await assert.rejects(push(imageOf([CHUNK_BYTES + 1000]), liar.host));
    await using trusted = await startLiar({
      start: { status: 202, headers: { Location: `${other.url}/v2/x/blobs/uploads/1` } },
    });
    await push(imageOf([CHUNK_BYTES + 1000]), trusted.host);
    assert(other.requests.length > 0);
    for (const headers of other.requests) assert.equal(headers.authorization, undefined);
  });
});

interface Liar extends Served {
  /** The headers of every request. */
  requests: IncomingHttpHeaders[];
}

/** A registry that takes everything, but for its lies. */
async function startLiar(lies: Row['lies']): Promise<Liar> {
  const requests: IncomingHttpHeaders[] = [];
  const served = await serve((request, response) => {
    requests.push(request.headers);
    request.resume();
    request.on('end', () => {
      const kind = kindOf(request.method ?? '', request.url ?? '');
      const { status, headers = {}, body = '' } = lies[kind] ?? HONEST[kind];
      const origin = `http://${request.headers.host}`;
      for (const [name, value] of Object.entries(headers))
        response.setHeader(name, value.replace('ORIGIN', origin).replace(/[^\t\x20-\x7e]/g, ''));
      response.writeHead(status);
      if (typeof body === 'string') response.end(body);
      else body(response);
    });
  });
  return { ...served, requests };
}

const UPLOAD = '/v2/x/blobs/uploads/1';
const HONEST: Record<Kind, Lie> = {
  blob: { status: 404 },
  start: { status: 202, headers: { Location: UPLOAD } },
  chunk: { status: 202, headers: { Location: UPLOAD } },
  status: { status: 204, headers: { Range: '0-0', Location: UPLOAD } },
  end: { status: 201 },
  manifest: { status: 201 },
  token: { status: 404 },
};

function kindOf(method: string, path: string): Kind {
  if (path.startsWith('/token')) return 'token';
  if (path.includes('/manifests/')) return 'manifest';
  if (method === 'POST') return 'start';
  if (method === 'PATCH') return 'chunk';
  if (!path.includes('/uploads/')) return 'blob';
  return method === 'PUT' ? 'end' : 'status';
}
