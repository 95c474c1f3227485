// What `npm start` makes of its environment: the settings of the Worker, those that are paths, and that no
// secret of them can be read by others on the machine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import bcrypt from 'bcryptjs';
import { StartFailure } from '../../standalone/failure.ts';
import { readSettings } from '../../standalone/settings.ts';
import { START_SETTINGS } from '../../worker/settings.ts';
import { Visitor } from '../support/visitor.ts';
import { refused, run, started } from './command.ts';
import { descendants, temporaryFolder } from './temporary.ts';

const LIMIT = { timeout: 30_000 };
const LINES = `alice:${bcrypt.hashSync('wonderland', 4)}\nbob:${bcrypt.hashSync('builder', 4).replace('$2b', '$2y')}\n`;

test('without any setting there are an address, a folder and an admin', async (t) => {
  const STATE_DIR = temporaryFolder(t);
  const { host, port, stateDir, certificate, isOpen, password, vars } = await readSettings({
    STATE_DIR,
    PORT: '0',
  });
  assert.deepEqual(
    { host, port, stateDir, certificate, isOpen, vars },
    {
      host: '127.0.0.1',
      port: 0,
      stateDir: STATE_DIR,
      certificate: null,
      isOpen: false,
      vars: { ADMIN_PASSWORD: password?.text },
    },
  );
});

test('settings of the Worker are handed on as they are, and others are not', async () => {
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
  const env = { ...handedOn, STATE_DIR: '/nowhere', PORT: '0', PATH: '/bin' };
  assert.deepEqual((await readSettings(env)).vars, handedOn);
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
  test(`a setting is refused: ${name}`, async () => {
    await assert.rejects(readSettings({ STATE_DIR: '/nowhere', AUTH: 'off', PORT: '0', ...env }), {
      name: 'StartFailure',
      message: want,
    });
  });
}

test('the default port is 8787', () => {
  assert.equal(START_SETTINGS.PORT.default, '8787');
});

const WRONG = {
  STATE_DIR: '/nowhere',
  HTPASSWD: '/missing',
  TOKEN_LIFETIME: '1',
  ADMIN_PASSWORD: 'password1234',
  PREFETCH: 'all',
};
for (const { name, env } of [
  { name: 'a port that is no number', env: { PORT: 'x', TLS_KEY: 'a.key' } },
  { name: 'a host of another machine', env: { HOST: '192.0.2.1', PORT: '-1', TLS_CERT: 'a.crt' } },
  { name: 'a host that has no address', env: { HOST: 'registry.invalid', TLS_CERT: '/a', TLS_KEY: '/b' } },
  {
    name: 'a file that is no certificate',
    env: { TLS_CERT: import.meta.filename, TLS_KEY: '/b', PORT: '0' },
  },
]) {
  test(`settings that are wrong are named together: ${name}, and others`, async () => {
    await assert.rejects(readSettings({ ...env, ...WRONG }), (error) => {
      assert.ok(error instanceof StartFailure);
      const { STATE_DIR: _, ...wrong } = WRONG;
      const names = [...Object.keys(wrong), ...Object.keys(env)].filter(
        (setting) => !(setting === 'PORT' && 'PORT' in env && env.PORT === '0'),
      );
      for (const setting of names) assert.match(error.message, new RegExp(`^- .*${setting}`, 'm'));
      assert.match(error.message, new RegExp(`^${names.length} settings are wrong:\n`));
      return true;
    });
  });
}

test('a port that is used is told with the other settings', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const env = {
    STATE_DIR: '/nowhere',
    PORT: String(port),
    TLS_CERT: '/a',
    TLS_KEY: '/b',
    TOKEN_LIFETIME: '1',
  };
  await refusedTogether(t, env, [`Port ${port} `, 'TLS_CERT', 'TLS_KEY', 'TOKEN_LIFETIME']);
});

/** The command ends with one message that has a line for each problem, and has made nothing. */
async function refusedTogether(
  t: TestContext,
  env: Record<string, string>,
  problems: string[],
): Promise<void> {
  const command = run(t, env);
  assert.equal(await command.code, 1);
  assert.equal(command.stdout, '');
  assert.match(command.stderr, new RegExp(`^${problems.length} settings are wrong:\n`));
  for (const problem of problems) assert.match(command.stderr, new RegExp(`^- ${problem}`, 'm'));
}

for (const { name, setting } of [
  { name: 'the path of a file', setting: (folder: string) => join(folder, 'htpasswd') },
  { name: 'the contents of a file', setting: () => LINES },
]) {
  test(`HTPASSWD may be ${name}, and those who are in it are let in`, LIMIT, async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'htpasswd'), LINES);
    const command = await started(t, { STATE_DIR: join(folder, 'state'), HTPASSWD: setting(folder) });
    const status = async (pair: string) => {
      return (await new Visitor(command, pair).send('GET', '/v2/')).status;
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
