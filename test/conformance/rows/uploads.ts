// The state of an upload that is under way, and giving one up.

import { digest } from '../../support/fixtures.ts';
import { declineOn, expectHeader, expectRefused, expectStatus } from '../answer.ts';
import type { Registry } from '../registry.ts';
import { neverBegun } from '../repository.ts';
import { type Row, section } from '../row.ts';
import { beginUpload, closeUpload, patchAll } from '../upload.ts';

const end13 = { level: 'MUST', end: 'end-13' } as const;
const end14 = { level: 'SHOULD', end: 'end-14', since: 'main' } as const;

export const uploads: Row[] = [
  ...section('Pushing a blob in chunks', [
    {
      ...end13,
      what: 'GET of an upload that has begun answers 204 with Location',
      run: async (registry) => {
        const { location } = await beginUpload(registry);
        const answer = await registry.get(location);
        expectStatus(answer, 204);
        answer.location();
        expectHeader(answer, 'Range');
      },
    },
    {
      ...end13,
      what: 'GET of an upload answers with the Range of what has arrived',
      run: async (registry) => {
        const { repository, location, chunkOf } = await beginUpload(registry);
        const parts = [chunkOf(1), chunkOf(2)];
        const answer = await registry.get(await patchAll(repository, location, parts));
        expectStatus(answer, 204);
        expectHeader(answer, 'Range', `0-${Buffer.concat(parts).byteLength - 1}`);
      },
    },
    {
      ...end13,
      what: 'the Location of that GET takes the next chunk',
      run: async (registry) => {
        const { repository, location, chunkOf } = await beginUpload(registry);
        const [one, two] = [chunkOf(1), chunkOf(2)];
        const answer = await registry.get(await patchAll(repository, location, [one]));
        expectStatus(answer, 204);
        const last = await patchAll(repository, answer.location(), [two], one.byteLength);
        await closeUpload(repository, last, Buffer.concat([one, two]));
      },
    },
    {
      ...end13,
      level: 'SHOULD',
      what: 'GET of an upload that was never begun answers 404',
      run: async (registry) => {
        const { location } = await beginUpload(registry);
        expectStatus(await registry.get(neverBegun(location)), 404, 400);
      },
    },
  ]),

  ...section('Cancel a blob upload', [
    {
      ...end14,
      what: 'DELETE of an upload that has begun answers 204',
      run: async (registry) => {
        const { location } = await beginUpload(registry);
        await cancel(registry, location);
      },
    },
    {
      ...end14,
      what: 'DELETE of an upload that has taken a chunk answers 204',
      run: async (registry) => {
        const { repository, location, chunkOf } = await beginUpload(registry);
        await cancel(registry, await patchAll(repository, location, [chunkOf(1)]));
      },
    },
    {
      ...end14,
      what: 'an upload that was cancelled takes nothing more: GET, PATCH and PUT answer 404',
      run: async (registry) => {
        const { repository, location, chunkOf } = await beginUpload(registry);
        const bytes = chunkOf(1);
        await cancel(registry, location);
        expectStatus(await registry.get(location), 404);
        expectStatus(await repository.patchUpload(location, bytes, 0), 404);
        expectStatus(await repository.putUpload(location, digest(bytes), bytes), 404);
        expectStatus(await repository.headBlob(digest(bytes)), 404);
      },
    },
    {
      ...end14,
      what: 'cancelling one upload leaves another of the same repository alone',
      run: async (registry) => {
        const { repository, location, chunkOf } = await beginUpload(registry);
        const other = await repository.startUpload();
        const parts = [chunkOf(1)];
        const after = await patchAll(repository, other, parts);
        await cancel(registry, location);
        await closeUpload(repository, after, Buffer.concat(parts));
      },
    },
    {
      ...end14,
      what: 'DELETE of an upload that was never begun answers 404 or 400',
      run: async (registry) => {
        const { location } = await beginUpload(registry);
        const answer = await registry.send('DELETE', neverBegun(location));
        declineOn(answer, [405], 'cancelling');
        expectRefused(answer);
        expectStatus(answer, 404, 400);
      },
    },
  ]),
];

async function cancel(registry: Registry, location: string): Promise<void> {
  const answer = await registry.send('DELETE', location);
  declineOn(answer, [405], 'cancelling');
  expectStatus(answer, 204);
}
