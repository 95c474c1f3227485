// Pulling whole blobs, whether there or not.

import assert from 'node:assert/strict';
import { digest, unknownDigest } from '../../support/fixtures.ts';
import { expectBody, expectHeader, expectManifest, expectStatus } from '../answer.ts';
import { withBlob, withManifest } from '../given.ts';
import { type Row, section } from '../row.ts';

const end2 = { level: 'MUST', end: 'end-2' } as const;

export const pullBlobs: Row[] = section('Pulling blobs', [
  {
    ...end2,
    what: 'GET answers 200 with the bytes that were pushed',
    run: async (registry) => {
      const { repository, of, bytes } = await withBlob(registry);
      const answer = await repository.getBlob(of);
      expectStatus(answer, 200);
      expectBody(answer, bytes);
    },
  },
  {
    ...end2,
    what: 'a blob of several megabytes comes back whole',
    run: async (registry) => {
      const { repository, of, bytes } = await withBlob(registry, 6 * 1024 * 1024 + 1);
      const answer = await repository.getBlob(of);
      expectStatus(answer, 200);
      expectBody(answer, bytes);
    },
  },
  {
    ...end2,
    what: 'a blob of no bytes comes back as such',
    run: async (registry) => {
      const { repository, of } = await withBlob(registry, 0);
      const answer = await repository.getBlob(of);
      expectStatus(answer, 200);
      expectBody(answer, Buffer.alloc(0));
    },
  },
  {
    ...end2,
    since: 'main',
    what: 'GET names the digest in Docker-Content-Digest',
    run: async (registry) => {
      const { repository, of } = await withBlob(registry);
      expectHeader(await repository.getBlob(of), 'Docker-Content-Digest');
    },
  },
  {
    ...end2,
    what: 'Docker-Content-Digest, where it is sent, is a digest of the body',
    run: async (registry) => {
      const { repository, of, bytes } = await withBlob(registry);
      const said = (await repository.getBlob(of)).header('Docker-Content-Digest');
      const right = [undefined, digest(bytes), digest(bytes, 'sha512')];
      assert.ok(right.includes(said), `Docker-Content-Digest is ${said}, wanted ${of}`);
    },
  },
  {
    ...end2,
    what: 'GET of a digest that is not there answers 404',
    run: async (registry) => {
      const { repository } = await withBlob(registry);
      expectStatus(await repository.getBlob(unknownDigest()), 404);
    },
  },
  {
    ...end2,
    what: 'GET from a repository that is not there answers 404',
    run: async (registry) => expectStatus(await registry.repository().getBlob(unknownDigest()), 404),
  },
  {
    ...end2,
    what: 'a blob of one repository is not found in another, though its digest is known',
    run: async (registry) => {
      const { of } = await withBlob(registry);
      const { repository: other } = await withBlob(registry);
      expectStatus(await other.getBlob(of), 404);
      expectStatus(await other.headBlob(of), 404);
    },
  },
  {
    ...end2,
    what: 'a manifest is pulled as a manifest whether or not it can be had as a blob too',
    run: async (registry) => {
      const { repository, manifest } = await withManifest(registry);
      expectStatus(await repository.getBlob(manifest.digest), 200, 404);
      expectManifest(await repository.getManifest(manifest.digest), manifest);
    },
  },
  ...[
    'sha256:',
    'sha256:abc',
    `sha256:${'g'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`,
    'sha256',
    'md5:00',
  ].map(
    (malformed): Omit<Row, 'section'> => ({
      ...end2,
      what: `GET of the malformed digest ${malformed.slice(0, 20)} is refused with 400 or 404`,
      run: async (registry) => {
        const { repository } = await withBlob(registry);
        expectStatus(await repository.getBlob(malformed), 400, 404);
      },
    }),
  ),
]);
