// Listing referrers: the manifests that name another one as their subject.

import assert from 'node:assert/strict';
import { artifact, imageIndex, imageManifest, mediaTypes, unknownDigest } from '../../support/fixtures.ts';
import { declineOn, expectEqual, expectHeader, expectStatus } from '../answer.ts';
import { isSet, listed, only, withSubject } from '../referrers.ts';
import { type Row, section } from '../row.ts';

const end12a = { level: 'MUST', end: 'end-12a' } as const;

const sbom = 'application/vnd.example.sbom.v1+json';

export const referrers: Row[] = section('Listing Referrers', [
  {
    ...end12a,
    what: 'GET answers 200 for a manifest that is there',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry, 'whether or not it is supported');
      expectStatus(await repository.referrers(subject.digest), 200);
    },
  },
  {
    ...end12a,
    what: 'a manifest without referrers has an empty list',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      expectEqual(await listed(repository, subject.digest), []);
    },
  },
  {
    ...end12a,
    what: 'a digest that is not there has an empty list, and no 404',
    run: async (registry) => {
      const { repository } = await withSubject(registry);
      expectEqual(await listed(repository, unknownDigest()), []);
    },
  },
  {
    ...end12a,
    what: 'the Content-Type is that of an image index',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      expectHeader(await repository.referrers(subject.digest), 'Content-Type', mediaTypes.imageIndex);
    },
  },
  {
    ...end12a,
    what: 'the body is an image index: schemaVersion 2, its mediaType, and manifests',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const body = (await repository.referrers(subject.digest)).json();
      assert.ok(typeof body === 'object' && body !== null);
      const { schemaVersion, mediaType } = { schemaVersion: 0, mediaType: '', ...body };
      expectEqual(schemaVersion, 2);
      expectEqual(mediaType, mediaTypes.imageIndex);
    },
  },
  ...['sha256:abc', `sha256:${'z'.repeat(64)}`, 'nodigest'].map(
    (malformed): Omit<Row, 'section'> => ({
      ...end12a,
      what: `the malformed digest ${malformed.slice(0, 10)} answers 400`,
      run: async (registry) => {
        const { repository } = await withSubject(registry);
        expectStatus(await repository.referrers(malformed), 400);
      },
    }),
  ),
  {
    ...end12a,
    what: 'a referrer is listed with its media type, digest and size',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const referrer = artifact({ subject: subject.descriptor });
      await repository.pushManifest(referrer);
      const found = await only(repository, subject.digest);
      const { mediaType, digest, size } = found;
      expectEqual({ mediaType, digest, size }, referrer.descriptor);
    },
  },
  {
    ...end12a,
    what: 'a referrer is listed with its artifactType',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      await repository.pushManifest(artifact({ subject: subject.descriptor, artifactType: sbom }));
      expectEqual((await only(repository, subject.digest)).artifactType, sbom);
    },
  },
  {
    ...end12a,
    what: "an image manifest without one is listed with its config's media type as artifactType",
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const configMediaType = 'application/vnd.example.config.v1+json';
      await repository.pushManifest(imageManifest({ subject: subject.descriptor, configMediaType }));
      expectEqual((await only(repository, subject.digest)).artifactType, configMediaType);
    },
  },
  {
    ...end12a,
    what: "an image manifest with an empty one is listed with its config's media type as artifactType",
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const configMediaType = 'application/vnd.example.config.v1+json';
      await repository.pushManifest(
        imageManifest({ subject: subject.descriptor, configMediaType, artifactType: '' }),
      );
      expectEqual((await only(repository, subject.digest)).artifactType, configMediaType);
    },
  },
  {
    ...end12a,
    what: 'an image index is listed with its artifactType',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const index = imageIndex([], { subject: subject.descriptor, artifactType: sbom });
      await repository.pushManifest(index);
      const found = await only(repository, subject.digest);
      expectEqual(found.digest, index.digest);
      expectEqual(found.artifactType, sbom);
    },
  },
  {
    ...end12a,
    what: 'an image index without one is listed without artifactType',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      await repository.pushManifest(imageIndex([], { subject: subject.descriptor }));
      assert.ok(!('artifactType' in (await only(repository, subject.digest))), 'there is an artifactType');
    },
  },
  {
    ...end12a,
    what: 'a referrer is listed with all its annotations',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const annotations = { 'org.example.key': 'value', 'org.example.other': 'wért' };
      await repository.pushManifest(artifact({ subject: subject.descriptor, annotations }));
      expectEqual((await only(repository, subject.digest)).annotations, annotations);
    },
  },
  {
    ...end12a,
    what: 'every referrer is listed once, whether pushed by digest, by tag or twice',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const [one, two, three] = [1, 2, 3].map(() => artifact({ subject: subject.descriptor }));
      assert.ok(one && two && three);
      await repository.pushManifest(one);
      await repository.pushManifest(two, 'tagged');
      await repository.pushManifest(three);
      await repository.pushManifest(three, 'tagged-too');
      isSet(await listed(repository, subject.digest), [one, two, three]);
    },
  },
  {
    ...end12a,
    what: 'a referrer stays listed when its tag moves away',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const referrer = artifact({ subject: subject.descriptor });
      await repository.pushManifest(referrer, 'moving');
      await repository.pushManifest(imageManifest(), 'moving');
      isSet(await listed(repository, subject.digest), [referrer]);
    },
  },
  {
    ...end12a,
    what: 'a referrer that was pushed before its subject is listed, before and after',
    run: async (registry) => {
      const { repository } = await withSubject(registry);
      const subject = imageManifest();
      const referrer = artifact({ subject: subject.descriptor });
      await repository.pushManifest(referrer);
      isSet(await listed(repository, subject.digest), [referrer]);
      await repository.pushManifest(subject, 'late');
      isSet(await listed(repository, subject.digest), [referrer]);
    },
  },
  {
    ...end12a,
    what: 'only referrers of the digest itself are listed, not those of its referrers',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const referrer = artifact({ subject: subject.descriptor });
      const second = artifact({ subject: referrer.descriptor });
      for (const manifest of [referrer, second]) await repository.pushManifest(manifest);
      isSet(await listed(repository, subject.digest), [referrer]);
      isSet(await listed(repository, referrer.digest), [second]);
    },
  },
  {
    ...end12a,
    what: 'only referrers of the same repository are listed',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const { repository: other } = await withSubject(registry);
      await repository.pushManifest(artifact({ subject: subject.descriptor }));
      expectEqual(await listed(other, subject.digest), []);
    },
  },
  {
    ...end12a,
    what: 'a referrer that was deleted is no longer listed',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const [gone, kept] = [1, 2].map(() => artifact({ subject: subject.descriptor }));
      assert.ok(gone && kept);
      for (const manifest of [gone, kept]) await repository.pushManifest(manifest);
      declineOn(await repository.deleteManifest(gone.digest), [400, 405], 'deleting manifests');
      isSet(await listed(repository, subject.digest), [kept]);
    },
  },
  {
    ...end12a,
    what: 'a hundred referrers are listed, on one page or on several with a Link between',
    run: async (registry) => {
      const { repository, subject } = await withSubject(registry);
      const all = Array.from({ length: 100 }, () => imageIndex([], { subject: subject.descriptor }));
      for (const manifest of all) expectStatus(await repository.putManifest(manifest.digest, manifest), 201);
      isSet(await listed(repository, subject.digest), all);
    },
  },
]);
