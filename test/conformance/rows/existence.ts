// Asking whether something is there: HEAD says all that GET would, but for the body.

import { unknownDigest } from '../../support/fixtures.ts';
import { expectBody, expectHeader, expectRefused, expectStatus } from '../answer.ts';
import { withBlob, withManifest } from '../given.ts';
import { type Row, section } from '../row.ts';

const end2 = { level: 'MUST', end: 'end-2' } as const;
const end3 = { level: 'MUST', end: 'end-3' } as const;

export const existence: Row[] = section('Checking if content exists in the registry', [
  {
    ...end3,
    what: 'HEAD of a manifest answers 200 by tag and by digest, without a body',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      for (const reference of ['latest', manifest.digest]) {
        const answer = await repository.headManifest(reference);
        expectStatus(answer, 200);
        expectBody(answer, Buffer.alloc(0));
      }
    },
  },
  {
    ...end3,
    since: 'main',
    what: 'HEAD of a manifest names its digest in Docker-Content-Digest',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      for (const reference of ['latest', manifest.digest]) {
        expectHeader(await repository.headManifest(reference), 'Docker-Content-Digest', manifest.digest);
      }
    },
  },
  {
    ...end3,
    since: 'main',
    what: 'HEAD of a manifest gives its size in Content-Length',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      const size = String(manifest.bytes.byteLength);
      for (const reference of ['latest', manifest.digest]) {
        expectHeader(await repository.headManifest(reference), 'Content-Length', size);
      }
    },
  },
  {
    ...end3,
    level: 'SHOULD',
    what: 'HEAD of a manifest gives its media type in Content-Type',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      expectHeader(await repository.headManifest('latest'), 'Content-Type', manifest.mediaType);
    },
  },
  {
    ...end3,
    what: 'HEAD of a tag or a digest that is not there answers 404',
    run: async (registry) => {
      const { repository } = await withManifest(registry);
      expectStatus(await repository.headManifest('missing'), 404);
      expectStatus(await repository.headManifest(unknownDigest()), 404);
    },
  },
  {
    ...end3,
    what: 'HEAD in a repository that is not there answers 404',
    run: async (registry) => {
      expectStatus(await registry.repository().headManifest('latest'), 404);
      expectStatus(await registry.repository().headBlob(unknownDigest()), 404);
    },
  },
  {
    ...end2,
    what: 'HEAD of a blob answers 200, without a body',
    run: async (registry) => {
      const { repository, of } = await withBlob(registry);
      const answer = await repository.headBlob(of);
      expectStatus(answer, 200);
      expectBody(answer, Buffer.alloc(0));
    },
  },
  {
    ...end2,
    since: 'main',
    what: 'HEAD of a blob names its digest in Docker-Content-Digest',
    run: async (registry) => {
      const { repository, of } = await withBlob(registry);
      expectHeader(await repository.headBlob(of), 'Docker-Content-Digest', of);
    },
  },
  ...[0, 1, 1000].map(
    (size): Omit<Row, 'section'> => ({
      ...end2,
      since: 'main',
      what: `HEAD of a blob of ${size} bytes gives that size in Content-Length`,
      run: async (registry) => {
        const { repository, of } = await withBlob(registry, size);
        const answer = await repository.headBlob(of);
        expectStatus(answer, 200);
        expectHeader(answer, 'Content-Length', String(size));
      },
    }),
  ),
  {
    ...end2,
    what: 'HEAD of a blob that is not there answers 404',
    run: async (registry) => {
      const { repository } = await withBlob(registry);
      expectStatus(await repository.headBlob(unknownDigest()), 404);
    },
  },
  {
    ...end2,
    what: 'HEAD of a blob that never was pushed is no success for a malformed digest either',
    run: async (registry) => {
      const { repository } = await withBlob(registry);
      expectRefused(await repository.headBlob('sha256:abc'));
    },
  },
]);
