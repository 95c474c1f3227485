/**
 * What the state folder of an earlier release holds, as `make.ts` puts it there. It is the same each time, so that a test
 * knows what must come back.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { digest, imageIndex, imageManifest, type Manifest } from '../support/fixtures.ts';
import { type Answer, type Sent, Visitor } from '../support/visitor.ts';

export const ADMIN = 'admin:the password of the admin';
export const BOB = 'bob:the password of bob the builder';
export const ROBOT = 'ci';
export const VARS = { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' };

/** Bytes that a name decides. */
export function bytesOf(name: string, size = 64): Buffer {
  const piece = createHash('sha256').update(name).digest();
  return Buffer.alloc(size, piece);
}

const image = (name: string, options: object = {}) =>
  imageManifest({
    config: Buffer.from(JSON.stringify({ os: 'linux', name })),
    layers: [bytesOf(`layer of ${name}`), bytesOf('a layer that all images have', 1000)],
    ...options,
  });

const first = image('first');
const second = image('second');
const elsewhere = bytesOf('a layer that may be elsewhere');

export const TAGGED: { repository: string; tag: string; manifest: Manifest }[] = [
  { repository: 'team/app', tag: 'v1', manifest: first },
  { repository: 'team/app', tag: 'v2', manifest: second },
  { repository: 'team/app', tag: 'latest', manifest: second },
  {
    repository: 'team/app',
    tag: 'multi',
    manifest: imageIndex([first, second], { annotations: { 'org.example.fixture': 'multi' } }),
  },
  { repository: 'public/tools', tag: 'v1', manifest: image('public tools') },
  {
    repository: 'team/chunked',
    tag: 'v1',
    manifest: image('chunked', { layers: [bytesOf('chunks', 3_000_000)] }),
  },
];
export const SIGNATURE = image('signature', {
  subject: first.descriptor,
  artifactType: 'application/vnd.example.signature',
  annotations: { 'org.example.of': 'first' },
});
/** Its layer may be fetched from elsewhere, and was pushed all the same. */
export const FOREIGN = {
  layer: elsewhere,
  manifest: imageManifest({
    config: Buffer.from('{"name":"foreign"}'),
    layers: [],
    fields: {
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          digest: digest(elsewhere),
          size: elsewhere.length,
          urls: ['https://layers.example/1'],
        },
      ],
    },
  }),
};
/** Was tagged `old`, and deleted. */
export const DELETED = image('deleted');

/** Pushes to a registry, and pulls from it, with `name:password`. */
export class Asking {
  readonly #visitor: Visitor;

  constructor(url: string, as: string) {
    this.#visitor = new Visitor({ url }, as);
  }

  send(method: string, path: string): Promise<Answer> {
    return this.#visitor.send(method, path);
  }

  /** Gives the Location, or else the body. */
  async want(status: number, method: string, path: string, sent: Sent = {}): Promise<string> {
    const { headers, text } = await this.#visitor.must(status, method, path, sent);
    return headers.get('Location') ?? text;
  }

  async pushBlob(repository: string, bytes: Buffer): Promise<void> {
    const location = await this.want(202, 'POST', `/v2/${repository}/blobs/uploads/`);
    await this.want(201, 'PUT', `${location}&digest=${digest(bytes)}`, { body: bytes });
  }

  async pushInChunks(repository: string, bytes: Buffer, chunks: number): Promise<void> {
    let location = await this.want(202, 'POST', `/v2/${repository}/blobs/uploads/`);
    const size = Math.ceil(bytes.length / chunks);
    for (let at = 0; at < bytes.length; at += size)
      location = await this.want(202, 'PATCH', location, { body: bytes.subarray(at, at + size) });
    await this.want(201, 'PUT', `${location}&digest=${digest(bytes)}`);
  }

  async pushManifest(repository: string, reference: string, { bytes, mediaType }: Manifest): Promise<void> {
    const headers = { 'Content-Type': mediaType };
    await this.want(201, 'PUT', `/v2/${repository}/manifests/${reference}`, { body: bytes, headers });
  }

  async pull(path: string): Promise<Buffer> {
    return (await this.#visitor.must(200, 'GET', path)).bytes;
  }
}

/** Fills a registry. The secret of the robot's token, which no one else knows, is in the answer. */
export async function fill(url: string): Promise<{ robot: string }> {
  const admin = new Asking(url, ADMIN);
  for (const { repository, tag, manifest } of TAGGED) {
    for (const bytes of manifest.blobs) {
      if (bytes.length > 1_000_000) await admin.pushInChunks(repository, bytes, 2);
      else await admin.pushBlob(repository, bytes);
    }
    await admin.pushManifest(repository, tag, manifest);
  }
  for (const bytes of [...SIGNATURE.blobs, ...DELETED.blobs]) await admin.pushBlob('team/app', bytes);
  await admin.pushManifest('team/app', SIGNATURE.digest, SIGNATURE);
  await admin.pushManifest('team/app', 'old', DELETED);
  await admin.want(202, 'DELETE', `/v2/team/app/manifests/${DELETED.digest}`);
  for (const bytes of [...FOREIGN.manifest.blobs, FOREIGN.layer]) await admin.pushBlob('team/foreign', bytes);
  await admin.pushManifest('team/foreign', 'v1', FOREIGN.manifest);
  const mount = `/v2/team/mounted/blobs/uploads/?mount=${digest(bytesOf('layer of first'))}&from=team/app`;
  await admin.want(201, 'POST', mount);
  // Left half done, without a manifest, or given up.
  const half = await admin.want(202, 'POST', '/v2/team/half/blobs/uploads/');
  await admin.want(202, 'PATCH', half, { body: bytesOf('half', 1_500_000) });
  await admin.pushBlob('team/half', bytesOf('no manifest names this'));
  await admin.want(204, 'DELETE', await admin.want(202, 'POST', '/v2/team/half/blobs/uploads/'));
  const [name, password] = BOB.split(/:(.*)/s);
  await admin.want(201, 'POST', '/api/v1/users', { json: { name, password, groups: ['builders'] } });
  await admin.want(201, 'POST', '/api/v1/rules', {
    json: { subject: 'group:builders', role: 'writer', repositories: 'team/*' },
  });
  await admin.want(201, 'POST', '/api/v1/rules', {
    json: { subject: 'anonymous', role: 'reader', repositories: 'public/*' },
  });
  const policy = { kind: 'networks', repositories: 'internal/**', networks: ['192.0.2.0/24'] };
  await admin.want(201, 'POST', '/api/v1/policies', { json: policy });
  const made = await admin.want(201, 'POST', '/api/v1/tokens', {
    json: { name: ROBOT, grants: [{ role: 'writer', repositories: 'team/app' }] },
  });
  const bob = new Asking(url, BOB);
  assert.equal((await bob.send('GET', '/v2/team/app/tags/list')).status, 200);
  assert.equal((await new Asking(url, 'bob:wrong').send('GET', '/v2/')).status, 401);
  return { robot: JSON.parse(made).token };
}
