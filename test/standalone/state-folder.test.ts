// The state folder: one registry at a time, also across containers that share it, and nothing in it that another user put
// there.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { adminPassword } from '../../standalone/admin-password.ts';
import { ownStateFolder } from '../../standalone/private.ts';
import { openStateFolder } from '../../standalone/state-folder.ts';
import * as http from '../support/http.ts';
import { COMMAND, refused, run, type Started, spawned, started } from './command.ts';
import { descendants, isRunning, temporaryFolder, until } from './temporary.ts';

const LIMIT = { timeout: 60_000 };
const OPEN = { AUTH: 'off' };
const USED = /^The folder .* is already used by another registry/;
const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;

/** The command in another PID namespace, where the system allows that: there no pid of the first registry means anything. */
function elsewhere(t: TestContext, env: Record<string, string>) {
  const namespace = ['--pid', '--fork', '--mount-proc', '--kill-child'];
  const args = isRoot ? namespace : ['--user', '--map-root-user', ...namespace];
  const isAllowed = spawnSync('unshare', [...args, 'true']).status === 0;
  return isAllowed ? spawned(t, 'unshare', [...args, process.execPath, COMMAND], env) : run(t, env);
}

/** What stands in the note on the lock says nothing to a registry in another container. */
function forgetNote(stateDir: string): void {
  writeFileSync(join(stateDir, 'lock'), '[{"pid":1,"started":"in another container"}]');
}

test('a registry in another container is refused, and the uploads of the first stay', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const first = await started(t, { STATE_DIR, ...OPEN });
  forgetNote(STATE_DIR);
  const upload = await stalledUpload(t, first);
  const folder = join(STATE_DIR, 'blobs/blobs');
  await until(t, () => existsSync(folder) && readdirSync(folder).length > 0);
  const before = readdirSync(folder);

  const second = elsewhere(t, { STATE_DIR, ...OPEN });
  assert.equal(await second.code, 1);
  assert.match(second.stderr, USED);
  assert.deepEqual(readdirSync(folder), before);
  upload.destroy();
});

// Only Linux locks the folder itself.
const linuxTest = process.platform === 'linux' ? test : () => {};

linuxTest('a registry whose file `lock` was deleted keeps its folder', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const first = await started(t, { STATE_DIR, ...OPEN });
  rmSync(join(STATE_DIR, 'lock'));
  for (const start of [elsewhere, run]) {
    const second = start(t, { STATE_DIR, ...OPEN });
    assert.equal(await second.code, 1);
    assert.match(second.stderr, USED);
  }
  assert.equal((await fetch(`${first.url}/v2/`)).status, 200);
});

linuxTest('a workerd that is left alone keeps the folder without the file `lock`', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const first = await started(t, { STATE_DIR, ...OPEN });
  const workerd = await leftAlone(t, first);
  rmSync(join(STATE_DIR, 'lock'));
  await refused(t, { STATE_DIR, ...OPEN }, USED);
  process.kill(workerd, 'SIGKILL');
});

test('a folder with state but without the file `lock` counts as not shut down cleanly', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const fresh = await openStateFolder(stateDir);
  assert.equal(fresh.lock.disturbed, false);
  writeFileSync(join(fresh.state, 'a database'), '');
  fresh.lock.release(true);
  rmSync(join(stateDir, 'lock'));
  const again = await openStateFolder(stateDir);
  assert.equal(again.lock.disturbed, true);
  again.lock.release(true);
});

test('SIGKILL of the registry frees the folder for one in another container', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const first = await started(t, { STATE_DIR, ...OPEN });
  forgetNote(STATE_DIR);
  first.child.kill('SIGKILL');
  const second = elsewhere(t, { STATE_DIR, ...OPEN });
  await until(t, () => second.stdout.includes('docker pull') || second.child.exitCode !== null);
  assert.equal(second.stderr, '');
});

test('a registry whose workerd was killed takes its folder again', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const first = await started(t, { STATE_DIR, ...OPEN });
  const killed = workerdOf(first);
  process.kill(killed, 'SIGKILL');
  // The note on the lock names the processes that hold it: the registry and its workerd.
  const holders = () => readFileSync(join(STATE_DIR, 'lock'), 'utf8');
  await until(t, () => !holders().includes(`"pid":${killed},`) && holders().split('"pid"').length === 3);
  await refused(t, { STATE_DIR, ...OPEN }, USED);
  assert.equal(first.child.exitCode, null);
});

test('a workerd that is left alone keeps the folder until it ends', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const workerd = await leftAlone(t, await started(t, { STATE_DIR, ...OPEN }));
  const second = run(t, { STATE_DIR, ...OPEN });
  assert.equal(await second.code, 1);
  assert.match(second.stderr, /already used by the workerd of a registry that was killed \(process \d+\)/);
  process.kill(workerd, 'SIGKILL');
  await until(t, () => !isRunning(workerd));
  await started(t, { STATE_DIR, ...OPEN });
});

/** Takes the folder in argv, and ends uncleanly where its files take no more bytes: a write fails as on a full disk. */
const ENDS_ON_A_FULL_DISK = `
  import { spawnSync } from 'node:child_process';
  import { openStateFolder } from ${JSON.stringify(import.meta.resolve('../../standalone/state-folder.ts'))};
  const { lock } = await openStateFolder(process.argv[1]);
  const limited = spawnSync('prlimit', ['--pid', String(process.pid), '--fsize=0']);
  if (limited.status !== 0) throw new Error(String(limited.stderr));
  lock.release(false);
`;

