// The registry over HTTPS: what it says, large bodies both ways, links that lead back to it, the addresses of
// its clients, and uploads that end before their time.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { buffer, json } from 'node:stream/consumers';
import { test } from 'node:test';
import { refused } from './command.ts';
import { begin, digestOf, MiB, open, pem, secured, withDigest } from './secured.ts';
import { descendants, temporaryFolder } from './temporary.ts';

const LIMIT = { timeout: 60_000 };

test(
  'the start message says https, how to log in, and what Docker needs for a self-signed certificate',
  LIMIT,
  async (t) => {
    const { command, pair } = await secured(t);
    const name = `localhost:${command.port}`;
    assert.equal(command.url, `https://${name}`);
    assert.ok(command.stdout.includes(`docker push ${name}/alpine\n`));
    const copy = `sudo mkdir -p /etc/docker/certs.d/${name} && sudo cp ${pair.cert} /etc/docker/certs.d/${name}/ca.crt`;
    assert.ok(command.stdout.includes(`${copy}\n`), command.stdout);
  },
);

test(
  'with HOST for a network a registry over HTTPS has the name of its certificate, and does not warn',
  LIMIT,
  async (t) => {
    const { command } = await secured(
      t,
      { HOST: '0.0.0.0', AUTH: 'on' },
      'DNS:*.example.com,DNS:registry.example',
    );
    assert.match(command.stdout, /docker login -u admin --password-stdin registry\.example:\d+ </);
    assert.ok(!command.stdout.includes('in clear'));
  },
);

