// The ways in which the registry delivers blobs, each started with a proxy in front of it, and of its blob host where that is
// another origin: there the tests see what a client asks. Clients have to log in, so that there is an Authorization to lose.
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startMachine } from '../../../standalone/machine.ts';
import { BUNDLED_REGISTRY } from '../../support/setup.ts';
import { startSimulator } from '../../support/simulator.ts';
import { blobPath, type Descriptor, type Layout } from './layout.ts';
import { type Passed, RecordingProxy } from './proxy.ts';
import type { Registry } from './registry.ts';

export interface Way {
  name: string;
  blobHost: 'none' | 'own' | 'other';
  /** Whether downloads are broken off here, too: one way for each blob host is enough. */
  breaks: boolean;
  start(folder: string): Promise<Delivery>;
}

/** A registry that delivers in one way. Its `url` is the proxy's. */
export interface Delivery extends Registry {
  /** Without the proxy, to prepare a test. */
  direct: string;
  registry: RecordingProxy;
  /** The registry's again, where it is its own blob host. */
  blobHost: RecordingProxy;
}

export const USER = 'tests';
export const PASSWORD = 'secret';
/** Blobs below this are answered directly. */
export const REDIRECT_MIN_BYTES = 64 * 1024;

const AUTHORIZATION = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`;
const ENTRY = process.env[BUNDLED_REGISTRY] ?? join(import.meta.dirname, '../../../worker/index.ts');
/** The proxy asks for credentials, and the registry behind it for none. */
const OPEN = { AUTH: 'off' };

/** In seconds. */
const URL_LIFETIME = 1200;
const URL_WINDOW = URL_LIFETIME / 4;

export const ways: Way[] = [
  {
    name: 'streamed by one machine',
    blobHost: 'none',
    breaks: false,
    start: (folder) => onMachine(folder, { BLOB_DELIVERY: 'stream' }),
  },
  {
    name: 'redirected by one machine to itself',
    blobHost: 'own',
    breaks: true,
    start: (folder) => onMachine(folder, { BLOB_DELIVERY: 'redirect' }),
  },
  {
    name: 'redirected to the own blob host, in R2',
    blobHost: 'own',
    breaks: false,
    start: async (folder) => {
      const simulator = await startSimulator(ENTRY, folder, OPEN);
      return behindOneProxy(simulator);
    },
  },
  {
    name: 'redirected to a blob domain of another origin',
    blobHost: 'other',
    breaks: true,
    start: withBlobDomain,
  },
];

async function onMachine(folder: string, vars: Record<string, string>): Promise<Delivery> {
  const stateDir = join(folder, 'registry');
  return behindOneProxy(await startMachine({ port: 0, stateDir, entry: ENTRY, vars: { ...OPEN, ...vars } }));
}

async function behindOneProxy({ url, stop }: Registry): Promise<Delivery> {
  const proxy = await RecordingProxy.start({ authorization: AUTHORIZATION });
  proxy.target = url;
  return {
    url: proxy.url,
    direct: url,
    registry: proxy,
    blobHost: proxy,
    stop: async () => {
      await proxy.stop();
      await stop();
    },
  };
}

async function withBlobDomain(folder: string): Promise<Delivery> {
  // By another name than the registry's: clients keep Authorization where only the port is another.
  const blobHost = await RecordingProxy.start({ host: 'localhost' });
  const simulator = await startSimulator(
    ENTRY,
    folder,
    { ...OPEN, BLOB_HOST: blobHost.url, BLOB_URL_LIFETIME: String(URL_LIFETIME) },
    { blobDomain: { secrets: ['a secret of the tests'], ttl: URL_LIFETIME + URL_WINDOW } },
  );
  assert(simulator.blobDomain !== null);
  blobHost.target = simulator.blobDomain;
  const delivery = await behindOneProxy(simulator);
  return {
    ...delivery,
    blobHost,
    stop: async () => {
      await blobHost.stop();
      await delivery.stop();
    },
  };
}

/** Writes the credentials where docker and all the others look for them. */
export async function logIn(home: string, host: string): Promise<void> {
  const auth = Buffer.from(`${USER}:${PASSWORD}`).toString('base64');
  await mkdir(join(home, '.docker'), { recursive: true });
  await writeFile(join(home, '.docker', 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
}

/** Pushes a layout of one manifest as `latest`, without any client. */
export async function pushLayout(url: string, name: string, layout: Layout): Promise<void> {
  const send = async (
    path: string,
    method: string,
    bytes?: Uint8Array,
    type = 'application/octet-stream',
  ) => {
    const body = bytes === undefined ? null : new Uint8Array(bytes);
    const response = await fetch(new URL(path, url), { method, body, headers: { 'Content-Type': type } });
    assert(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
    return response;
  };
  for (const { digest } of await blobsOf(layout)) {
    const upload = (await send(`/v2/${name}/blobs/uploads/`, 'POST')).headers.get('Location') ?? '';
    const bytes = await readFile(blobPath(layout.path, digest));
    await send(`${upload}${upload.includes('?') ? '&' : '?'}digest=${digest}`, 'PUT', bytes);
  }
  const manifest = await readFile(blobPath(layout.path, layout.root.digest));
  await send(`/v2/${name}/manifests/latest`, 'PUT', manifest, layout.root.mediaType);
}

/** The blobs that a layout's manifest names. */
export async function blobsOf({ path, root }: Layout): Promise<Descriptor[]> {
  const manifest: { config: Descriptor; layers: Descriptor[] } = JSON.parse(
    await readFile(blobPath(path, root.digest), 'utf8'),
  );
  return [manifest.config, ...manifest.layers];
}

/** The GETs of a blob that were let in, at the registry, and at the blob host where they were redirected to. */
export function getsOf({ registry, blobHost }: Delivery, digest: string) {
  const asked = registry.passed.filter(
    ({ method, path, status }) =>
      method === 'GET' && status !== 401 && path.split('?')[0]?.endsWith(`/blobs/${digest}`),
  );
  const locations = new Set(asked.flatMap(({ location }) => (location === undefined ? [] : [location])));
  const served = blobHost.passed.filter(({ path }) => locations.has(`${blobHost.url}${path}`));
  return { asked, served };
}

/** Fails unless these blobs came in the way that they should have. Answers what was asked of the blob host. */
export function assertDelivered(
  way: Way,
  delivery: Delivery,
  blobs: readonly Pick<Descriptor, 'digest' | 'size'>[],
): Passed[] {
  const all: Passed[] = [];
  for (const { digest, size } of blobs) {
    const { asked, served } = getsOf(delivery, digest);
    const told = JSON.stringify({ asked, served }, null, 1);
    assert(asked.length > 0, `no client asked for ${digest}, of ${size} bytes`);
    // Without a login, there would be no Authorization that could go astray.
    assert(
      asked.every(({ authorization }) => authorization === AUTHORIZATION),
      told,
    );
    const redirected = way.blobHost !== 'none' && size >= REDIRECT_MIN_BYTES;
    assert(
      asked.every(({ status }) => (redirected ? status === 307 : status === 200 || status === 206)),
      told,
    );
    assert.equal(served.length, redirected ? asked.length : 0, told);
    assert(
      served.every(({ status }) => status === 200 || status === 206),
      told,
    );
    all.push(...served);
  }
  const heads = delivery.registry.passed.filter(({ method, status }) => method === 'HEAD' && status === 307);
  assert.deepEqual(heads, [], 'a HEAD is never redirected');
  if (way.blobHost === 'other') {
    const strays = delivery.blobHost.passed.filter(({ authorization }) => authorization !== undefined);
    assert.deepEqual(strays, [], 'the Authorization is for the registry alone');
  }
  return all;
}
