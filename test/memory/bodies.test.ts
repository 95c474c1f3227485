/** One user who begins many uploads and does not finish them: they are refused the rest, and others still push. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, test } from 'node:test';
import { BODIES_OF_ONE_MAX } from '../../worker/memory/budget.ts';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { begin } from '../support/socket.ts';

const SIZE = 3_000_000;
const OTHER = 'other:the password of the other';

eachHome((home) => {
  const sockets: Socket[] = [];
  after(() => {
    for (const socket of sockets) socket.destroy();
  });

  const push = async (user: string) => {
    const bytes = blob(100_000);
    const authorization = `Basic ${btoa(user)}`;
    const url = `${home.url}/v2/own/app/blobs/uploads/?digest=${digest(bytes)}`;
    const headers = { Authorization: authorization };
    const response = await fetch(url, { method: 'POST', headers, body: bytes as BodyInit });
    return response.status;
  };

  test('one user has a bounded number of uploads at once, and others go on', {
    timeout: 120_000,
  }, async () => {
    const api = new Api(home);
    await api.made('POST', '/users', { name: 'other', password: OTHER.slice('other:'.length) });
    await api.made('POST', '/rules', { subject: 'user:other', role: 'writer', repositories: 'own/*' });
    await home.reset();
    const answers: Promise<string>[] = [];
    for (let n = 0; n <= BODIES_OF_ONE_MAX; n++) {
      const socket = begin(home.url, {
        method: 'POST',
        target: `/v2/own/app/blobs/uploads/?digest=${digest(blob(n + 1))}`,
        lines: [`Authorization: Basic ${btoa(ADMIN)}`, `Content-Length: ${SIZE}`],
        body: Buffer.alloc(1000),
      });
      sockets.push(socket);
      answers.push(once(socket, 'data').then(([data]) => String(data)));
    }
    // Only one is answered, because the others wait for their bodies.
    const answer = await Promise.any(answers);
    assert.match(answer, /^HTTP\/1\.1 503 /);
    assert.match(answer, /\r\nRetry-After: 5\r\n/i);
    assert.match(answer, /"code":"UNAVAILABLE","message":"too many uploads are running at once/);
    assert.equal(await push(ADMIN), 503);
    assert.equal(await push(OTHER), 201);
    for (const socket of sockets) socket.destroy();
    await home.ended(sockets.length + 2);
    assert.equal(await push(ADMIN), 201);
  });
}, GUARDED);
