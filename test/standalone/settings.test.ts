// What `npm start` makes of its environment: the settings of the Worker, those that are paths, and that no
// secret of them can be read by others on the machine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import bcrypt from 'bcryptjs';
import { StartFailure } from '../../standalone/failure.ts';
import { readSettings } from '../../standalone/settings.ts';
import { refused, started } from './command.ts';
import { descendants, temporaryFolder } from './temporary.ts';

const LIMIT = { timeout: 30_000 };
const LINES = `alice:${bcrypt.hashSync('wonderland', 4)}\nbob:${bcrypt.hashSync('builder', 4).replace('$2b', '$2y')}\n`;

test('without any there are an address, a folder and an admin', (t) => {
  const STATE_DIR = temporaryFolder(t);
  const { host, port, stateDir, certificate, isOpen, password, vars } = readSettings({ STATE_DIR });
  assert.deepEqual(
    { host, port, stateDir, certificate, isOpen, vars },
    {
      host: '127.0.0.1',
      port: 8787,
      stateDir: STATE_DIR,
      certificate: null,
      isOpen: false,
      vars: { ADMIN_PASSWORD: password?.text },
    },
  );
});

test('those of the Worker are handed on as they are, and others are not', () => {
  const handedOn = {
    AUTH: 'off',
    HTPASSWD_ROLE: 'reader',
    TOKEN_LIFETIME: '120',
    TRUSTED_PROXIES: '10.0.0.0/8',
    AUDIT_DAYS: '7',
    OIDC_ISSUER: 'https://issuer.example',
    OIDC_CLIENT_ID: 'registry',
    OIDC_CLIENT_SECRET: 'a "secret"',
    OIDC_GROUPS_CLAIM: 'teams',
    SPARSE_MANIFESTS: 'true',
    PUBLIC_URL: 'https://registry.example',
    PREFETCH: '',
  };
  assert.deepEqual(readSettings({ ...handedOn, STATE_DIR: '/nowhere', PATH: '/bin' }).vars, handedOn);
});

for (const { name, env, want } of [
  {
    name: 'a certificate without a key',
    env: { TLS_CERT: 'a.crt' },
    want: /^TLS_CERT is set, and TLS_KEY is not/,
  },
  {
    name: 'a key without a certificate',
    env: { TLS_KEY: 'a.key' },
    want: /^TLS_KEY is set, and TLS_CERT is not/,
  },
  { name: 'an open door to a network', env: { AUTH: 'off', HOST: '127.example' }, want: /^AUTH=off/ },
  { name: 'a port that is no number', env: { PORT: '1e3' }, want: /^PORT is "1e3"/ },
]) {
  test(`${name} is refused`, () => {
    assert.throws(() => readSettings({ STATE_DIR: '/nowhere', AUTH: 'off', ...env }), {
      name: 'StartFailure',
      message: want,
    });
  });
}

test('settings that are wrong are named together, those of npm start and those of the registry', () => {
  const env = {
    STATE_DIR: '/nowhere',
    PORT: 'x',
    TLS_KEY: 'a.key',
    HTPASSWD: '/missing',
    TOKEN_LIFETIME: '1',
  };
  assert.throws(
    () => readSettings({ ...env, ADMIN_PASSWORD: 'password1234', PREFETCH: 'all' }),
    (error) => {
      assert.ok(error instanceof StartFailure);
      const names = [
        ...Object.keys(env).filter((name) => name !== 'STATE_DIR'),
        'ADMIN_PASSWORD',
        'PREFETCH',
      ];
      assert.match(error.message, /^6 settings are wrong:\n/);
      for (const name of names) assert.match(error.message, new RegExp(`^- .*${name}`, 'm'));
      return true;
    },
  );
});

for (const { name, setting } of [
  { name: 'the path of a file', setting: (folder: string) => join(folder, 'htpasswd') },
  { name: 'the contents of a file', setting: () => LINES },
]) {
  test(`HTPASSWD may be ${name}, and those who are in it are let in`, LIMIT, async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'htpasswd'), LINES);
    const command = await started(t, { STATE_DIR: join(folder, 'state'), HTPASSWD: setting(folder) });
    const status = async (pair: string) => {
      const authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
      return (await fetch(`${command.url}/v2/`, { headers: { authorization } })).status;
    };
    assert.equal(await status('alice:wonderland'), 200);
    assert.equal(await status('bob:builder'), 200);
    assert.equal(await status('bob:wonderland'), 401);
  });
}

for (const { name, file, want } of [
  {
    name: 'that is not there',
    file: 'missing',
    want: /^HTPASSWD names the file .*missing, which cannot be read \(ENOENT\)/,
  },
  {
    name: 'that is a folder',
    file: '',
    want: /^HTPASSWD names the file .*, which cannot be read \(EISDIR\)/,
  },
  { name: 'with another kind of hash', file: 'md5', want: /HTPASSWD line 1 is not .* bcrypt/ },
]) {
  test(`an HTPASSWD ${name} is a failure to start`, LIMIT, async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'md5'), 'alice:$apr1$x$y\n');
    await refused(t, { STATE_DIR: join(folder, 'state'), HTPASSWD: join(folder, file) }, want);
  });
}

test('a setting that the Worker refuses is a failure to start that names it', LIMIT, async (t) => {
  await refused(
    t,
    { STATE_DIR: temporaryFolder(t), TOKEN_LIFETIME: 'long' },
    /TOKEN_LIFETIME is a number of seconds/,
  );
});

test('no secret can be read by others, from files or from the list of processes', LIMIT, async (t) => {
  const STATE_DIR = temporaryFolder(t);
  for (const name of ['run', 'state', 'blobs']) {
    mkdirSync(join(STATE_DIR, name));
    chmodSync(join(STATE_DIR, name), 0o755);
  }
  writeFileSync(join(STATE_DIR, 'run/config.capnp'), '', { mode: 0o644 });
  const named = { PUBLIC_URL: 'https://registry.example' };
  const issuer = { ...named, OIDC_ISSUER: 'https://issuer.example', OIDC_CLIENT_ID: 'registry' };
  const secrets = { OIDC_CLIENT_SECRET: 'secret-of-the-client', ADMIN_PASSWORD: 'secret-of-the-admin' };
  const command = await started(t, { STATE_DIR, ...issuer, ...secrets });
  const config = join(STATE_DIR, 'run/config.capnp');
  assert.equal(statSync(config).mode & 0o777, 0o600);
  for (const name of ['run', 'state', 'blobs']) {
    assert.equal(statSync(join(STATE_DIR, name)).mode & 0o777, 0o700, name);
  }
  const processes = [command.pid, ...descendants(command.pid)];
  const commands = execFileSync('ps', ['-ww', '-o', 'args=', '-p', processes.join(',')], {
    encoding: 'utf8',
  });
  assert.ok(commands.includes('config.capnp'));
  const open = readdirSync(STATE_DIR, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath === STATE_DIR)
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'));
  for (const secret of Object.values(secrets)) {
    assert.ok(readFileSync(config, 'utf8').includes(secret));
    for (const text of [commands, command.stdout, command.stderr, ...open]) assert.ok(!text.includes(secret));
  }
});
