// What stands between TLS and workerd, with servers that answer by the test's word in workerd's place: what
// goes through as it came, what does not, and that neither side waits for one that has gone.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { forward, upstreamAgent } from '../../standalone/forward.ts';
import { open } from '../support/http.ts';
import { open as openSocket } from '../support/socket.ts';
import { temporaryFolder } from './temporary.ts';

const LIMIT = { timeout: 20_000 };
const MiB = 2 ** 20;

test(
  'headers go through as they came but for those of one connection, and the address of the client is added',
  LIMIT,
  async (t) => {
    const { port } = await chain(t, (incoming, response) =>
      response.end(JSON.stringify(incoming.rawHeaders)),
    );
    const answer = await raw(t, port, [
      'POST /v2/?a=%2f&b HTTP/1.1',
      'hOsT: Registry.Example:8787',
      'X-Twice: one',
      'x-twice: two',
      'X-Named: by the client',
      'Connection: x-named, x-forwarded-for, content-length, close',
      'TE: trailers',
      'X-Forwarded-For: 10.0.0.1',
      'x-forwarded-host: elsewhere.example',
      'X-Forwarded-Proto: http',
      'Forwarded: for=10.0.0.1',
      'Content-Length: 3',
      '',
      'abc',
    ]);
    const got: unknown = JSON.parse(answer.slice(answer.indexOf('[')).replace(/\][^\]]*$/, ']'));
    assert.deepEqual(got, [
      ...['hOsT', 'Registry.Example:8787', 'X-Twice', 'one', 'x-twice', 'two', 'X-Named', 'by the client'],
      ...['X-Forwarded-For', '10.0.0.1', 'x-forwarded-host', 'elsewhere.example'],
      ...['X-Forwarded-Proto', 'http', 'Forwarded', 'for=10.0.0.1', 'Content-Length', '3'],
      ...['Longshore-Protocol', 'https', 'Longshore-Cf', '{"clientIp":"127.0.0.1"}'],
      ...['Connection', 'keep-alive'],
    ]);
  },
);

test('no client can say what this server tells workerd of it', LIMIT, async (t) => {
  const { port } = await chain(t, (incoming, response) =>
    response.end(JSON.stringify(incoming.headersDistinct)),
  );
  const headers = { 'longshore-cf': '{"clientIp":"192.0.2.7"}', 'LONGSHORE-PROTOCOL': 'http' };
  const got = JSON.parse(await text(await sent(port, { headers })));
  assert.deepEqual(got['longshore-cf'], ['{"clientIp":"127.0.0.1"}']);
  assert.deepEqual(got['longshore-protocol'], ['https']);
});

test('answers go through the TLS server as they came', LIMIT, async (t) => {
  const { port } = await chain(t, (_, response) => {
    response.sendDate = false;
    response
      .writeHead(418, 'Short And Stout', ['X-Twice', 'one', 'x-twice', 'two', 'Content-Length', '2'])
      .end('ok');
  });
  const answer = await raw(t, port, ['GET / HTTP/1.1', 'Host: a', 'Connection: close', '', '']);
  const lines = ['HTTP/1.1 418 Short And Stout', 'X-Twice: one', 'x-twice: two', 'Content-Length: 2'];
  assert.equal(answer, [...lines, 'Connection: close', '', 'ok'].join('\r\n'));
});

for (const { name, lines, want } of [
  {
    name: 'HEAD has the length of a body that does not come',
    lines: ['HEAD / HTTP/1.1'],
    want: /Length: 1000\r\n(?:.*\r\n)*\r\n$/,
  },
  { name: 'two hosts are refused', lines: ['GET / HTTP/1.1', 'Host: b'], want: /^HTTP\/1\.1 400 / },
  {
    name: 'two lengths are refused',
    lines: ['PUT / HTTP/1.1', 'Content-Length: 1', 'Content-Length: 2'],
    want: /^HTTP\/1\.1 400 /,
  },
  {
    name: 'a length beside chunks is refused',
    lines: ['PUT / HTTP/1.1', 'Content-Length: 1', 'Transfer-Encoding: chunked'],
    want: /^HTTP\/1\.1 400 /,
  },
]) {
  test(`the TLS server forwards: ${name}`, LIMIT, async (t) => {
    const { port } = await chain(t, (_, response) => response.setHeader('Content-Length', 1000).end());
    const [first = '', ...others] = lines;
    assert.match(await raw(t, port, [first, 'Host: a', ...others, 'Connection: close', '', '']), want);
  });
}

test('a request that says nothing of a body is sent on without one', LIMIT, async (t) => {
  const { port } = await chain(t, (incoming, response) => response.end(JSON.stringify(incoming.headers)));
  const answer = await raw(t, port, ['POST / HTTP/1.1', 'Host: a', 'Connection: close', '', '']);
  assert.match(answer, /"content-length":"0"/);
  assert.ok(!answer.includes('"transfer-encoding"'));
});

test('a client that asks whether to send is answered by the other side', LIMIT, async (t) => {
  const { port, server } = await chain(t, async (incoming, response) => response.end(await text(incoming)));
  let asked = false;
  server.on('checkContinue', async (incoming: IncomingMessage, response: ServerResponse) => {
    asked = incoming.headers.expect === '100-continue';
    response.writeContinue();
    response.end(await text(incoming));
  });
  const outgoing = open(at(port), 'PUT', '/', { headers: { Expect: '100-continue' } });
  const response = once(outgoing, 'response');
  outgoing.flushHeaders();
  await once(outgoing, 'continue');
  outgoing.end('the body');
  assert.equal(await text((await response)[0]), 'the body');
  assert.ok(asked);
});

