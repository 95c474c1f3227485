// Mounting: a blob of one repository becomes a blob of another without being sent again.

import { blob, digest, unknownDigest } from '../../support/fixtures.ts';
import {
  type Answer,
  declineOn,
  expectBody,
  expectHeaderIfAny,
  expectRefused,
  expectStatus,
} from '../answer.ts';
import type { Registry } from '../registry.ts';
import type { Repository } from '../repository.ts';
import { type Row, section } from '../row.ts';

const end11 = { level: 'MUST', end: 'end-11' } as const;

export const mount: Row[] = section('Mounting a blob from another repository', [
  {
    ...end11,
    what: 'a mount answers 201 with a Location that serves the blob',
    run: async (registry) => {
      const { source, target, of, bytes } = await withBlob(registry);
      const answer = await target.postUpload(`?mount=${of}&from=${source.name}`);
      declineOn(answer, [202], 'mounting');
      await isMounted(answer, target, bytes);
    },
  },
  {
    ...end11,
    what: 'from may be percent-encoded, as query strings are',
    run: async (registry) => {
      const { source, target, of, bytes } = await withBlob(registry);
      const from = encodeURIComponent(source.name);
      const answer = await target.postUpload(`?mount=${encodeURIComponent(of)}&from=${from}`);
      declineOn(answer, [202], 'mounting');
      await isMounted(answer, target, bytes);
    },
  },
  {
    ...end11,
    what: 'a blob can be mounted into the repository that has it',
    run: async (registry) => {
      const { source, of, bytes } = await withBlob(registry);
      const answer = await source.postUpload(`?mount=${of}&from=${source.name}`);
      declineOn(answer, [202], 'mounting');
      await isMounted(answer, source, bytes);
    },
  },
  {
    ...end11,
    what: 'the Docker-Content-Digest of a mount, where it is sent, is a digest of the blob',
    run: async (registry) => {
      const { source, target, of } = await withBlob(registry);
      const answer = await target.postUpload(`?mount=${of}&from=${source.name}`);
      declineOn(answer, [202], 'mounting');
      expectStatus(answer, 201);
      expectHeaderIfAny(answer, 'Docker-Content-Digest', of);
    },
  },
  {
    ...end11,
    level: 'SHOULD',
    what: 'a blob that is not in the other repository is not mounted: 202 with an upload that works',
    run: async (registry) => {
      const { source, target } = await withBlob(registry);
      const answer = await target.postUpload(`?mount=${unknownDigest()}&from=${source.name}`);
      await isUpload(answer, target);
    },
  },
  {
    ...end11,
    level: 'SHOULD',
    what: 'nothing is mounted from a repository that is not there: 202 with an upload that works',
    run: async (registry) => {
      const target = registry.repository();
      const from = registry.repository().name;
      await isUpload(await target.postUpload(`?mount=${unknownDigest()}&from=${from}`), target);
    },
  },
  {
    ...end11,
    what: 'a mount that found nothing leaves nothing under the digest',
    run: async (registry) => {
      const { source, target } = await withBlob(registry);
      const of = unknownDigest();
      await target.postUpload(`?mount=${of}&from=${source.name}`);
      expectStatus(await target.headBlob(of), 404);
    },
  },
  {
    level: 'MAY',
    end: 'end-11',
    what: 'without from the blob is found wherever it is, and mounted',
    run: async (registry) => {
      const { target, of, bytes } = await withBlob(registry);
      const answer = await target.postUpload(`?mount=${of}`);
      declineOn(answer, [202], 'mounting without from');
      await isMounted(answer, target, bytes);
    },
  },
  {
    ...end11,
    level: 'SHOULD',
    what: 'without from, a blob that is nowhere is not mounted: 202 with an upload that works',
    run: async (registry) => {
      const target = registry.repository();
      await isUpload(await target.postUpload(`?mount=${unknownDigest()}`), target);
    },
  },
  {
    ...end11,
    level: 'SHOULD',
    since: 'main',
    what: 'a mount of a malformed digest answers 400, or 202 as any mount that finds nothing',
    run: async (registry) => {
      const { source, target } = await withBlob(registry);
      expectStatus(await target.postUpload(`?mount=sha256:abc&from=${source.name}`), 400, 202);
    },
  },
  {
    ...end11,
    what: 'what was mounted stays when the repository that it came from lets go of it',
    run: async (registry) => {
      const { source, target, of, bytes } = await withBlob(registry);
      const answer = await target.postUpload(`?mount=${of}&from=${source.name}`);
      declineOn(answer, [202], 'mounting');
      const deleted = await source.deleteBlob(of);
      declineOn(deleted, [400, 405], 'deleting blobs');
      expectStatus(deleted, 202);
      const pulled = await target.getBlob(of);
      expectStatus(pulled, 200);
      expectBody(pulled, bytes);
    },
  },
  {
    ...end11,
    what: 'nothing is mounted into a repository whose name is malformed',
    run: async (registry) => {
      const { source, of } = await withBlob(registry);
      expectRefused(await registry.named('Upper').postUpload(`?mount=${of}&from=${source.name}`));
    },
  },
]);

async function withBlob(registry: Registry) {
  const [source, target] = [registry.repository(), registry.repository()];
  const bytes = blob(1000);
  return { source, target, bytes, of: await source.pushBlob(bytes) };
}

async function isMounted(answer: Answer, target: Repository, bytes: Buffer): Promise<void> {
  expectStatus(answer, 201);
  for (const pulled of [await target.registry.get(answer.location()), await target.getBlob(digest(bytes))]) {
    expectStatus(pulled, 200);
    expectBody(pulled, bytes);
  }
}

async function isUpload(answer: Answer, target: Repository): Promise<void> {
  expectStatus(answer, 202);
  const bytes = blob();
  expectStatus(await target.putUpload(answer.location(), digest(bytes), bytes), 201);
}
