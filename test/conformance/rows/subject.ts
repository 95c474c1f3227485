// Pushing manifests that have a subject, which is how signatures and the like are attached.

import { type ArtifactOptions, artifact, imageIndex, imageManifest } from '../../support/fixtures.ts';
import { declineOn, expectHeader, expectNoHeader } from '../answer.ts';
import { type Row, section } from '../row.ts';

const end7a = { level: 'MUST', end: 'end-7a' } as const;

export const subject: Row[] = section('Pushing Manifests with Subject', [
  ...[
    { name: 'an image manifest', make: artifact },
    { name: 'an image index', make: (options: ArtifactOptions) => imageIndex([], options) },
  ].map(
    ({ name, make }): Omit<Row, 'section'> => ({
      ...end7a,
      what: `${name} with a subject answers with OCI-Subject, where referrers are supported`,
      run: async (registry) => {
        const repository = registry.repository();
        const subject = imageManifest();
        await repository.pushManifest(subject);
        declineOn(await repository.referrers(subject.digest), [404], 'the referrers API');
        const answer = await repository.pushManifest(make({ subject: subject.descriptor }));
        expectHeader(answer, 'OCI-Subject', subject.digest);
      },
    }),
  ),
  {
    ...end7a,
    what: 'so does one whose subject is not there, pushed by tag',
    run: async (registry) => {
      const repository = registry.repository();
      await repository.pushManifest(imageManifest());
      const { descriptor } = imageManifest();
      declineOn(await repository.referrers(descriptor.digest), [404], 'the referrers API');
      const answer = await repository.pushManifest(artifact({ subject: descriptor }), 'signature');
      expectHeader(answer, 'OCI-Subject', descriptor.digest);
    },
  },
  {
    ...end7a,
    what: 'a manifest without a subject is answered without OCI-Subject',
    run: async (registry) => {
      const answer = await registry.repository().pushManifest(imageManifest());
      expectNoHeader(answer, 'OCI-Subject');
    },
  },
]);
