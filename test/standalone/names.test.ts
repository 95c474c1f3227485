// What the names of repositories cost on one machine: none that is only asked for leaves a file or holds a descriptor, and
// with few descriptors the registry says that it is busy, and goes on.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startMachine } from '../../standalone/machine.ts';
import { blob, digest } from '../support/fixtures.ts';
import { Home } from '../support/homes.ts';
import { COMMAND, spawned } from './command.ts';
import { temporaryFolder, until } from './temporary.ts';

const LIMIT = { timeout: 120_000 };
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
const DIGEST = `sha256:${'a'.repeat(64)}`;

/** Requests that only ask, and the statuses that they may have for a name that does not exist. */
const READS: [method: string, path: (name: string) => string, statuses: number[]][] = [
  ['GET', (name) => `/v2/${name}/tags/list`, [404]],
  ['GET', (name) => `/v2/${name}/manifests/latest`, [404]],
  ['HEAD', (name) => `/v2/${name}/manifests/${DIGEST}`, [404]],
  ['HEAD', (name) => `/v2/${name}/blobs/${DIGEST}`, [404]],
  ['GET', (name) => `/v2/${name}/blobs/${DIGEST}`, [404]],
  ['GET', (name) => `/v2/${name}/referrers/${DIGEST}`, [200]],
  ['DELETE', (name) => `/v2/${name}/manifests/${DIGEST}`, [404]],
  ['DELETE', (name) => `/v2/${name}/manifests/latest`, [404]],
  ['DELETE', (name) => `/v2/${name}/blobs/${DIGEST}`, [404]],
  ['POST', (name) => `/v2/there/blobs/uploads/?mount=${DIGEST}&from=${name}`, [202]],
];

async function statusOf(url: string, method: string, body?: string): Promise<Response> {
  const response = await fetch(url, {
    method,
    ...(body && { body, headers: { 'Content-Type': INDEX_TYPE } }),
  });
  await response.arrayBuffer();
  return response;
}

async function askFor(url: string, name: string, reads = READS): Promise<void> {
  for (const [method, path, statuses] of reads) {
    const { status } = await statusOf(url + path(name), method);
    assert.ok(statuses.includes(status), `${method} ${path(name)}: ${status}`);
  }
}

/** Pushes an index without manifests: a repository in one request. */
function push(url: string, name: string): Promise<Response> {
  const body = JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [] });
  return statusOf(`${url}/v2/${name}/manifests/latest`, 'PUT', body);
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[0-9a-f]{64}\.sqlite$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

function descriptorsOf(pid: number): number {
  return process.platform === 'linux' ? readdirSync(`/proc/${pid}/fd`).length : 0;
}

async function running(t: TestContext, stateDir: string) {
  const machine = await startMachine({ stateDir, vars: { AUTH: 'off' } });
  t.after(() => machine.kill());
  return machine;
}

test('300 names that are only asked for leave no file and hold no descriptor', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const { url, pid } = await running(t, stateDir);
  await push(url, 'there');
  await askFor(url, 'made-up/first');
  const files = filesBelow(join(stateDir, 'state'));
  const descriptors = descriptorsOf(pid);
  for (let at = 0; at < 300; at++)
    await askFor(url, `made-up/${at}`, READS.slice(at % READS.length).slice(0, 1));
  assert.deepEqual(filesBelow(join(stateDir, 'state')), files);
  assert.ok(
    descriptorsOf(pid) <= descriptors + 10,
    `${descriptorsOf(pid)} are open, and were ${descriptors}`,
  );
});

test('uploads that are begun and only asked about leave no file of their own', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const { url } = await running(t, stateDir);
  await push(url, 'there');
  const ask = async () => {
    const begun = await fetch(`${url}/v2/there/blobs/uploads/`, { method: 'POST' });
    assert.equal((await fetch(new URL(begun.headers.get('Location') ?? '', url))).status, 204);
  };
  await ask();
  const files = filesBelow(join(stateDir, 'state'));
  for (let at = 0; at < 20; at++) await ask();
  assert.deepEqual(filesBelow(join(stateDir, 'state')), files);
});

