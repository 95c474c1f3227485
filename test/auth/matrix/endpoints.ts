/** Every endpoint of the distribution API with all that a request to it needs, which the admin prepares. */
import {
  artifact,
  blob,
  digest,
  imageIndex,
  type Manifest,
  mediaTypes,
  tagName,
} from '../../support/fixtures.ts';
import type { Sent, Visitor } from '../../support/visitor.ts';
import { type Action, isMissing, type Kind } from './model.ts';

export type Source = 'own' | 'private' | 'public' | 'missing';
export const SOURCES: Record<Source, string> = {
  own: 'own/source',
  private: 'other/source',
  public: 'public/source',
  missing: 'other/nothing',
};

/** A repository that a cell is about, and what is in it. */
export interface Target {
  name: string;
  kind: Kind;
  admin: Visitor;
  image: Manifest;
}

export interface Endpoint {
  name: string;
  need: Action | 'catalog' | 'none';
  /** What it answers where it is allowed: in a repository that is there, and in one that is missing. */
  want: [there: number, missing: number];
  /** The request, whose path begins after the repository's name. */
  request: (target: Target) => Promise<[method: string, path: string, sent?: Sent]>;
  /** The tags that it sets or deletes; `all` for what takes every tag along. */
  tags?: string[] | 'all';
  /** Of a mount: where the blob is, and what the request says of that. */
  mount?: { source: Source; from: 'named' | 'left out' | 'named, but not asked for' };
}

const unknown = digest(Buffer.from('nothing has this digest'));
const layerOf = ({ image, kind }: Target) => (isMissing(kind) ? unknown : digest(image.blobs[1] ?? blob()));
const manifestOf = ({ image, kind }: Target) => (isMissing(kind) ? unknown : image.digest);

const read = (name: string, pathOf: (target: Target) => string, missing = 404): Endpoint[] =>
  ['GET', 'HEAD'].map((method) => ({
    name: `${method} ${name}`,
    need: 'pull',
    want: [200, missing],
    request: async (target) => [method, pathOf(target)],
  }));

/** In an upload that the admin has begun. */
const inUpload = (method: string, status: number, whole: boolean): Endpoint => ({
  name: `${method} upload`,
  need: 'push',
  want: [status, status],
  request: async ({ name, admin }) => {
    const begun = await admin.must(202, 'POST', `/v2/${name}/blobs/uploads/`);
    const location = (begun.headers.get('Location') ?? '').slice(`/v2/${name}`.length);
    const body = blob();
    const path = whole ? `${location}&digest=${digest(body)}` : location;
    return method === 'PUT' || method === 'PATCH' ? [method, path, { body }] : [method, path];
  },
});

const mount = (source: Source, from: NonNullable<Endpoint['mount']>['from']): Endpoint => ({
  name: `POST mount of a blob of ${source}, source ${from}`,
  need: 'push',
  want: [201, 201],
  mount: { source, from },
  request: async ({ admin }) => {
    const query = new URLSearchParams({
      mount: source === 'missing' ? unknown : await pushBlob(admin, SOURCES[source]),
    });
    if (from !== 'left out') query.set('from', SOURCES[source]);
    return ['POST', `/blobs/uploads/?${query}`];
  },
});

const putManifest = (name: string, tags: string[], byDigest: boolean): Endpoint => ({
  name: `PUT manifest by ${name}`,
  need: 'push',
  want: [201, 201],
  tags,
  request: async () => {
    const { bytes, digest: of } = imageIndex([]);
    const path = byDigest ? `${of}?${new URLSearchParams(tags.map((tag) => ['tag', tag]))}` : tags[0];
    return ['PUT', `/manifests/${path}`, { body: bytes, headers: { 'Content-Type': mediaTypes.imageIndex } }];
  },
});

const deletion = (
  name: string,
  tags: string[] | 'all',
  pathOf: (target: Target) => Promise<string>,
): Endpoint => ({
  name: `DELETE ${name}`,
  need: 'delete',
  want: [202, 404],
  tags,
  request: async (target) => ['DELETE', await pathOf(target)],
});

