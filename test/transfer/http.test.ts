// Requests of the client, against servers that count what they see.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, it } from 'node:test';
import { discard, send } from '../../cli/transfer/http.ts';

let connections = 0;
const server = createServer((incoming, response) => {
  incoming.resume().on('end', () => response.end());
});
let url = '';
before(async () => {
  server.on('connection', () => {
    connections += 1;
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

it('a request is opened when the first bytes of its body are ready', async () => {
  let seen = 0;
  const body = {
    size: 4,
    async *open() {
      // A connection that had been opened before this one would be seen before it.
      await (await fetch(url, { headers: { Connection: 'close' } })).text();
      seen = connections;
      yield Buffer.from('abcd');
    },
  };
  const answer = await send({ method: 'PUT', url, body });
  discard(answer);
  assert.deepEqual([answer.status, seen, connections], [200, 1, 2]);
});

it('a request that waits for its body ends with its signal, and closes the body', async () => {
  const opened = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const body = {
    size: 4,
    async *open() {
      opened.resolve();
      await ready.promise;
      try {
        yield Buffer.from('abcd');
      } finally {
        closed.resolve();
      }
    },
  };
  const controller = new AbortController();
  const sent = send({ method: 'PUT', url, body, signal: controller.signal });
  await opened.promise;
  controller.abort(new Error('interrupted'));
  await assert.rejects(sent, /interrupted/);
  ready.resolve();
  await closed.promise;
});

it('a body that cannot be read opens no request', async () => {
  const before = connections;
  const body = {
    size: 4,
    // biome-ignore lint/correctness/useYield: it fails before its first piece.
    async *open(): AsyncGenerator<Uint8Array> {
      throw new Error('damaged');
    },
  };
  await assert.rejects(send({ method: 'PUT', url, body }), /damaged/);
  assert.equal(connections, before);
});
