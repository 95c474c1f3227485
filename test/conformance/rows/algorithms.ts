// Digest algorithms besides sha256. A registry may do without; one that takes sha512 does so everywhere.

import {
  artifact,
  blob,
  digest,
  imageManifest,
  type Manifest,
  manifestFrom,
  mediaTypes,
  unknownDigest,
} from '../../support/fixtures.ts';
import { type Answer, declineOn, expectBody, expectHeader, expectRefused, expectStatus } from '../answer.ts';
import { listed } from '../referrers.ts';
import type { Registry } from '../registry.ts';
import { type Row, section } from '../row.ts';

const end4c = { level: 'SHOULD', end: 'end-4c', since: 'main' } as const;

export const algorithms: Row[] = [
  ...section('Pushing a blob in chunks', [
    {
      ...end4c,
      what: 'POST with digest-algorithm=sha512 begins an upload that PUT closes with a sha512 digest',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const of = digest(bytes, 'sha512');
        const posted = await repository.postUpload('?digest-algorithm=sha512');
        declineOn(posted, [400], 'sha512');
        expectStatus(posted, 202);
        const answer = await repository.putUpload(posted.location(), of, bytes);
        declineOn(answer, [400], 'sha512');
        expectStatus(answer, 201);
        isBytes(await registry.get(answer.location()), bytes);
        isBytes(await repository.getBlob(of), bytes);
      },
    },
    {
      ...end4c,
      what: 'an upload with digest-algorithm=sha512 can be sent in chunks',
      run: async (registry) => {
        const repository = registry.repository();
        const [one, two] = [blob(1000), blob(1001)];
        const bytes = Buffer.concat([one, two]);
        const posted = await repository.postUpload('?digest-algorithm=sha512');
        declineOn(posted, [400], 'sha512');
        const first = await repository.patchUpload(posted.location(), one, 0);
        expectStatus(first, 202);
        const second = await repository.patchUpload(first.location(), two, one.byteLength);
        expectStatus(second, 202);
        const answer = await repository.putUpload(second.location(), digest(bytes, 'sha512'));
        declineOn(answer, [400], 'sha512');
        expectStatus(answer, 201);
        isBytes(await registry.get(answer.location()), bytes);
      },
    },
    {
      ...end4c,
      what: 'POST with digest-algorithm=sha256 begins an upload like any other',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const location = await repository.startUpload('?digest-algorithm=sha256');
        expectStatus(await repository.putUpload(location, digest(bytes), bytes), 201);
      },
    },
    ...['md5', 'nosuch', 'SHA512', ''].map(
      (algorithm): Omit<Row, 'section'> => ({
        ...end4c,
        what: `POST with digest-algorithm=${algorithm} answers 400`,
        run: async (registry) => {
          expectStatus(await registry.repository().postUpload(`?digest-algorithm=${algorithm}`), 400);
        },
      }),
    ),
  ]),

  ...section('Pushing blobs', [
    {
      level: 'SHOULD',
      end: 'end-6',
      what: 'an upload that was begun without a word of sha512 can be closed with a sha512 digest',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const of = digest(bytes, 'sha512');
        const first = await repository.patchUpload(await repository.startUpload(), bytes);
        const answer = await repository.putUpload(first.location(), of);
        declineOn(answer, [400], 'sha512');
        expectStatus(answer, 201);
        isBytes(await repository.getBlob(of), bytes);
      },
    },
    {
      level: 'SHOULD',
      end: 'end-4b',
      what: 'a single POST takes a sha512 digest',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const of = digest(bytes, 'sha512');
        const answer = await repository.postUpload(`?digest=${of}`, bytes);
        declineOn(answer, [202, 400], 'sha512 in a single POST');
        expectStatus(answer, 201);
        isBytes(await repository.getBlob(of), bytes);
      },
    },
    {
      level: 'SHOULD',
      end: 'end-6',
      since: 'main',
      what: 'a sha512 digest of other content answers 400',
      run: async (registry) => {
        const repository = registry.repository();
        const location = await repository.startUpload();
        const of = unknownDigest('sha512');
        expectStatus(await repository.putUpload(location, of, blob()), 400);
        expectStatus(await repository.headBlob(of), 404, 400);
      },
    },
  ]),

  ...section('Pulling blobs', [
    {
      level: 'MUST',
      end: 'end-2',
      since: 'main',
      what: 'HEAD of a blob by its sha512 digest gives that digest and the size',
      run: async (registry) => {
        const { repository, of, bytes } = await withSha512(registry);
        const answer = await repository.headBlob(of);
        expectStatus(answer, 200);
        expectHeader(answer, 'Docker-Content-Digest', of);
        expectHeader(answer, 'Content-Length', String(bytes.byteLength));
      },
    },
    {
      level: 'SHOULD',
      end: 'end-2',
      what: 'a Range of a blob by its sha512 digest answers 206',
      run: async (registry) => {
        const { repository, of, bytes } = await withSha512(registry);
        const answer = await repository.getBlob(of, { Range: 'bytes=10-19' });
        expectStatus(answer, 206);
        expectBody(answer, bytes.subarray(10, 20));
      },
    },
    {
      level: 'MUST',
      end: 'end-2',
      what: 'GET of a sha512 digest that is not there answers 404',
      run: async (registry) => {
        const { repository } = await withSha512(registry);
        expectStatus(await repository.getBlob(unknownDigest('sha512')), 404);
      },
    },
    {
      level: 'MUST',
      end: 'end-2',
      what: 'the same bytes can be pushed under sha256 and sha512, and pulled under both',
      run: async (registry) => {
        const { repository, of, bytes } = await withSha512(registry);
        await repository.pushBlob(bytes);
        isBytes(await repository.getBlob(of), bytes);
        isBytes(await repository.getBlob(digest(bytes)), bytes);
      },
    },
  ]),

  ...section('Mounting a blob from another repository', [
    {
      level: 'MUST',
      end: 'end-11',
      what: 'a blob is mounted by its sha512 digest',
      run: async (registry) => {
        const { repository: source, of, bytes } = await withSha512(registry);
        const target = registry.repository();
        const answer = await target.postUpload(`?mount=${of}&from=${source.name}`);
        declineOn(answer, [202], 'mounting by sha512');
        expectStatus(answer, 201);
        isBytes(await target.getBlob(of), bytes);
      },
    },
  ]),

  ...section('Pushing Manifests', [
    {
      level: 'MUST',
      end: 'end-7a',
      what: 'a manifest that was pushed by its sha512 digest is pulled by it, and named so',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        const of = digest(manifest.bytes, 'sha512');
        await repository.pushBlobs(manifest);
        const answer = await repository.putManifest(of, manifest);
        declineOn(answer, [400], 'sha512');
        expectStatus(answer, 201);
        const pulled = await repository.getManifest(of);
        isBytes(pulled, manifest.bytes);
        expectHeader(pulled, 'Docker-Content-Digest', of);
      },
    },
    {
      level: 'MUST',
      end: 'end-7a',
      what: 'a manifest is not stored under the sha512 digest of another',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        const of = unknownDigest('sha512');
        await repository.pushBlobs(manifest);
        expectRefused(await repository.putManifest(of, manifest));
        expectRefused(await repository.getManifest(of));
      },
    },
    {
      level: 'MUST',
      end: 'end-7a',
      what: 'a manifest may refer to its blobs by sha512 digests',
      run: async (registry) => {
        const { repository, of, bytes } = await withSha512(registry);
        const layers = [{ mediaType: mediaTypes.layer, digest: of, size: bytes.byteLength }];
        const manifest = imageManifest({ fields: { layers } });
        await repository.pushManifest(manifest, 'latest');
        isBytes(await repository.getManifest('latest'), manifest.bytes);
      },
    },
  ]),

  ...section('Listing Referrers', [
    {
      level: 'MUST',
      end: 'end-12a',
      what: 'the referrers of a sha512 digest are listed',
      run: async (registry) => {
        const repository = registry.repository();
        const subject = bySha512(imageManifest());
        await repository.pushBlobs(subject);
        declineOn(await repository.putManifest(subject.digest, subject), [400], 'sha512');
        const referrer = artifact({ subject: subject.descriptor });
        await repository.pushManifest(referrer);
        const found = await listed(repository, subject.digest);
        if (found.length !== 1 || found[0]?.digest !== referrer.digest) {
          throw new Error(`${found.length} referrers of a sha512 digest are listed, wanted the one`);
        }
      },
    },
  ]),
];

async function withSha512(registry: Registry) {
  const repository = registry.repository();
  const bytes = blob(1000);
  const of = digest(bytes, 'sha512');
  const posted = await repository.postUpload('?digest-algorithm=sha512');
  declineOn(posted, [400], 'sha512');
  const answer = await repository.putUpload(posted.location(), of, bytes);
  declineOn(answer, [400], 'sha512');
  expectStatus(answer, 201);
  return { repository, bytes, of };
}

/** The same manifest, named by its sha512 digest. */
function bySha512(manifest: Manifest): Manifest {
  const of = digest(manifest.bytes, 'sha512');
  const named = manifestFrom(manifest.mediaType, manifest.bytes, manifest.blobs);
  return { ...named, digest: of, descriptor: { ...named.descriptor, digest: of } };
}

function isBytes(answer: Answer, bytes: Buffer): void {
  expectStatus(answer, 200);
  expectBody(answer, bytes);
}