test('a client that goes away takes its upload along', LIMIT, async (t) => {
  const begun = Promise.withResolvers<IncomingMessage>();
  const { port } = await chain(t, (incoming) => begun.resolve(incoming));
  const outgoing = open(at(port), 'PUT', '/').on('error', () => {});
  outgoing.write('the first of two pieces');
  const incoming = await begun.promise;
  const [fault] = await Promise.all([once(incoming, 'error'), incoming.resume(), outgoing.destroy()]);
  assert.equal(fault[0].code, 'ECONNRESET');
  assert.equal(incoming.complete, false);
});

test('a client that goes away takes its download along', LIMIT, async (t) => {
  const begun = Promise.withResolvers<ServerResponse>();
  const { port } = await chain(t, (_, response) => {
    response.write('the first of two pieces');
    begun.resolve(response);
  });
  const answer = await sent(port, {});
  const response = await begun.promise;
  answer.on('error', () => {}).destroy();
  await once(response, 'close');
  assert.equal(response.writableFinished, false);
});

test('an answer that comes before the body has been sent reaches the client', LIMIT, async (t) => {
  const { port } = await chain(t, (_, response) => response.writeHead(404).end('refused'));
  const outgoing = open(at(port), 'PUT', '/', { headers: { 'Content-Length': MiB } });
  outgoing.on('error', () => {}).write('the first piece');
  const [answer] = await once(outgoing, 'response');
  assert.equal(answer.statusCode, 404);
  assert.equal(await text(answer), 'refused');
  outgoing.destroy();
});

test('an answer reaches the client also if the connection that it came on ends with it', LIMIT, async (t) => {
  const { port } = await chain(t, (incoming, response) => {
    response.writeHead(404, { Connection: 'close' }).end('refused', () => incoming.socket.destroy());
  });
  const outgoing = open(at(port), 'PUT', '/', { headers: { 'Content-Length': 8 * MiB } });
  const response = once(outgoing, 'response');
  // Two pieces, since the connection is gone for the second.
  outgoing.write(Buffer.alloc(MiB));
  const [answer] = await response;
  assert.equal(answer.statusCode, 404);
  assert.equal(await text(answer), 'refused');
  const closed = once(outgoing, 'close');
  outgoing.end(Buffer.alloc(7 * MiB));
  await closed;
});

test('a registry that is gone is answered with 502', LIMIT, async (t) => {
  const { port } = await chain(t, (incoming) => incoming.socket.destroy());
  const answer = await sent(port, {});
  assert.equal(answer.statusCode, 502);
  assert.match(await text(answer), /did not answer/);
});

test('an answer that is cut off is not taken for a whole one', LIMIT, async (t) => {
  const { port } = await chain(t, (incoming, response) => {
    response.write('the first of two pieces', () => incoming.socket.destroy());
  });
  await assert.rejects(async () => text(await sent(port, {})), { code: 'ECONNRESET' });
});

test('a client that reads slowly makes the other side wait', LIMIT, async (t) => {
  const bytes = 64 * MiB;
  const blocked = Promise.withResolvers<void>();
  const { port, responses } = await chain(t, (_, response) => {
    let left = bytes;
    const write = () => {
      while (left > 0) {
        left -= MiB;
        if (response.write(Buffer.alloc(MiB))) continue;
        blocked.resolve();
        response.once('drain', write);
        return;
      }
      response.end();
    };
    write();
  });
  const answer = await sent(port, {});
  await blocked.promise;
  let read = 0;
  let held = 0;
  for await (const piece of answer) {
    read += piece.length;
    held = Math.max(held, responses[0]?.writableLength ?? bytes);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(read, bytes);
  assert.ok(held < 2 * MiB, `${held} bytes were held`);
});

const at = (port: number) => `http://127.0.0.1:${port}`;

/** A server that answers, and one before it that forwards to it. */
async function chain(t: TestContext, answer: RequestListener) {
  const socketPath = join(temporaryFolder(t), 'socket');
  const agent = upstreamAgent(socketPath);
  const server = createServer(answer);
  await once(server.listen(socketPath), 'listening');
  const responses: ServerResponse[] = [];
  const listener: RequestListener = (incoming, response) => {
    responses.push(response);
    forward(incoming, response, agent);
  };
  const front = createServer(listener).on('checkContinue', listener);
  await once(front.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    agent.destroy();
    for (const one of [front, server]) {
      one.close();
      one.closeAllConnections();
    }
  });
  return { port: (front.address() as AddressInfo).port, server, responses };
}

async function sent(port: number, options: { headers?: Record<string, string> }): Promise<IncomingMessage> {
  const outgoing = open(at(port), 'GET', '/', options);
  outgoing.end();
  return (await once(outgoing, 'response'))[0];
}

/** What comes back for these lines, until the connection is closed. */
async function raw(t: TestContext, port: number, lines: string[]): Promise<string> {
  const socket = openSocket(at(port));
  t.after(() => socket.destroy());
  socket.write(lines.join('\r\n'));
  return text(socket);
}
