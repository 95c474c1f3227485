// `npm run bench:cpu`: the CPU time of workerd for one request of each kind, for docs/cost.md. It runs on one machine, with access
// control and the audit log on, and divides the CPU time of the process by many requests. That includes the Durable Objects,
// SQLite and the disk, which Cloudflare bills separately, so it is an upper bound for the Worker.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startMachine } from '../standalone/machine.ts';

const TICKS_A_SECOND = 100; // Linux: USER_HZ.
const MiB = 1024 * 1024;
const PASSWORD = 'a password of the bench';

const stateDir = mkdtempSync(join(tmpdir(), 'longshore-cpu-'));
const machine = await startMachine({ stateDir, vars: { AUTH: 'on', ADMIN_PASSWORD: PASSWORD } });
let count = 0;
const basic = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`;
const TOKEN = '/token?service=longshore&scope=repository:bench/cpu:pull,push';
const { token } = (await (await send('GET', TOKEN, basic)).json()) as { token: string };
const bearer = `Bearer ${token}`;

try {
  const config = await pushBlob(randomBytes(64));
  const manifest = await pushManifest('latest', config);
  const measure = async (name: string, times: number, request: () => Promise<unknown>) => {
    for (let n = 0; n < times / 4; n++) await request();
    const before = cpuMs();
    for (let n = 0; n < times; n++) await request();
    console.log(`${name}: ${((cpuMs() - before) / times).toFixed(1)} ms`);
  };
  await measure('GET /token', 400, () => send('GET', TOKEN, basic));
  await measure('HEAD manifest by tag', 1000, () => send('HEAD', '/v2/bench/cpu/manifests/latest'));
  await measure('GET manifest by tag', 1000, () => send('GET', '/v2/bench/cpu/manifests/latest'));
  await measure('HEAD blob', 1000, () => send('HEAD', `/v2/bench/cpu/blobs/${config}`));
  await measure('POST and PUT of a blob of 64 bytes', 300, () => pushBlob(randomBytes(64)));
  await measure('manifest PUT', 300, () => pushManifest('latest', config));
  await measure('PUT of a blob of 64 MiB (hashed here; on Cloudflare R2 does that)', 4, () =>
    pushBlob(randomBytes(64 * MiB)),
  );
  await measure('PATCH of 64 MiB, and PUT', 4, () => patchBlob(randomBytes(64 * MiB)));
  await send('GET', `/v2/bench/cpu/manifests/${manifest}`);
} finally {
  await machine.stop();
  rmSync(stateDir, { recursive: true, force: true });
}

async function send(method: string, path: string, authorization = bearer, init: RequestInit = {}) {
  const headers = { ...(init.headers as Record<string, string>), Authorization: authorization };
  const response = await fetch(new URL(path, machine.url), { ...init, method, headers, redirect: 'manual' });
  if (response.status >= 400)
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return path === TOKEN ? response : response.arrayBuffer().then(() => response);
}

async function pushBlob(bytes: Buffer): Promise<string> {
  const digest = digestOf(bytes);
  const started = await send('POST', '/v2/bench/cpu/blobs/uploads/');
  await send('PUT', `${started.headers.get('Location')}&digest=${digest}`, bearer, {
    body: new Uint8Array(bytes),
  });
  return digest;
}

async function patchBlob(bytes: Buffer): Promise<void> {
  const started = await send('POST', '/v2/bench/cpu/blobs/uploads/');
  const body = new Uint8Array(bytes);
  const patched = await send('PATCH', `${started.headers.get('Location')}`, bearer, { body });
  await send('PUT', `${patched.headers.get('Location')}&digest=${digestOf(bytes)}`);
}

async function pushManifest(tag: string, config: string): Promise<string> {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const descriptor = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 64 };
  const annotations = { count: String(count++) };
  const text = JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [], annotations });
  await send('PUT', `/v2/bench/cpu/manifests/${tag}`, bearer, {
    body: text,
    headers: { 'Content-Type': mediaType },
  });
  return digestOf(Buffer.from(text));
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** CPU time of workerd, user and system. */
function cpuMs(): number {
  const fields = readFileSync(`/proc/${machine.pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_A_SECOND;
}
