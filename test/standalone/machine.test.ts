// The machine under the registry, with a stub in the registry's place: it answers, keeps what it is
// given through a stop and a crash, shares nothing with its neighbours and says why it cannot start.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { StartFailure } from '../../standalone/failure.ts';
import { type Machine, type MachineOptions, startMachine } from '../../standalone/machine.ts';
import { open } from '../support/http.ts';
import { isRunning, temporaryFolder, until } from './temporary.ts';

const STUB = join(import.meta.dirname, 'stub.ts');
const LIMIT = { timeout: 30_000 };

test('the registry answers as soon as it has started', LIMIT, async (t) => {
  const machine = await start(t, { stateDir: temporaryFolder(t) });
  const response = await fetch(`${machine.url}/v2/`);
  assert.equal(response.status, 200);
  assert.equal(machine.url, `http://127.0.0.1:${machine.port}`);
  assert.ok(isRunning(machine.pid));
});

for (const host of ['127.0.0.1', 'localhost', '0.0.0.0', '*']) {
  test(`the machine listens on ${host}`, LIMIT, async (t) => {
    const machine = await start(t, { stateDir: temporaryFolder(t), host });
    assert.equal((await fetch(`http://localhost:${machine.port}/v2/`)).status, 200);
    assert.equal((await fetch(`${machine.url}/v2/`)).status, 200);
  });
}

test('settings reach the Worker as they are, beside the name of its home', LIMIT, async (t) => {
  const vars = { SPARSE_MANIFESTS: 'true', QUOTED: 'a "b" \\ \n\t c', UNICODE: 'é 🎉', EMPTY: '' };
  const machine = await start(t, { stateDir: temporaryFolder(t), vars });
  const {
    OPEN_FILES,
    BOUND_NAMES: _,
    ...settings
  } = (await json(machine, '/settings')) as Record<string, string>;
  assert.deepEqual(settings, { ...vars, PLATFORM: 'one machine' });
  if (OPEN_FILES !== undefined) assert.match(OPEN_FILES, /^\d+$/);
});

test(
  'what was written is there after a stop, in every Durable Object and in the folder',
  LIMIT,
  async (t) => {
    const stateDir = join(temporaryFolder(t), 'a "quoted" folder', 'below');
    const first = await start(t, { stateDir });
    assert.deepEqual(await json(first, '/count'), [1, 1, 1, 1, 1, 1]);
    assert.equal((await put(first, '/blobs/one', 'its bytes')).status, 204);
    await first.stop();
    assert.equal(readFileSync(join(stateDir, 'blobs/blobs/one'), 'utf8'), 'its bytes');

    const second = await start(t, { stateDir });
    assert.deepEqual(await json(second, '/count'), [2, 2, 2, 2, 2, 2]);
    assert.equal(await (await fetch(`${second.url}/blobs/one`)).text(), 'its bytes');
  },
);

test('what was acknowledged is there after a crash, at the same address', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const first = await start(t, { stateDir });
  assert.deepEqual(await json(first, '/count'), [1, 1, 1, 1, 1, 1]);
  assert.equal((await put(first, '/blobs/one', 'its bytes')).status, 204);
  await first.kill();
  assert.ok(!isRunning(first.pid));
  assert.equal((await first.exited).signal, 'SIGKILL');

  const second = await start(t, { stateDir, port: first.port });
  assert.equal(second.url, first.url);
  assert.deepEqual(await json(second, '/count'), [2, 2, 2, 2, 2, 2]);
  assert.equal(await (await fetch(`${second.url}/blobs/one`)).text(), 'its bytes');
});

test('two machines run side by side and share nothing', LIMIT, async (t) => {
  const [one, other] = await Promise.all([
    start(t, { stateDir: temporaryFolder(t) }),
    start(t, { stateDir: temporaryFolder(t) }),
  ]);
  assert.notEqual(one.port, other.port);
  assert.deepEqual(await json(one, '/count'), [1, 1, 1, 1, 1, 1]);
  assert.deepEqual(await json(one, '/count'), [2, 2, 2, 2, 2, 2]);
  assert.deepEqual(await json(other, '/count'), [1, 1, 1, 1, 1, 1]);
});

test('a folder that is in use is refused until its registry has ended', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const first = await start(t, { stateDir });
  await assert.rejects(start(t, { stateDir }), {
    name: 'StartFailure',
    message: /already used by another registry/,
  });
  await first.stop();
  await start(t, { stateDir });
});

for (const { name, lock } of [
  {
    name: 'of a process that got the pid of one that ended',
    lock: [{ pid: process.pid, started: 'long ago' }, { pid: process.pid }],
  },
  { name: 'that was cut short', lock: '[{"pi' },
  { name: 'without a holder', lock: [] },
]) {
  test(`a lock ${name} is taken over`, LIMIT, async (t) => {
    const stateDir = temporaryFolder(t);
    writeFileSync(join(stateDir, 'lock'), typeof lock === 'string' ? lock : JSON.stringify(lock));
    const machine = await start(t, { stateDir });
    await machine.stop();
    assert.equal(readFileSync(join(stateDir, 'lock'), 'utf8'), '');
  });
}

