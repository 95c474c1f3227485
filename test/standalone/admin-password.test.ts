// The password of the local admin: made once, strong, kept where only its user reads it, and never printed
// but the person who starts the registry.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adminPassword } from '../../standalone/admin-password.ts';
import { greeting } from '../../standalone/greeting.ts';
import { readSettings } from '../../standalone/settings.ts';
import { Visitor } from '../support/visitor.ts';
import { refused, started } from './command.ts';
import { descendants, temporaryFolder } from './temporary.ts';

const LIMIT = { timeout: 30_000 };
const GIVEN = 'given-by-the-environment';

test('the password of admin is made once, has 128 random bits or more, and only its user can read it', (t) => {
  const stateDir = join(temporaryFolder(t), 'not there yet');
  const { text, path } = adminPassword(stateDir);
  assert.equal(path, join(stateDir, 'admin-password'));
  assert.match(text, /^[a-km-np-z2-9]{4}(?:-[a-km-np-z2-9]{4}){6}$/);
  assert.ok(text.replaceAll('-', '').length * Math.log2(32) >= 128);
  assert.equal(readFileSync(path, 'utf8'), `${text}\n`);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(stateDir), ['admin-password']);
  assert.equal(adminPassword(stateDir).text, text);
  assert.notEqual(adminPassword(temporaryFolder(t)).text, text);
});

test('a draft of the admin password that a crash left is no obstacle', (t) => {
  const stateDir = temporaryFolder(t);
  writeFileSync(join(stateDir, `admin-password.${process.pid}`), 'cut sh');
  adminPassword(stateDir);
  assert.deepEqual(readdirSync(stateDir), ['admin-password']);
});

test('an admin password that others could read is closed to them', (t) => {
  const stateDir = temporaryFolder(t);
  writeFileSync(join(stateDir, 'admin-password'), 'a password of my own');
  chmodSync(join(stateDir, 'admin-password'), 0o644);
  const { text, path } = adminPassword(stateDir);
  assert.equal(text, 'a password of my own');
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('a file without an admin password is a failure that names it', (t) => {
  const stateDir = temporaryFolder(t);
  writeFileSync(join(stateDir, 'admin-password'), '\n');
  assert.throws(() => adminPassword(stateDir), {
    name: 'StartFailure',
    message: /^The password file .*admin-password is empty/,
  });
});

test('a folder in the place of the admin password is a failure that names it', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  mkdirSync(join(STATE_DIR, 'admin-password'));
  await refused(t, { STATE_DIR }, /^Cannot read the password of admin in .*admin-password \(EISDIR\)/);
});

test(
  'the file of the admin password is printed with the login to paste, and the password is the same at the next start',
  LIMIT,
  async (t) => {
    const STATE_DIR = join(temporaryFolder(t), "a folder's name");
    const first = await started(t, { STATE_DIR });
    const path = join(STATE_DIR, 'admin-password');
    const password = readFileSync(path, 'utf8').trim();
    assert.ok(first.stdout.includes(`Log in as "admin" with the password that is kept in ${path}:\n`));
    assert.ok(!first.stdout.includes(password));
    const login = `docker login -u admin --password-stdin localhost:${first.port} < '${path.replace("'", "'\\''")}'\n`;
    assert.ok(first.stdout.includes(login), first.stdout);
    assert.equal(await tokenStatus(first.url, password), 200);
    assert.equal(await tokenStatus(first.url, `${password}x`), 401);
    first.child.kill('SIGTERM');
    await first.code;

    const second = await started(t, { STATE_DIR });
    assert.ok(!second.stdout.includes(password));
    assert.equal(await tokenStatus(second.url, password), 200);
  },
);

test('the admin password is shown to a person at a terminal, once', async (t) => {
  const stateDir = temporaryFolder(t);
  const settings = () => readSettings({ STATE_DIR: stateDir, PORT: '0' });
  const first = await settings();
  const second = await settings();
  const text = first.password?.text ?? '';
  const path = join(stateDir, 'admin-password');
  assert.ok(
    greeting(first, 8787, null, true).includes(`with the password ${text}, which is kept in ${path}:`),
  );
  for (const printed of [greeting(first, 8787, null, false), greeting(second, 8787, null, true)]) {
    assert.ok(!printed.includes(text));
    assert.ok(printed.includes(`with the password that is kept in ${path}:`));
  }
});

for (const weak of ['a', '12345678', 'administrator', 'password1234']) {
  test(`ADMIN_PASSWORD=${weak} is a failure to start, with the reason`, LIMIT, async (t) => {
    const env = { STATE_DIR: temporaryFolder(t), ADMIN_PASSWORD: weak };
    await refused(
      t,
      env,
      /^The password in ADMIN_PASSWORD is too weak\. A password .*\nSet another one\.\n$/,
    );
  });
}

test('a weak admin password in the file is a failure to start', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  writeFileSync(join(STATE_DIR, 'admin-password'), '12345678\n');
  await refused(t, { STATE_DIR }, /^The password in .*admin-password is too weak\./);
});

test('workerd is told nothing of the environment but what it needs', LIMIT, async (t) => {
  const env = {
    STATE_DIR: temporaryFolder(t),
    ADMIN_PASSWORD: GIVEN,
    AWS_SECRET_ACCESS_KEY: GIVEN,
    TZ: 'UTC',
  };
  const command = await started(t, env);
  if (process.platform !== 'linux') return;
  // Workerd, and the shell that ends it with us.
  const workers = descendants(command.pid)
    .filter((pid) => /^\S*workerd\0|^\/bin\/sh\0/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
    .map((pid) => readFileSync(`/proc/${pid}/environ`, 'utf8'));
  assert.equal(workers.length, 2);
  for (const environment of workers) {
    assert.deepEqual(
      environment.split('\0').filter((entry) => !/^(?:TZ=UTC|PWD=.*|_=.*|)$/.test(entry)),
      [],
    );
  }
});

test('an ADMIN_PASSWORD of the environment is taken, and neither printed nor kept', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const command = await started(t, { STATE_DIR, ADMIN_PASSWORD: GIVEN });
  assert.match(command.stdout, /docker login -u admin localhost:\d+\n/);
  assert.equal(await tokenStatus(command.url, GIVEN), 200);
  assert.equal(await tokenStatus(command.url, 'another'), 401);
  assert.ok(!existsSync(join(STATE_DIR, 'admin-password')));
  command.child.kill('SIGTERM');
  await command.code;
  assert.ok(!(command.stdout + command.stderr).includes(GIVEN));
});

test('with AUTH=off there is no password, and every client on loopback has access', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const command = await started(t, { STATE_DIR, AUTH: 'off' });
  assert.match(
    command.stdout,
    /AUTH is off: every program of every user on this machine can push, pull and delete/,
  );
  assert.ok(!command.stdout.includes('login'));
  assert.ok(!existsSync(join(STATE_DIR, 'admin-password')));
  assert.equal((await fetch(`${command.url}/v2/_catalog`)).status, 200);
});

for (const HOST of ['0.0.0.0', '*', '::']) {
  test(`AUTH=off is refused with HOST=${HOST}`, LIMIT, async (t) => {
    await refused(
      t,
      { STATE_DIR: temporaryFolder(t), AUTH: 'off', HOST },
      /^AUTH=off .* only on loopback\. HOST is/,
    );
  });
}

async function tokenStatus(url: string, password: string): Promise<number> {
  const admin = new Visitor({ url }, `admin:${password}`);
  return (await admin.send('GET', '/token?scope=repository:a:push,pull')).status;
}