test('the challenge of a registry over HTTPS leads back to it', LIMIT, async (t) => {
  const { command, call } = await secured(t, { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' });
  const refusal = await call({ path: '/v2/' });
  assert.equal(refusal.statusCode, 401);
  const challenge = `Bearer realm="${command.url}/token",service="localhost:${command.port}"`;
  assert.equal(refusal.headers['www-authenticate'], challenge);
  const answer = await call({
    path: '/token?scope=repository:a:pull,push',
    auth: 'admin:the password of the admin',
  });
  const { token } = (await json(answer)) as { token: string };
  const headers = { Authorization: `Bearer ${token}` };
  assert.equal((await call({ method: 'POST', path: '/v2/a/blobs/uploads/', headers })).statusCode, 202);
});

test('the redirect to a blob leads back to the registry over HTTPS', LIMIT, async (t) => {
  const { command, call } = await secured(t, { BLOB_DELIVERY: 'redirect' });
  const body = randomBytes(MiB);
  const path = withDigest(await begin(call), body);
  assert.equal((await call({ method: 'PUT', path }, [body])).statusCode, 201);
  const redirect = await call({ path: `/v2/a/blobs/${digestOf(body)}` });
  assert.equal(redirect.statusCode, 307);
  const location = `${redirect.headers.location}`;
  assert.ok(location.startsWith(`${command.url}/blob-host/`), location);
  assert.ok((await buffer(await call({ path: location.slice(command.url.length) }))).equals(body));
});

test('the audit log has the address of the client, and not one that it makes up', LIMIT, async (t) => {
  const { call } = await secured(t, { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' });
  // All of 127.0.0.0/8 is this machine on Linux, and only 127.0.0.1 elsewhere.
  const localAddress = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1';
  const headers = { 'X-Forwarded-For': '192.0.2.7', 'CF-Connecting-IP': '192.0.2.7' };
  const refusal = await call({
    path: '/token',
    auth: 'admin:wrong',
    headers,
    hostname: '127.0.0.1',
    localAddress,
  });
  assert.equal(refusal.statusCode, 401);
  let failed: { address: string } | undefined;
  // Events are written after the answer.
  while (failed === undefined) {
    const answer = await call({ path: '/api/v1/audit', auth: 'admin:the password of the admin' });
    assert.equal(answer.statusCode, 200);
    const { events } = (await json(answer)) as { events: { address: string; decision: string }[] };
    failed = events.find(({ decision }) => decision === 'failed');
  }
  assert.equal(failed.address, localAddress);
});

test(
  'a client cannot make a registry over HTTPS drop the headers of the proxy before it',
  LIMIT,
  async (t) => {
    const { call } = await secured(t, { AUTH: 'off' });
    const proxied = { 'X-Forwarded-For': '192.0.2.7', Via: '1.1 proxy' };
    for (const Connection of ['close', 'close, X-Forwarded-For, Via'])
      assert.equal((await call({ path: '/v2/', headers: { ...proxied, Connection } })).statusCode, 403);
  },
);

test('no port leads past the TLS server to workerd', LIMIT, async (t) => {
  const { command, folder } = await secured(t);
  const socket = statSync(join(folder, 'state/run/registry.sock'));
  assert.ok(socket.isSocket());
  assert.equal(statSync(join(folder, 'state/run')).mode & 0o777, 0o700);
  if (process.platform !== 'linux') return;
  for (const pid of descendants(command.pid)) assert.deepEqual(listening(pid), [], `process ${pid}`);
  assert.equal(listening(command.pid).length, 1);
});

/** The TCP sockets that a process listens on, by their inode: state 0A of /proc/net/tcp. */
function listening(pid: number): string[] {
  const inodes = ['tcp', 'tcp6'].flatMap((kind) =>
    readFileSync(`/proc/net/${kind}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A')
      .map((fields) => `socket:[${fields[9]}]`),
  );
  const files = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return files.filter((file) => inodes.includes(file));
}

test('a state folder with too long a path for a socket is no obstacle', LIMIT, async (t) => {
  const { call } = await secured(t, { STATE_DIR: join(temporaryFolder(t), 'a'.repeat(100)) });
  assert.equal((await call({ path: '/v2/' })).statusCode, 200);
});

for (const { name, headers } of [
  { name: 'with a length', headers: { 'Content-Length': 48 * MiB } },
  { name: 'in chunks', headers: { 'Transfer-Encoding': 'chunked' } },
]) {
  test(`a large body ${name} arrives whole, and comes back whole`, LIMIT, async (t) => {
    const { call } = await secured(t);
    const body = randomBytes(48 * MiB);
    const path = await begin(call);
    const pushed = await call({ method: 'PUT', path: withDigest(path, body), headers }, [body]);
    assert.equal(pushed.statusCode, 201);
    const pulled = await buffer(await call({ path: `/v2/a/blobs/${digestOf(body)}` }));
    assert.ok(pulled.equals(body));
  });
}

test('an upload that is refused before it has been sent is answered', LIMIT, async (t) => {
  const { command, pair } = await secured(t);
  const path = '/v2/a/blobs/uploads/no-such-upload?digest=sha256:0';
  const outgoing = open(command, pem(pair), { method: 'PUT', path, headers: { 'Content-Length': 2 ** 40 } });
  outgoing.on('error', () => {}).write(Buffer.alloc(MiB));
  const [answer] = await once(outgoing, 'response');
  assert.ok(answer.statusCode === 404 || answer.statusCode === 400, `${answer.statusCode}`);
  assert.match(`${await buffer(answer)}`, /BLOB_UPLOAD_UNKNOWN|DIGEST_INVALID/);
  outgoing.destroy();
});

test('a registry over HTTPS ends while an upload stalls', LIMIT, async (t) => {
  const { command, call, pair } = await secured(t);
  const path = await begin(call);
  const stalled = open(command, pem(pair), { method: 'PATCH', path, headers: { 'Content-Length': MiB } });
  // It is told that there was no answer, if there is time.
  const over = new Promise((resolve) => stalled.on('error', () => {}).on('close', resolve));
  stalled.on('response', (answer) => answer.on('error', () => {}).resume());
  await new Promise((resolve) => stalled.write('the first of two pieces', resolve));
  command.child.kill('SIGTERM');
  assert.equal(await command.code, 0);
  await over;
});

test('a registry over HTTPS refuses a port that is in use', LIMIT, async (t) => {
  const { command, pair, folder } = await secured(t);
  const paths = { TLS_CERT: pair.cert, TLS_KEY: pair.key, STATE_DIR: join(folder, 'other') };
  await refused(
    t,
    { ...paths, AUTH: 'off', PORT: `${command.port}` },
    /^Port \d+ on 127\.0\.0\.1 is already in use/,
  );
});