test('a stop does not wait for ever for a request that stalls', LIMIT, async (t) => {
  const machine = await start(t, { stateDir: temporaryFolder(t) });
  const stalled = open(machine.url, 'PUT', '/blobs/stalled');
  const broken = once(stalled, 'error');
  await new Promise((resolve) => stalled.write('the first of two pieces', resolve));
  await machine.stop();
  await broken;
  assert.ok(!isRunning(machine.pid));
});

test('what a crash left of an upload is gone with the next start, and nothing else is', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const folder = join(stateDir, 'blobs/blobs');
  const first = await start(t, { stateDir });
  await put(first, '/blobs/whole', 'its bytes');
  const cut = open(first.url, 'PUT', '/blobs/cut');
  const broken = once(cut, 'error');
  cut.write('the first of two pieces');
  await until(t, () => readdirSync(folder).length === 2);
  await first.kill();
  await broken;

  await start(t, { stateDir });
  assert.deepEqual(readdirSync(folder), ['whole']);
});

test('what the Worker prints is passed on', LIMIT, async (t) => {
  let printed = '';
  const machine = await start(t, {
    stateDir: temporaryFolder(t),
    onOutput: (chunk) => {
      printed += chunk;
    },
  });
  await fetch(`${machine.url}/print`);
  await until(t, () => printed.includes('the stub prints this'));
});

test('a service can stand in the place of the folder', LIMIT, async (t) => {
  const server = createServer((incoming, response) => response.end(`instead of ${incoming.url}`));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  const services = { DISK: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  const machine = await start(t, { stateDir: temporaryFolder(t), services });
  assert.equal(await (await fetch(`${machine.url}/blobs/one`)).text(), 'instead of /blobs/one');
});

test('memory is that of workerd, where the system tells', LIMIT, async (t) => {
  const machine = await start(t, { stateDir: temporaryFolder(t) });
  const bytes = machine.memoryBytes();
  if (process.platform === 'linux') assert.ok(bytes !== undefined && bytes > 2 ** 20);
  else assert.equal(bytes, undefined);
  await machine.stop();
  assert.equal(machine.memoryBytes(), undefined);
});

const CLASSES = ['Repository', 'UploadSession', 'BlobShard', 'Catalog', 'Accounts', 'AuditLog']
  .map((name) => `export class ${name} {}`)
  .join('\n');

test('WebAssembly that the Worker imports comes with it', LIMIT, async (t) => {
  const folder = temporaryFolder(t);
  // A module that exports a function `answer` which returns 42.
  const answer = '0061736d010000000105016000017f03020100070a0106616e7377657200000a06010400412a0b';
  writeFileSync(join(folder, 'answer.wasm'), Buffer.from(answer, 'hex'));
  writeFileSync(
    join(folder, 'entry.ts'),
    `import wasm from './answer.wasm';
    ${CLASSES}
    export default { fetch: () => new Response(String(new WebAssembly.Instance(wasm).exports.answer())) };`,
  );
  const machine = await start(t, { stateDir: join(folder, 'state'), entry: join(folder, 'entry.ts') });
  assert.equal(await (await fetch(machine.url)).text(), '42');
});

for (const { name, entry, want } of [
  { name: 'does not build', entry: 'import "./missing.ts";', want: /missing\.ts/ },
  { name: 'throws when it is loaded', entry: `${CLASSES}\nthrow new Error("no luck");`, want: /no luck/ },
  {
    name: 'answers with a 500',
    entry: `${CLASSES}\nexport default { fetch: () => new Response(null, { status: 500 }) }`,
    want: /GET \/v2\/ with 500/,
  },
]) {
  test(`a Worker that ${name} is a failure to start, and leaves the folder free`, LIMIT, async (t) => {
    const stateDir = temporaryFolder(t);
    const path = join(stateDir, 'entry.js');
    writeFileSync(path, entry);
    await assert.rejects(start(t, { stateDir, entry: path }), (error) => {
      assert.ok(error instanceof StartFailure);
      assert.match(error.message, want);
      return true;
    });
    await start(t, { stateDir });
  });
}

async function start(t: TestContext, options: MachineOptions): Promise<Machine> {
  const machine = await startMachine({ entry: STUB, ...options });
  t.after(() => machine.kill());
  return machine;
}

async function json(machine: Machine, path: string): Promise<unknown> {
  return (await fetch(machine.url + path)).json();
}

function put(machine: Machine, path: string, body: string): Promise<Response> {
  return fetch(machine.url + path, { method: 'PUT', body });
}