/** Those of a repository. */
export const ENDPOINTS: Endpoint[] = [
  ...read('blob', (target) => `/blobs/${layerOf(target)}`),
  ...read('manifest by tag', () => '/manifests/v1'),
  ...read('manifest by digest', (target) => `/manifests/${manifestOf(target)}`),
  ...read('tags', () => '/tags/list'),
  ...read('referrers', (target) => `/referrers/${manifestOf(target)}`, 200),
  {
    name: 'POST upload',
    need: 'push',
    want: [202, 202],
    request: async () => ['POST', '/blobs/uploads/'],
  },
  {
    name: 'POST whole blob',
    need: 'push',
    want: [201, 201],
    request: async () => {
      const body = blob();
      return ['POST', `/blobs/uploads/?digest=${digest(body)}`, { body }];
    },
  },
  inUpload('PATCH', 202, false),
  inUpload('PUT', 201, true),
  inUpload('GET', 204, false),
  inUpload('DELETE', 204, false),
  ...(['own', 'private', 'public', 'missing'] as const).map((source) => mount(source, 'named')),
  ...(['own', 'private', 'public'] as const).map((source) => mount(source, 'left out')),
  ...(['own', 'private', 'public', 'missing'] as const).map((source) =>
    mount(source, 'named, but not asked for'),
  ),
  putManifest('tag', ['v2'], false),
  putManifest('tag pr-2', ['pr-2'], false),
  putManifest('digest', [], true),
  putManifest('digest, with tags', ['pr-3', 'v3'], true),
  ...(['v', 'pr'] as const).map((prefix) => {
    const tag = () => tagName(prefix);
    return deletion(`tag ${prefix}`, [`${prefix}-1`], async ({ name, kind, admin, image }) => {
      const made = tag();
      if (isMissing(kind)) return `/manifests/${made}`;
      const sent = { body: image.bytes, headers: { 'Content-Type': image.mediaType } };
      await admin.must(201, 'PUT', `/v2/${name}/manifests/${made}`, sent);
      return `/manifests/${made}`;
    });
  }),
  deletion('manifest', 'all', async ({ name, kind, admin }) => {
    if (isMissing(kind)) return `/manifests/${unknown}`;
    const { bytes, digest: of, mediaType } = imageIndex([]);
    const sent = { body: bytes, headers: { 'Content-Type': mediaType } };
    await admin.must(201, 'PUT', `/v2/${name}/manifests/${of}`, sent);
    return `/manifests/${of}`;
  }),
  deletion('blob', 'all', async ({ name, kind, admin }) =>
    isMissing(kind) ? `/blobs/${unknown}` : `/blobs/${await pushBlob(admin, name)}`,
  ),
];

/** Those of the registry. */
export const OF_ALL: Endpoint[] = ['GET', 'HEAD'].flatMap((method): Endpoint[] => [
  { name: `${method} /v2/`, need: 'none', want: [200, 200], request: async () => [method, '/v2/'] },
  {
    name: `${method} catalog`,
    need: 'catalog',
    want: [200, 200],
    request: async () => [method, '/v2/_catalog'],
  },
]);

export async function pushBlob(admin: Visitor, name: string): Promise<string> {
  const body = blob();
  await admin.must(201, 'POST', `/v2/${name}/blobs/uploads/?digest=${digest(body)}`, { body });
  return digest(body);
}

/** An image with the tag v1, and an artifact that refers to it. */
export async function pushImage(admin: Visitor, name: string, image: Manifest): Promise<void> {
  const signature = artifact({ subject: image.descriptor });
  for (const bytes of [...image.blobs, ...signature.blobs])
    await admin.must(201, 'POST', `/v2/${name}/blobs/uploads/?digest=${digest(bytes)}`, { body: bytes });
  for (const [manifest, tag] of [
    [image, 'v1'],
    [signature, signature.digest],
  ] as const) {
    const headers = { 'Content-Type': manifest.mediaType };
    await admin.must(201, 'PUT', `/v2/${name}/manifests/${tag}`, { body: manifest.bytes, headers });
  }
}
