// Pushing a manifest by its digest together with several tags for it. A registry may do without.

import assert from 'node:assert/strict';
import { imageManifest } from '../../support/fixtures.ts';
import { type Answer, expectEqual, expectManifest, expectRefused, expectStatus } from '../answer.ts';
import type { Registry } from '../registry.ts';
import { Declined, type Row, section } from '../row.ts';

const end7b = { level: 'MUST', end: 'end-7b', since: 'main' } as const;

export const tagParameters: Row[] = section('Pushing Manifests', [
  {
    ...end7b,
    what: 'each tag parameter of a push by digest tags the manifest and is named in OCI-Tag',
    run: async (registry) => {
      await pushTagged(registry, ['1.2.3', '1.2', '1', 'latest']);
    },
  },
  {
    ...end7b,
    level: 'SHOULD',
    what: 'ten tags can be pushed in a request',
    run: async (registry) => {
      const wanted = Array.from({ length: 10 }, (_, at) => `tag-${at}`);
      const got = await pushTagged(registry, wanted);
      expectEqual([...got].sort(), wanted);
    },
  },
  {
    ...end7b,
    what: 'a hundred tags are all taken, or some, or none with 414, 431 or 400; OCI-Tag tells',
    run: async (registry) => {
      await pushTagged(
        registry,
        Array.from({ length: 100 }, (_, at) => `tag-${at}`),
        [400, 414, 431],
      );
    },
  },
  {
    ...end7b,
    what: 'a tag parameter moves a tag that is there',
    run: async (registry) => {
      const repository = registry.repository();
      await repository.pushManifest(imageManifest(), 'moving');
      const manifest = imageManifest();
      await repository.pushBlobs(manifest);
      const answer = await repository.putManifest(`${manifest.digest}?tag=moving`, manifest);
      expectStatus(answer, 201);
      declineWithoutOciTag(answer);
      expectManifest(await repository.getManifest('moving'), manifest);
    },
  },
  {
    ...end7b,
    what: 'a malformed tag parameter is refused, or at least not named in OCI-Tag',
    run: async (registry) => {
      const repository = registry.repository();
      const manifest = imageManifest();
      await repository.pushBlobs(manifest);
      const answer = await repository.putManifest(`${manifest.digest}?tag=good&tag=.bad`, manifest);
      if (answer.status !== 201) return expectRefused(answer);
      declineWithoutOciTag(answer);
      assert.ok(!ociTags(answer).includes('.bad'), `${answer} names a malformed tag in OCI-Tag`);
    },
  },
]);

/** Pushes a manifest with tag parameters, holds OCI-Tag against what became of them, and gives it. */
async function pushTagged(registry: Registry, tags: string[], mayRefuse: number[] = []): Promise<string[]> {
  const repository = registry.repository();
  const manifest = imageManifest();
  await repository.pushBlobs(manifest);
  const query = tags.map((tag) => `tag=${tag}`).join('&');
  const answer = await repository.putManifest(`${manifest.digest}?${query}`, manifest);
  expectStatus(answer, 201, ...mayRefuse);
  if (answer.status !== 201) return [];
  if (answer.header('OCI-Tag') === undefined) {
    expectStatus(await repository.headManifest(tags[0] ?? ''), 404);
    throw new Declined(`tag parameters: ${answer} has no OCI-Tag`);
  }
  const named = ociTags(answer);
  for (const tag of tags) {
    const pulled = await repository.getManifest(tag);
    if (named.includes(tag)) expectManifest(pulled, manifest);
    else expectStatus(pulled, 404);
  }
  expectManifest(await repository.getManifest(manifest.digest), manifest);
  return named;
}

function declineWithoutOciTag(answer: Answer): void {
  if (answer.header('OCI-Tag') === undefined) throw new Declined(`tag parameters: ${answer} has no OCI-Tag`);
}

/** Several header lines mean what one line with commas means. */
function ociTags(answer: Answer): string[] {
  return (answer.header('OCI-Tag') ?? '').split(',').map((tag) => tag.trim());
}
