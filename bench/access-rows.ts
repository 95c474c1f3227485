// The cost of access control: requests with credentials beside the same requests to an open registry, and the issuing of tokens.
// Each credential is used once before the measurement starts, as by a client that has worked for a while.
import { requestHead } from './client.ts';
import { freshBlob, KiB, manifestOf } from './content.ts';
import { requestsPerSecond } from './load.ts';
import { first, warm } from './place.ts';
import type { Group, Place, Proof, Row, Scale } from './row.ts';

const TAG = 'latest';
const USER = { name: 'bench', password: 'a password of the bench' };
const GRANT = { role: 'writer', repositories: 'bench/**' };

export function accessRows({ roundMs }: Scale): Row[] {
  const requests: Group = { besideGuarded: ['open', 'floor'], prepare };
  const tokens: Group = { besideGuarded: ['floor'], prepare };
  const row = (name: string, group: Group, proof: Proof, line: (place: Place) => string): Row => ({
    name,
    unit: group === tokens ? 'tokens/s' : 'requests/s',
    group,
    measure: (place) => {
      const head = requestHead(line(place), new URL(place.url).host, {
        Accept: place.manifest.mediaType,
        ...place.headers[proof],
      });
      const options = { durationMs: roundMs, status: 200, bodiless: name.startsWith('HEAD') };
      return requestsPerSecond(place.url, [Buffer.from(head)], options);
    },
  });
  const manifest = ({ prefix, manifest: { digest } }: Place) => `/v2/${prefix}/manifests/${digest}`;
  const token = ({ prefix }: Place) => `GET /token?scope=repository:${prefix}:pull,push`;
  return [
    row('GET manifest by digest, Bearer', requests, 'Bearer', (place) => `GET ${manifest(place)}`),
    row('GET manifest by digest, Basic', requests, 'robot', (place) => `GET ${manifest(place)}`),
    row('HEAD manifest by digest, Bearer', requests, 'Bearer', (place) => `HEAD ${manifest(place)}`),
    row('HEAD manifest by digest, Basic', requests, 'robot', (place) => `HEAD ${manifest(place)}`),
    row('HEAD manifest by tag, Bearer', requests, 'Bearer', ({ prefix }) => {
      return `HEAD /v2/${prefix}/manifests/${TAG}`;
    }),
    row('HEAD blob, Bearer', requests, 'Bearer', ({ prefix, blobs }) => {
      return `HEAD /v2/${prefix}/blobs/${first(blobs).digest}`;
    }),
    row('token for a robot', tokens, 'robot', token),
    row('token for a user', tokens, 'user', token),
  ];
}

async function prepare({ url, admin }: Parameters<Group['prepare']>[0]): Promise<Place> {
  const blobs = [freshBlob(2 * KiB), freshBlob(20 * KiB)];
  const manifest = manifestOf(blobs);
  const place = await warm(
    url,
    async (client) => {
      for (const blob of blobs) await client.pushInOnePut(blob);
      await client.pushManifest(manifest, TAG);
    },
    admin === undefined ? {} : { Authorization: admin },
  );
  const headers = admin === undefined ? {} : await headersOf(url, place.prefix, admin);
  return { ...place, blobs, manifest, headers };
}

/** Creates a user and a robot with access to the place, and uses both credentials once. */
async function headersOf(url: string, prefix: string, admin: string): Promise<Place['headers']> {
  const make = async (what: string, body: unknown): Promise<{ token?: string }> => {
    const headers = { Authorization: admin, 'Content-Type': 'application/json' };
    return json(`${url}/api/v1/${what}`, { method: 'POST', headers, body: JSON.stringify(body) });
  };
  const { token: secret } = await make('tokens', { name: 'bench', grants: [GRANT] });
  await make('users', USER);
  await make('rules', { ...GRANT, subject: `user:${USER.name}` });
  const robot = { Authorization: `Basic ${btoa(`robot:${secret}`)}` };
  const user = { Authorization: `Basic ${btoa(`${USER.name}:${USER.password}`)}` };
  const issue = (headers: Record<string, string>): Promise<{ token?: string }> =>
    json(`${url}/token?scope=repository:${prefix}:pull,push`, { headers });
  await issue(user);
  const { token } = await issue(robot);
  return { Bearer: { Authorization: `Bearer ${token}` }, robot, user };
}

async function json(url: string, init: RequestInit): Promise<{ token?: string }> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as { token?: string };
}
