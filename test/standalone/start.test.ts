// The command behind `npm start`, run as people run it: what it prints, what it says when it cannot
// start, and that nothing that it started outlives it, however it ends.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { blob, digest } from '../support/fixtures.ts';
import { open } from '../support/socket.ts';
import { COMMAND, refused, run, spawned, started } from './command.ts';
import { descendants, isRunning, temporaryFolder, until } from './temporary.ts';

const LIMIT = { timeout: 30_000 };

test('npm start prints what to type next, at the address where the registry answers', LIMIT, async (t) => {
  const command = await started(t, { STATE_DIR: temporaryFolder(t), AUTH: 'off' });
  assert.equal((await fetch(`http://localhost:${command.port}/v2/`)).status, 200);
  const name = `localhost:${command.port}`;
  assert.ok(command.stdout.includes(`http://${name}\n`));
  assert.ok(command.stdout.includes(`docker tag alpine ${name}/alpine\n`));
  assert.ok(command.stdout.includes(`docker push ${name}/alpine\n`));
  assert.ok(command.stdout.includes(`docker pull ${name}/alpine\n`));
  assert.ok(!/unencrypted|certificate/.test(command.stdout));
});

test(
  'npm start warns that passwords travel unencrypted when other machines can reach it',
  LIMIT,
  async (t) => {
    const command = await started(t, { STATE_DIR: temporaryFolder(t), HOST: '0.0.0.0' });
    assert.match(command.stdout, /Passwords and images travel unencrypted to and from 0\.0\.0\.0/);
  },
);

test(
  'npm start keeps everything in .longshore where it is run, unless it is told otherwise',
  LIMIT,
  async (t) => {
    const cwd = temporaryFolder(t);
    await started(t, {}, cwd);
    assert.ok(existsSync(join(cwd, '.longshore/blobs')));
  },
);

test('two registries run side by side', LIMIT, async (t) => {
  const [one, other] = await Promise.all([
    started(t, { STATE_DIR: temporaryFolder(t) }),
    started(t, { STATE_DIR: temporaryFolder(t) }),
  ]);
  for (const { port } of [one, other]) {
    assert.equal((await fetch(`http://localhost:${port}/health`)).status, 200);
  }
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} ends npm start and everything that it started, and frees the folder`, LIMIT, async (t) => {
    const stateDir = temporaryFolder(t);
    const command = await started(t, { STATE_DIR: stateDir });
    const family = descendants(command.pid);
    assert.ok(family.length > 0);
    command.child.kill(signal);
    assert.equal(await command.code, 0);
    await until(t, () => !family.some(isRunning));
    assert.equal(command.stderr, '');
    assert.equal(readFileSync(join(stateDir, 'lock'), 'utf8'), '');
  });
}

test('npm start ends with the shell that npm put around it', LIMIT, async (t) => {
  const env = { STATE_DIR: temporaryFolder(t), npm_lifecycle_event: 'start' };
  // The second command keeps the shell from becoming the first.
  const shell = spawned(t, '/bin/sh', ['-c', '"$0" "$1"; :', process.execPath, COMMAND], env);
  await until(t, () => shell.stdout.includes('docker pull'));
  const family = descendants(shell.pid);
  assert.ok(family.length > 1);
  t.after(() => killAll(family));
  shell.child.kill('SIGTERM');
  await until(t, () => !family.some(isRunning));
});

test('SIGTERM during npm start leaves no process and no lock', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const command = run(t, { STATE_DIR: stateDir });
  await until(t, () => existsSync(join(stateDir, 'lock')));
  const family = descendants(command.pid);
  command.child.kill('SIGTERM');
  assert.equal(await command.code, 0);
  assert.ok(!family.some(isRunning));
  assert.equal(readFileSync(join(stateDir, 'lock'), 'utf8'), '');
});

test('SIGKILL of npm start ends workerd too, and the next start takes the folder over', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const first = await started(t, { STATE_DIR: stateDir });
  const family = descendants(first.pid);
  assert.ok(family.length > 0);
  first.child.kill('SIGKILL');
  await first.code;
  const second = await started(t, { STATE_DIR: stateDir, PORT: String(first.port) });
  assert.equal(second.port, first.port);
  await until(t, () => !family.some(isRunning));
});

test(
  'when workerd ends unexpectedly, the command says so and starts it again with all state',
  LIMIT,
  async (t) => {
    const command = await started(t, { STATE_DIR: temporaryFolder(t), AUTH: 'off' });
    const bytes = blob(3000);
    const pushed = `${command.url}/v2/kept/blobs/uploads/?digest=${digest(bytes)}`;
    assert.equal((await fetch(pushed, { method: 'POST', body: bytes })).status, 201);
    killAll(workerdOf(command.pid));
    await until(t, () => /workerd ended unexpectedly \(SIGKILL\)/.test(command.stderr));
    await answering(t, command.url);
    const pulled = await fetch(`${command.url}/v2/kept/blobs/${digest(bytes)}`);
    assert.deepEqual(Buffer.from(await pulled.arrayBuffer()), bytes);
    const family = descendants(command.pid);
    command.child.kill('SIGTERM');
    assert.equal(await command.code, 0);
    await until(t, () => !family.some(isRunning));
  },
);

test('SIGTERM ends npm start also while it waits to start workerd again', LIMIT, async (t) => {
  const command = await started(t, { STATE_DIR: temporaryFolder(t), AUTH: 'off' });
  killAll(workerdOf(command.pid));
  await until(t, () => command.stderr.includes('The registry restarts'));
  command.child.kill('SIGTERM');
  assert.equal(await command.code, 0);
  assert.deepEqual(descendants(command.pid), []);
});

test(
  'npm start restarts workerd once the port is free again that another program took meanwhile',
  LIMIT,
  async (t) => {
    const command = await started(t, { STATE_DIR: temporaryFolder(t), AUTH: 'off' });
    const other = createServer();
    killAll(workerdOf(command.pid));
    await until(t, () => command.stderr.includes('The registry restarts in 1 s'));
    await once(other.listen(command.port, '127.0.0.1'), 'listening');
    t.after(() => other.close());
    await until(t, () =>
      /Port \d+ on 127\.0\.0\.1 is already in use\.\n.*\nThe registry restarts in 2 s/.test(command.stderr),
    );
    other.close();
    await answering(t, command.url);
  },
);

// A connection takes two files: workerd ends only where it has none left, and not where it has one.
for (const files of [256, 257]) {
  test(
    `strangers who use up all ${files} files keep the registry from answering only while they are there`,
    LIMIT,
    async (t) => {
      const env = { STATE_DIR: temporaryFolder(t), AUTH: 'off' };
      const limited = ['-c', `ulimit -n ${files}; exec "$0" "$1"`, process.execPath, COMMAND];
      const command = spawned(t, '/bin/sh', limited, env);
      await until(t, () => command.stdout.includes('docker pull'));
      await until(t, () => command.stderr.includes(`may open only ${files} files`));
      const [url = '', port] = /http:\/\/\S+:(\d+)/.exec(command.stdout) ?? [];
      const idle = Array.from({ length: 300 }, () => open(`http://127.0.0.1:${port}`));
      await until(t, () => /Too many open files|restarts/.test(command.stderr));
      for (const socket of idle) socket.destroy();
      await answering(t, url);
    },
  );
}