test('what was pushed is there at once, and after a start', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const first = await running(t, stateDir);
  const name = `pushed/${randomUUID()}`;
  await askFor(first.url, name);
  assert.equal((await push(first.url, name)).status, 201);
  assert.equal((await statusOf(`${first.url}/v2/${name}/tags/list`, 'GET')).status, 200);
  await first.stop();
  const second = await running(t, stateDir);
  assert.equal((await statusOf(`${second.url}/v2/${name}/manifests/latest`, 'HEAD')).status, 200);
});

test(
  'with few descriptors a registry that is asked for many repositories answers 503, and goes on',
  LIMIT,
  async (t) => {
    const env = { STATE_DIR: temporaryFolder(t), AUTH: 'off' };
    const command = spawned(
      t,
      '/bin/sh',
      ['-c', 'ulimit -n 300; exec "$0" "$1"', process.execPath, COMMAND],
      env,
    );
    await until(t, () => command.stdout.includes('docker pull') || command.child.exitCode !== null);
    const url = /http:\/\/\S+:\d+/.exec(command.stdout)?.[0] ?? '';
    const answers: Response[] = [];
    // Several at a time, so that they come faster than workerd closes the files of those that are idle.
    for (let at = 0; at < 160; at += 8) {
      answers.push(
        ...(await Promise.all(Array.from({ length: 8 }, (_, next) => push(url, `many/${at + next}`)))),
      );
    }
    const refused = answers.filter(({ status }) => status !== 201);
    assert.notEqual(refused.length, 0);
    assert.ok(refused.every(({ status, headers }) => status === 503 && headers.get('Retry-After') === '15'));
    const last = answers.findLastIndex(({ status }) => status === 201);
    assert.equal((await statusOf(`${url}/v2/many/${last}/tags/list`, 'GET')).status, 200);
  },
);

test('a repository that is emptied leaves no file at the next start', LIMIT, async (t) => {
  // With an undo window, the trash keeps it that long.
  const home = new Home('disk', { vars: { UNDO_DAYS: '0' } });
  await home.start();
  t.after(() => home.stop());
  await push(home.url, 'to/be/emptied');
  await push(home.url, 'to/stay');
  const body = JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [] });
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  assert.equal((await statusOf(`${home.url}/v2/to/be/emptied/manifests/${digest}`, 'DELETE')).status, 202);
  await home.ring('REPOSITORY', 'to/be/emptied');
  assert.ok(await home.isEmpty('REPOSITORY', 'to/be/emptied'));
  const repositories = () => filesBelow(join(home.stateDir, 'state/longshore-repository'));
  assert.equal(repositories().length, 2);
  await home.restart();
  assert.equal(repositories().length, 1);
  // It is listed again when it is pushed again.
  assert.equal((await push(home.url, 'to/be/emptied')).status, 201);
  await home.ring('REPOSITORY', 'to/be/emptied');
  const { repositories: listed } = (await (await fetch(`${home.url}/v2/_catalog`)).json()) as {
    repositories: string[];
  };
  assert.deepEqual(listed, ['to/be/emptied', 'to/stay']);
});

test('names that are only asked for store nothing on Cloudflare', LIMIT, async (t) => {
  const home = new Home('r2');
  await home.start();
  t.after(() => home.stop());
  await push(home.url, 'there');
  for (let at = 0; at < 5; at++) {
    await askFor(home.url, `made-up/${at}`);
    assert.ok(await home.isEmpty('REPOSITORY', `made-up/${at}`));
  }
});

test('uploads leave no files of their own', LIMIT, async (t) => {
  const stateDir = temporaryFolder(t);
  const { url } = await running(t, stateDir);
  const pushInChunks = async (bytes: Uint8Array) => {
    const begun = await fetch(`${url}/v2/there/blobs/uploads/`, { method: 'POST' });
    const patch = await fetch(new URL(begun.headers.get('Location') ?? '', url), {
      method: 'PATCH',
      body: bytes as BodyInit,
    });
    const target = new URL(`${patch.headers.get('Location')}&digest=${digest(bytes)}`, url);
    assert.equal((await fetch(target, { method: 'PUT' })).status, 201);
  };
  await pushInChunks(blob());
  const files = filesBelow(join(stateDir, 'state'));
  for (let n = 0; n < 10; n++) await pushInChunks(blob());
  assert.deepEqual(filesBelow(join(stateDir, 'state')), files);
});
