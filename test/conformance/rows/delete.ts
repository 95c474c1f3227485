// Deleting tags, manifests and blobs. A registry may do without, and says so with 400 or 405.

import { imageManifest, unknownDigest } from '../../support/fixtures.ts';
import { type Answer, declineOn, expectBody, expectStatus } from '../answer.ts';
import { withBlob, withManifest } from '../given.ts';
import { type Row, section } from '../row.ts';

const end9 = { level: 'MUST', end: 'end-9' } as const;
const end10 = { level: 'MUST', end: 'end-10' } as const;

export const deletion: Row[] = [
  ...section('Deleting tags', [
    {
      ...end9,
      what: 'DELETE of a tag answers 202, or 400 or 405 where that is disabled',
      run: async (registry) => {
        const { repository } = await withManifest(registry, ['a']);
        expectStatus(await repository.deleteManifest('a'), 202, 400, 405);
      },
    },
    {
      ...end9,
      what: 'after it GET and HEAD of the tag answer 404',
      run: async (registry) => {
        const { repository } = await withManifest(registry, ['a']);
        isDeleted(await repository.deleteManifest('a'), 'tags');
        expectStatus(await repository.getManifest('a'), 404);
        expectStatus(await repository.headManifest('a'), 404);
      },
    },
    {
      ...end9,
      what: 'the manifest and its other tags stay',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a', 'b']);
        isDeleted(await repository.deleteManifest('a'), 'tags');
        for (const reference of ['b', manifest.digest]) {
          const answer = await repository.getManifest(reference);
          expectStatus(answer, 200);
          expectBody(answer, manifest.bytes);
        }
      },
    },
    {
      ...end9,
      level: 'SHOULD',
      what: 'DELETE of a tag that is not there answers 404',
      run: async (registry) => {
        const { repository } = await withManifest(registry, ['a']);
        const answer = await repository.deleteManifest('missing');
        declineOn(answer, [400, 405], 'deleting tags');
        expectStatus(answer, 404);
      },
    },
    {
      ...end9,
      what: 'a deleted tag can be pushed again',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a']);
        isDeleted(await repository.deleteManifest('a'), 'tags');
        await repository.pushManifest(manifest, 'a');
        expectStatus(await repository.getManifest('a'), 200);
      },
    },
  ]),

  ...section('Deleting Manifests', [
    {
      ...end9,
      what: 'DELETE of a manifest answers 202, or 400 or 405 where that is disabled',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a']);
        expectStatus(await repository.deleteManifest(manifest.digest), 202, 400, 405);
      },
    },
    {
      ...end9,
      what: 'after it GET and HEAD of the digest answer 404',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a']);
        isDeleted(await repository.deleteManifest(manifest.digest), 'manifests');
        expectStatus(await repository.getManifest(manifest.digest), 404);
        expectStatus(await repository.headManifest(manifest.digest), 404);
      },
    },
    {
      ...end9,
      what: 'after it every tag that pointed there answers 404',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a', 'b']);
        isDeleted(await repository.deleteManifest(manifest.digest), 'manifests');
        for (const tag of ['a', 'b']) expectStatus(await repository.getManifest(tag), 404);
      },
    },
    {
      ...end9,
      what: 'other manifests of the repository stay',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a']);
        const other = imageManifest();
        await repository.pushManifest(other, 'other');
        isDeleted(await repository.deleteManifest(manifest.digest), 'manifests');
        const answer = await repository.getManifest('other');
        expectStatus(answer, 200);
        expectBody(answer, other.bytes);
      },
    },
    {
      ...end9,
      what: 'the same manifest in another repository stays',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a']);
        const other = registry.repository();
        await other.pushManifest(manifest, 'a');
        isDeleted(await repository.deleteManifest(manifest.digest), 'manifests');
        expectStatus(await other.getManifest(manifest.digest), 200);
      },
    },
    {
      ...end9,
      level: 'SHOULD',
      what: 'DELETE of a manifest that is not there answers 404',
      run: async (registry) => {
        const { repository } = await withManifest(registry, ['a']);
        const answer = await repository.deleteManifest(unknownDigest());
        declineOn(answer, [400, 405], 'deleting manifests');
        expectStatus(answer, 404);
      },
    },
    {
      ...end9,
      what: 'DELETE in a repository that is not there answers 404',
      run: async (registry) => {
        const answer = await registry.repository().deleteManifest(unknownDigest());
        declineOn(answer, [400, 405], 'deleting manifests');
        expectStatus(answer, 404);
      },
    },
    {
      ...end9,
      what: 'a deleted manifest can be pushed again',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry, ['a']);
        isDeleted(await repository.deleteManifest(manifest.digest), 'manifests');
        await repository.pushManifest(manifest, 'a');
        const answer = await repository.getManifest(manifest.digest);
        expectStatus(answer, 200);
        expectBody(answer, manifest.bytes);
      },
    },
  ]),

  ...section('Deleting Blobs', [
    {
      ...end10,
      what: 'DELETE of a blob answers 202, or 400 or 405 where that is disabled',
      run: async (registry) => {
        const { repository, of } = await withBlob(registry);
        expectStatus(await repository.deleteBlob(of), 202, 400, 405);
      },
    },
    {
      ...end10,
      what: 'after it GET and HEAD of the blob answer 404',
      run: async (registry) => {
        const { repository, of } = await withBlob(registry);
        expectStatus(await repository.getBlob(of), 200);
        isDeleted(await repository.deleteBlob(of), 'blobs');
        expectStatus(await repository.getBlob(of), 404);
        expectStatus(await repository.headBlob(of), 404);
      },
    },
    {
      ...end10,
      what: 'DELETE of a blob that is not there answers 404',
      run: async (registry) => {
        const { repository } = await withBlob(registry);
        const answer = await repository.deleteBlob(unknownDigest());
        declineOn(answer, [400, 405], 'deleting blobs');
        expectStatus(answer, 404);
      },
    },
    {
      ...end10,
      what: 'DELETE of a blob in a repository that is not there answers 404',
      run: async (registry) => {
        const answer = await registry.repository().deleteBlob(unknownDigest());
        declineOn(answer, [400, 405], 'deleting blobs');
        expectStatus(answer, 404);
      },
    },
    {
      ...end10,
      what: 'the same blob in another repository stays',
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry);
        const other = registry.repository();
        await other.pushBlob(bytes);
        isDeleted(await repository.deleteBlob(of), 'blobs');
        const answer = await other.getBlob(of);
        expectStatus(answer, 200);
        expectBody(answer, bytes);
      },
    },
    {
      ...end10,
      what: 'a deleted blob can be pushed again',
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry);
        isDeleted(await repository.deleteBlob(of), 'blobs');
        await repository.pushBlob(bytes);
        const answer = await repository.getBlob(of);
        expectStatus(answer, 200);
        expectBody(answer, bytes);
      },
    },
  ]),
];

function isDeleted(answer: Answer, what: string): void {
  declineOn(answer, [400, 405], `deleting ${what}`);
  expectStatus(answer, 202);
}
