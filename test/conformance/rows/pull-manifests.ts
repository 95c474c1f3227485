// Pulling manifests by tag and by digest, whether there or not.

import {
  blob,
  imageIndex,
  imageManifest,
  type Manifest,
  mediaTypes,
  unknownDigest,
} from '../../support/fixtures.ts';
import { expectHeader, expectManifest, expectStatus } from '../answer.ts';
import { withManifest } from '../given.ts';
import { type Row, section } from '../row.ts';

const end3 = { level: 'MUST', end: 'end-3' } as const;

/** Each pushes a manifest of its own media type, which has to come back as it went. */
const kinds: { name: string; make: () => { manifest: Manifest; children: Manifest[] } }[] = [
  { name: 'an OCI image manifest', make: () => ({ manifest: imageManifest(), children: [] }) },
  { name: 'an OCI image index', make: () => indexOf(mediaTypes.imageIndex, imageManifest()) },
  { name: 'a Docker manifest', make: () => ({ manifest: dockerManifest(), children: [] }) },
  { name: 'a Docker manifest list', make: () => indexOf(mediaTypes.dockerManifestList, dockerManifest()) },
];
export const pullManifests: Row[] = section('Pulling manifests', [
  {
    ...end3,
    what: 'GET by tag answers 200 with the bytes that were pushed',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      expectManifest(await repository.getManifest('latest'), manifest);
    },
  },
  {
    ...end3,
    what: 'GET by digest answers 200 with the bytes that were pushed',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      expectManifest(await repository.getManifest(manifest.digest), manifest);
    },
  },
  {
    ...end3,
    since: 'main',
    what: 'GET by tag names the digest in Docker-Content-Digest',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      expectHeader(await repository.getManifest('latest'), 'Docker-Content-Digest', manifest.digest);
    },
  },
  {
    ...end3,
    since: 'main',
    what: 'GET by digest names the digest in Docker-Content-Digest',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      expectHeader(await repository.getManifest(manifest.digest), 'Docker-Content-Digest', manifest.digest);
    },
  },
  ...kinds.map(
    ({ name, make }): Omit<Row, 'section'> => ({
      level: 'SHOULD',
      end: 'end-3',
      what: `${name} comes back with the Content-Type it was pushed with, and no parameters`,
      run: async (registry) => {
        const repository = registry.repository();
        const { manifest, children } = make();
        for (const child of children) await repository.pushManifest(child);
        await repository.pushManifest(manifest, 'latest');
        const answer = await repository.getManifest('latest');
        expectManifest(answer, manifest);
        expectHeader(answer, 'Content-Type', manifest.mediaType);
      },
    }),
  ),
  ...[
    { name: 'no Accept header', headers: {} },
    { name: 'Accept: */*', headers: { Accept: '*/*' } },
    { name: 'an Accept header of its type alone', headers: { Accept: mediaTypes.imageManifest } },
    {
      name: 'several Accept lines, one of which has its type',
      headers: { Accept: [mediaTypes.dockerManifest, mediaTypes.imageIndex, mediaTypes.imageManifest] },
    },
  ].map(
    ({ name, headers }): Omit<Row, 'section'> => ({
      level: 'SHOULD',
      end: 'end-3',
      what: `a manifest is served to a request with ${name}`,
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry);
        expectManifest(await repository.send('GET', '/manifests/latest', { headers }), manifest);
      },
    }),
  ),
  {
    ...end3,
    what: 'GET of a tag that is not there answers 404',
    run: async (registry) => {
      const { repository } = await withManifest(registry);
      expectStatus(await repository.getManifest('missing'), 404);
    },
  },
  {
    ...end3,
    what: 'GET of a digest that is not there answers 404',
    run: async (registry) => {
      const { repository } = await withManifest(registry);
      expectStatus(await repository.getManifest(unknownDigest()), 404);
    },
  },
  {
    ...end3,
    what: 'GET from a repository that is not there answers 404',
    run: async (registry) => expectStatus(await registry.repository().getManifest('latest'), 404),
  },
  {
    ...end3,
    what: 'a manifest of one repository is not found in another, though its digest is known',
    run: async (registry) => {
      const { manifest } = await withManifest(registry);
      const { repository: other } = await withManifest(registry);
      expectStatus(await other.getManifest(manifest.digest), 404);
    },
  },
  {
    ...end3,
    what: 'a blob is not a manifest: GET of its digest as one answers 404',
    run: async (registry) => {
      const { repository } = await withManifest(registry);
      expectStatus(await repository.getManifest(await repository.pushBlob(blob())), 404);
    },
  },
]);

function dockerManifest(): Manifest {
  return imageManifest({
    mediaType: mediaTypes.dockerManifest,
    configMediaType: mediaTypes.dockerConfig,
    layerMediaType: mediaTypes.dockerLayer,
  });
}

function indexOf(mediaType: string, child: Manifest): { manifest: Manifest; children: Manifest[] } {
  const platform = { architecture: 'amd64', os: 'linux' };
  const fields = { manifests: [{ ...child.descriptor, platform }] };
  return { manifest: imageIndex([], { mediaType, fields }), children: [child] };
}