linuxTest('a note that cannot be written still says that the end was not clean', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  execFileSync(process.execPath, ['--input-type=module', '-e', ENDS_ON_A_FULL_DISK, stateDir]);
  assert.notEqual(readFileSync(join(stateDir, 'lock'), 'utf8'), '');
  const { lock } = await openStateFolder(stateDir);
  assert.equal(lock.disturbed, true);
  lock.release(true);
});

test('a registry of release 0.1.0, which only notes its process, is respected', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const folder = await openStateFolder(stateDir);
  const note = readFileSync(join(stateDir, 'lock'), 'utf8');
  folder.lock.release(true);
  assert.equal(readFileSync(join(stateDir, 'lock'), 'utf8'), '');
  writeFileSync(join(stateDir, 'lock'), note);
  if (process.platform === 'linux') await assert.rejects(openStateFolder(stateDir), { message: USED });
});

test('a state folder that is a link is refused', (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'real'));
  symlinkSync(join(folder, 'real'), join(folder, 'link'));
  assert.throws(() => ownStateFolder(join(folder, 'link')), {
    name: 'StartFailure',
    message: /link is a link, and links are not followed.\nIt leads to .*real/,
  });
});

test('a state folder in which other users can write is refused', (t) => {
  const folder = temporaryFolder(t);
  chmodSync(folder, 0o777);
  assert.throws(() => ownStateFolder(folder), { name: 'StartFailure', message: /^Other users can write in/ });
});

test('a state folder of our own in which our group can write is closed to it', (t) => {
  const folder = temporaryFolder(t);
  chmodSync(folder, 0o775);
  ownStateFolder(folder);
  assert.equal(statSync(folder).mode & 0o777, 0o755);
});

for (const name of ['state', 'blobs', 'run', 'lock']) {
  test(`a link in the place of ${name} is refused`, LIMIT, async (t) => {
    const folder = temporaryFolder(t);
    const stateDir = join(folder, 'state-dir');
    mkdirSync(stateDir);
    const real = join(folder, 'real');
    if (name === 'lock') writeFileSync(real, '');
    else mkdirSync(real);
    symlinkSync(real, join(stateDir, name));
    await assert.rejects(openStateFolder(stateDir), {
      name: 'StartFailure',
      message: new RegExp(`state-dir/${name} is a link`),
    });
  });
}

test('an admin-password that is a link is refused', (t) => {
  const stateDir = temporaryFolder(t);
  writeFileSync(join(stateDir, 'planted'), 'a password of another user');
  symlinkSync(join(stateDir, 'planted'), join(stateDir, 'admin-password'));
  assert.throws(() => adminPassword(stateDir), {
    name: 'StartFailure',
    message: /admin-password is a link, and links are not followed/,
  });
});

// Only root can make files of other users: where the tests run as another user, the owner is a number that is not theirs.
for (const name of ['', 'admin-password', 'state', 'run', 'lock']) {
  test(`${name === '' ? 'a state folder' : name} of another user is refused`, LIMIT, async (t) => {
    const stateDir = join(temporaryFolder(t), 'state-dir');
    mkdirSync(join(stateDir, 'state'), { recursive: true });
    mkdirSync(join(stateDir, 'run'));
    for (const file of ['admin-password', 'lock']) writeFileSync(join(stateDir, file), 'planted');
    const uid = pretend(t, join(stateDir, name));
    const open = async () => {
      adminPassword(stateDir);
      const folder = await openStateFolder(stateDir);
      folder.lock.release(true);
    };
    await assert.rejects(open(), {
      name: 'StartFailure',
      message: new RegExp(`^${join(realpathSync(stateDir), name)} belongs to another user \\(uid ${uid}\\)`),
    });
  });
}

/** Makes a path another user's, or else this process that of another user. Gives the uid of the owner. */
function pretend(t: TestContext, path: string): number {
  if (isRoot) {
    chownSync(path, NOBODY, NOBODY);
    return NOBODY;
  }
  const { getuid } = process;
  const own = getuid?.() ?? 0;
  process.getuid = () => own + 1;
  t.after(() => Object.assign(process, { getuid }));
  return own;
}

function workerdOf({ pid }: Started): number {
  const found = descendants(pid).find((one) =>
    execFileSync('ps', ['-o', 'args=', '-p', String(one)], { encoding: 'utf8' }).includes('config.capnp'),
  );
  assert.ok(found !== undefined);
  return found;
}

/** Kills the registry so that its workerd goes on. Returns the pid of workerd. */
async function leftAlone(t: TestContext, registry: Started): Promise<number> {
  const workerd = workerdOf(registry);
  t.after(() => isRunning(workerd) && process.kill(workerd, 'SIGKILL'));
  // Without the shell that would end workerd when the registry ends.
  for (const pid of descendants(registry.pid)) if (pid !== workerd) process.kill(pid, 'SIGKILL');
  registry.child.kill('SIGKILL');
  await registry.code;
  assert.ok(isRunning(workerd));
  return workerd;
}

/** An upload of which the first of two chunks has come. */
async function stalledUpload(t: TestContext, { url }: Started) {
  const begun = await fetch(`${url}/v2/a/blobs/uploads/`, { method: 'POST' });
  const headers = { 'Content-Length': 8 * 2 ** 20 };
  const outgoing = http.open(url, 'PATCH', begun.headers.get('Location') ?? '', { headers });
  outgoing.on('error', () => {});
  t.after(() => outgoing.destroy());
  outgoing.write(Buffer.alloc(4 * 2 ** 20));
  return outgoing;
}
