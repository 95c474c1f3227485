// Filtering the list of referrers, and the tags under which clients kept such lists before there was an
// API for it.

import { artifact, imageIndex, imageManifest } from '../../support/fixtures.ts';
import { expectBody, expectEqual, expectHeader, expectNoHeader, expectStatus } from '../answer.ts';
import { descriptorsOf, isSet, listed, withSubject } from '../referrers.ts';
import type { Registry } from '../registry.ts';
import { type Row, section } from '../row.ts';

const end12a = { level: 'MUST', end: 'end-12a' } as const;
const end12b = { level: 'MUST', end: 'end-12b' } as const;

const sbom = 'application/vnd.example.sbom.v1+json';
const signature = 'application/vnd.example.signature.v1';

export const referrerFilters: Row[] = [
  ...section('Listing Referrers', [
    {
      ...end12b,
      level: 'SHOULD',
      what: 'artifactType filters the list, and OCI-Filters-Applied says so',
      run: async (registry) => {
        const { repository, subject, wanted } = await withTwoTypes(registry);
        const answer = await repository.referrers(subject.digest, sbom);
        expectStatus(answer, 200);
        expectHeader(answer, 'OCI-Filters-Applied', 'artifactType');
        isSet(await listed(repository, subject.digest, sbom), [wanted]);
      },
    },
    {
      ...end12b,
      what: 'a list that was filtered has OCI-Filters-Applied: artifactType',
      run: async (registry) => {
        const { repository, subject } = await withTwoTypes(registry);
        const answer = await repository.referrers(subject.digest, sbom);
        const filtered = descriptorsOf(answer).length < 2;
        if (filtered) expectHeader(answer, 'OCI-Filters-Applied', 'artifactType');
      },
    },
    {
      ...end12b,
      what: 'a list that says it was filtered was filtered',
      run: async (registry) => {
        const { repository, subject } = await withTwoTypes(registry);
        const answer = await repository.referrers(subject.digest, sbom);
        if (answer.header('OCI-Filters-Applied') === undefined) return;
        for (const found of descriptorsOf(answer)) expectEqual(found.artifactType, sbom);
      },
    },
    {
      ...end12b,
      what: 'a list without a filter in the request is complete and has no OCI-Filters-Applied',
      run: async (registry) => {
        const { repository, subject } = await withTwoTypes(registry);
        const answer = await repository.referrers(subject.digest);
        expectNoHeader(answer, 'OCI-Filters-Applied');
        expectEqual((await listed(repository, subject.digest)).length, 2);
      },
    },
    {
      ...end12b,
      level: 'SHOULD',
      what: 'a filter that nothing passes gives an empty list',
      run: async (registry) => {
        const { repository, subject } = await withTwoTypes(registry);
        expectEqual(await listed(repository, subject.digest, 'application/vnd.example.none'), []);
      },
    },
    {
      ...end12b,
      level: 'SHOULD',
      what: "a filter finds an image manifest by its config's media type",
      run: async (registry) => {
        const { repository, subject } = await withTwoTypes(registry);
        const configMediaType = 'application/vnd.example.config.v1+json';
        const manifest = imageManifest({ subject: subject.descriptor, configMediaType });
        await repository.pushManifest(manifest);
        isSet(await listed(repository, subject.digest, configMediaType), [manifest]);
      },
    },
  ]),

  ...section('Enabling the Referrers API', [
    {
      ...end12a,
      what: 'a referrer that a client lists under the fallback tag, too, is listed once',
      run: async (registry) => {
        const { repository, subject } = await withSubject(registry);
        const referrer = artifact({ subject: subject.descriptor });
        await repository.pushManifest(referrer);
        await repository.pushManifest(imageIndex([referrer]), subject.digest.replace(':', '-'));
        isSet(await listed(repository, subject.digest), [referrer]);
      },
    },
    {
      ...end12a,
      what: 'the index under the fallback tag stays what the client pushed',
      run: async (registry) => {
        const { repository, subject } = await withSubject(registry);
        const referrer = artifact({ subject: subject.descriptor });
        await repository.pushManifest(referrer);
        const tag = subject.digest.replace(':', '-');
        const index = imageIndex([referrer]);
        await repository.pushManifest(index, tag);
        const answer = await repository.getManifest(tag);
        expectStatus(answer, 200);
        expectBody(answer, index.bytes);
      },
    },
    {
      ...end12a,
      what: 'a manifest under the fallback tag that has no such subject is not listed',
      run: async (registry) => {
        const { repository, subject } = await withSubject(registry);
        const stranger = imageManifest();
        await repository.pushManifest(stranger);
        await repository.pushManifest(imageIndex([stranger]), subject.digest.replace(':', '-'));
        expectEqual(await listed(repository, subject.digest), []);
      },
    },
  ]),
];

async function withTwoTypes(registry: Registry) {
  const { repository, subject } = await withSubject(registry);
  const wanted = artifact({ subject: subject.descriptor, artifactType: sbom });
  const other = artifact({ subject: subject.descriptor, artifactType: signature });
  for (const manifest of [wanted, other]) await repository.pushManifest(manifest);
  return { repository, subject, wanted };
}