for (const port of ['abc', '-1', '65536', '80 80', '8787.5']) {
  test(`npm start refuses PORT=${port}`, LIMIT, async (t) => {
    await refused(t, { STATE_DIR: temporaryFolder(t), PORT: port }, /^PORT is ".*", and must be a number/);
  });
}

test('a HOST that is not of this machine is refused', LIMIT, async (t) => {
  await refused(
    t,
    { STATE_DIR: temporaryFolder(t), HOST: '192.0.2.1' },
    /^HOST 192\.0\.2\.1 is not an address/,
  );
});

test('a port that another program uses is refused', LIMIT, async (t) => {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  await refused(
    t,
    { STATE_DIR: temporaryFolder(t), PORT: String(port) },
    /^Port \d+ on 127\.0\.0\.1 is already in use/,
  );
});

test('a port that another registry uses is refused', LIMIT, async (t) => {
  const { port } = await started(t, { STATE_DIR: temporaryFolder(t) });
  await refused(
    t,
    { STATE_DIR: temporaryFolder(t), PORT: String(port) },
    /^Port \d+ on 127\.0\.0\.1 is already in use/,
  );
});

test('a folder that another registry uses is refused', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const first = await started(t, { STATE_DIR });
  await refused(t, { STATE_DIR }, new RegExp(`already used by another registry \\(process ${first.pid}\\)`));
  assert.equal((await fetch(`http://localhost:${first.port}/health`)).status, 200);
});

for (const { name, below } of [
  { name: 'that is a file', below: '' },
  { name: 'below a file', below: '/state' },
]) {
  // Permissions would not do: the user who runs the tests may be the one whom they do not bind.
  test(`a folder ${name} is refused`, LIMIT, async (t) => {
    const file = join(temporaryFolder(t), 'file');
    writeFileSync(file, '');
    await refused(t, { STATE_DIR: file + below }, /Cannot write to the folder .* file/);
  });
}

/** Of what a command has started. */
function workerdOf(pid: number): number[] {
  const nameOf = (one: number) =>
    execFileSync('ps', ['-o', 'comm=', '-p', String(one)], { encoding: 'utf8' });
  return descendants(pid).filter((one) => nameOf(one).includes('workerd'));
}

/** Resolves when the registry answers, after it was away. */
async function answering(t: TestContext, url: string): Promise<void> {
  const isThere = () =>
    fetch(`${url}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isThere())) await sleep(50, undefined, { signal: t.signal });
}

/** Those that end by themselves meanwhile, since they hear of the others' end, are as gone as the others. */
function killAll(pids: number[]): void {
  for (const pid of pids.filter(isRunning)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (fault) {
      if ((fault as NodeJS.ErrnoException).code !== 'ESRCH') throw fault;
    }
  }
}
