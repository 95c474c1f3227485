/** One user who begins many uploads or manifests and does not finish them: they are refused the rest, and others still push. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { BODIES_OF_ONE_MAX } from '../../worker/memory/budget.ts';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { begin } from '../support/socket.ts';
import { basic, Visitor } from '../support/visitor.ts';

const SIZE = 3_000_000;
const OTHER = 'other:the password of the other';

eachHome((home) => {
  const opened: Socket[] = [];
  after(() => {
    for (const socket of opened) socket.destroy();
  });

  const push = async (user: string) => {
    const bytes = blob(100_000);
    const target = `/v2/own/app/blobs/uploads/?digest=${digest(bytes)}`;
    return (await new Visitor(home, user).send('POST', target, { body: bytes })).status;
  };

  before(async () => {
    const api = new Api(home);
    await api.made('POST', '/users', { name: 'other', password: OTHER.slice('other:'.length) });
    await api.made('POST', '/rules', { subject: 'user:other', role: 'writer', repositories: 'own/*' });
  });

  const bodies = [
    {
      what: 'uploads',
      method: 'POST',
      target: (n: number) => `/v2/own/app/blobs/uploads/?digest=${digest(blob(n + 1))}`,
    },
    { what: 'manifests', method: 'PUT', target: (n: number) => `/v2/own/app/manifests/v${n}` },
  ];
  for (const { what, method, target } of bodies) {
    test(`one user sends a bounded number of ${what} at once, and others go on`, {
      timeout: 120_000,
    }, async () => {
      await home.reset();
      const sockets: Socket[] = [];
      const answers: Promise<string>[] = [];
      for (let n = 0; n <= BODIES_OF_ONE_MAX; n++) {
        const socket = begin(home.url, {
          method,
          target: target(n),
          lines: [
            `Authorization: ${basic(ADMIN)}`,
            'Content-Type: application/vnd.oci.image.manifest.v1+json',
            `Content-Length: ${SIZE}`,
          ],
          body: Buffer.alloc(1000),
        });
        sockets.push(socket);
        opened.push(socket);
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
  }

  test('large manifests that stop do not keep the memory from others', { timeout: 120_000 }, async () => {
    await home.reset();
    const sockets = Array.from({ length: 40 }, (_, n) =>
      begin(home.url, {
        method: 'PUT',
        target: `/v2/own/app/manifests/v${n}`,
        lines: [
          `Authorization: ${basic(ADMIN)}`,
          'Content-Type: application/vnd.oci.image.manifest.v1+json',
          `Content-Length: ${4 * 1024 * 1024}`,
        ],
        body: Buffer.alloc(4 * 1024 * 1024 - 1),
      }),
    );
    opened.push(...sockets);
    const answers = sockets.map((socket) => once(socket, 'data').then(([data]) => String(data)));
    // Together they would hold more than the budget. Those that have stopped are given up first.
    assert.match(await Promise.any(answers), /^HTTP\/1\.1 503 .*\r\nRetry-After: 5\r\n/is);
    assert.equal(await push(OTHER), 201);
  });
}, GUARDED);
