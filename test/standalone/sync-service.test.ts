// What got its 201 is on the platter: the parent process syncs files for workerd, and a push that it cannot vouch for fails.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startMachine } from '../../standalone/machine.ts';
import { startSyncService } from '../../standalone/sync-service.ts';
import { blob, digest, repositoryName } from '../support/fixtures.ts';
import { answerTo, open } from '../support/http.ts';
import { temporaryFolder, until } from './temporary.ts';

const LIMIT = { timeout: 60_000 };

test('the service answers 204 for files of blobs that are there, alone, in pieces and with their list', async (t) => {
  const { root, sync } = await service(t);
  const id = randomUUID();
  const keys = [`blobs/${randomUUID()}`, `blobs/${id}/1`, `blobs/${id}/parts`];
  for (const key of keys) {
    mkdirSync(dirname(join(root, key)), { recursive: true });
    writeFileSync(join(root, key), 'content');
  }
  assert.equal(await sync(JSON.stringify(keys)), 204);
});

test('the service answers 500 for a file that is not there', async (t) => {
  const { sync } = await service(t);
  assert.equal(await sync(JSON.stringify([`blobs/${randomUUID()}`])), 500);
});

for (const [name, body] of [
  ['a path outside of the folder', '["../lock"]'],
  ['a path that climbs out of the folder', `["blobs/${randomUUID()}/../../../lock"]`],
  ['an absolute path', '["/etc/passwd"]'],
  ['an empty list', '[]'],
  ['a list of numbers', '[1]'],
  ['what is not JSON', 'blobs'],
  ['more keys than a push has', JSON.stringify(Array(11).fill(`blobs/${randomUUID()}`))],
] as const) {
  test(`the service refuses ${name}`, async (t) => {
    const { sync } = await service(t);
    assert.equal(await sync(body), 400);
  });
}

test(
  'only the user who runs the registry reaches the service, also where the path of the folder is long',
  LIMIT,
  async (t) => {
    for (const name of ['state', 'long/'.repeat(30)]) {
      const stateDir = join(temporaryFolder(t), name);
      const machine = await startMachine({ stateDir, vars: { AUTH: 'off' } });
      t.after(() => machine.kill());
      assert.equal(statSync(join(stateDir, 'run')).mode & 0o077, 0);
      assert.equal(await push(machine.url, 3_000_000), 201);
      await machine.stop();
    }
  },
);

test('a push whose files cannot be synced is answered 503, and the blob is not there', LIMIT, async (t) => {
  const machine = await startMachine({
    stateDir: temporaryFolder(t),
    vars: { AUTH: 'off' },
    services: { SYNC: '127.0.0.1:1' },
  });
  t.after(() => machine.kill());
  const repository = repositoryName('unsynced');
  for (const way of ['PUT', 'PATCH'] as const) {
    const bytes = blob(3_000_000);
    assert.equal(await push(machine.url, bytes, repository, way), 503, way);
    const head = await fetch(`${machine.url}/v2/${repository}/blobs/${digest(bytes)}`, { method: 'HEAD' });
    assert.equal(head.status, 404, way);
  }
});

test('pushes that wait for a disk that hangs hold no memory, and leave none held', LIMIT, async (t) => {
  let waiting = 0;
  let hangs = true;
  const disk = createServer((asked, answer) => {
    asked.resume();
    waiting++;
    if (!hangs) answer.writeHead(204).end();
  });
  await once(disk.listen(0, '127.0.0.1'), 'listening');
  t.after(() => disk.close().closeAllConnections());
  const { port } = disk.address() as AddressInfo;
  const machine = await startMachine({
    stateDir: temporaryFolder(t),
    vars: { AUTH: 'off' },
    services: { SYNC: `127.0.0.1:${port}` },
  });
  t.after(() => machine.kill());
  const clients = new AbortController();
  // More than fit into the budget of memory at once.
  const sent = Array.from({ length: 120 }, async () => {
    const bytes = blob(1_000_000);
    const target = `${machine.url}/v2/hung/blobs/uploads/?digest=${digest(bytes)}`;
    await fetch(target, { method: 'POST', body: bytes, signal: clients.signal });
  });
  const ended = Promise.allSettled(sent);
  await until(t, () => waiting === sent.length);
  clients.abort();
  await ended;
  hangs = false;
  assert.equal(await push(machine.url, 1_000_000), 201);
});

async function service(t: TestContext): Promise<{ root: string; sync(body: string): Promise<number> }> {
  const folder = temporaryFolder(t);
  const root = join(folder, 'blobs');
  mkdirSync(join(root, 'blobs'), { recursive: true });
  const { address, close } = await startSyncService(root, folder);
  t.after(close);
  const sync = async (body: string) => {
    const asked = open('http://localhost', 'POST', '/', { socketPath: address.replace('unix:', '') });
    const answered = answerTo(asked);
    asked.end(body);
    return (await answered).status;
  };
  return { root, sync };
}

/** The status of the request that ends the push. */
async function push(
  url: string,
  content: Buffer | number,
  repository = repositoryName('synced'),
  way: 'PUT' | 'PATCH' = 'PUT',
): Promise<number> {
  const bytes = typeof content === 'number' ? blob(content) : content;
  const headers = { 'Content-Type': 'application/octet-stream' };
  const begun = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  let location = new URL(begun.headers.get('Location') ?? '', url);
  if (way === 'PATCH') {
    const patched = await fetch(location, { method: 'PATCH', headers, body: bytes });
    if (patched.status !== 202) return patched.status;
    location = new URL(patched.headers.get('Location') ?? '', url);
  }
  location.searchParams.set('digest', digest(bytes));
  const body = way === 'PATCH' ? null : bytes;
  return (await fetch(location, { method: 'PUT', headers, body })).status;
}
