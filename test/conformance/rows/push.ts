// Pushing a blob in one piece: POST and then PUT, or a single POST.

import assert from 'node:assert/strict';
import { blob, digest, unknownDigest } from '../../support/fixtures.ts';
import {
  type Answer,
  declineOn,
  expectBody,
  expectHeader,
  expectHeaderIfAny,
  expectRefused,
  expectStatus,
} from '../answer.ts';
import { neverBegun, type Repository, uuid } from '../repository.ts';
import { type Row, section } from '../row.ts';

const end4a = { level: 'MUST', end: 'end-4a' } as const;
const end6 = { level: 'MUST', end: 'end-6' } as const;
const end4b = { level: 'MUST', end: 'end-4b' } as const;
const rejected = { level: 'SHOULD', since: 'main' } as const;

const badDigests = [
  { name: 'of other content', of: () => unknownDigest() },
  { name: 'that is too short', of: () => 'sha256:abc' },
  { name: 'with letters that are not hexadecimal', of: () => `sha256:${'z'.repeat(64)}` },
  { name: 'without an algorithm', of: () => 'a'.repeat(64) },
  { name: 'of an unknown algorithm', of: () => `nosuch:${'a'.repeat(64)}` },
];

export const push: Row[] = [
  ...section('POST then PUT', [
    {
      ...end4a,
      what: 'POST answers 202 with the Location of an upload',
      run: async (registry) => {
        const answer = await registry.repository().postUpload();
        expectStatus(answer, 202);
        answer.location();
      },
    },
    {
      ...end4a,
      what: 'the Location of an upload has a UUID in it',
      run: async (registry) => {
        const location = await registry.repository().startUpload();
        assert.match(location, uuid, `there is no UUID in ${location}`);
      },
    },
    {
      ...end4a,
      what: 'two uploads have two Locations',
      run: async (registry) => {
        const repository = registry.repository();
        const pathOf = async () => new URL(await repository.startUpload()).pathname;
        assert.notEqual(await pathOf(), await pathOf(), 'two uploads were given one Location');
      },
    },
    {
      ...end6,
      what: 'PUT with the digest answers 201 with a Location that serves the blob',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const location = await repository.startUpload();
        await isPushed(await repository.putUpload(location, digest(bytes), bytes), repository, bytes);
      },
    },
    {
      ...end6,
      what: 'a blob of no bytes can be pushed',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = Buffer.alloc(0);
        const location = await repository.startUpload();
        await isPushed(await repository.putUpload(location, digest(bytes)), repository, bytes);
      },
    },
    {
      ...end6,
      what: 'a blob of several megabytes can be pushed',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(11 * 1024 * 1024 + 3);
        const location = await repository.startUpload();
        await isPushed(await repository.putUpload(location, digest(bytes), bytes), repository, bytes);
      },
    },
    {
      ...end6,
      level: 'SHOULD',
      since: 'main',
      what: 'PUT takes a body of unknown length (Transfer-Encoding: chunked), as HTTP has it',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const location = await repository.startUpload();
        const answer = await repository.putUpload(location, digest(bytes), bytes, undefined, {
          chunked: true,
        });
        declineOn(answer, [411], 'a body without a length');
        await isPushed(answer, repository, bytes);
      },
    },
    {
      ...end6,
      what: 'Docker-Content-Digest of the 201, where it is sent, is the digest that was given',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        const location = await repository.startUpload();
        const answer = await repository.putUpload(location, digest(bytes), bytes);
        expectStatus(answer, 201);
        expectHeaderIfAny(answer, 'Docker-Content-Digest', digest(bytes));
      },
    },
    {
      ...end6,
      what: 'a blob that is there already can be pushed again',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        await repository.pushBlob(bytes);
        const location = await repository.startUpload();
        await isPushed(await repository.putUpload(location, digest(bytes), bytes), repository, bytes);
      },
    },
    {
      ...end6,
      what: 'a blob is not there before its upload is closed',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        const location = await repository.startUpload();
        expectStatus(await repository.headBlob(digest(bytes)), 404);
        expectStatus(await repository.patchUpload(location, bytes, 0), 202);
        expectStatus(await repository.headBlob(digest(bytes)), 404);
      },
    },
    {
      ...end6,
      what: 'PUT without a digest closes nothing',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        const location = await repository.startUpload();
        expectRefused(await registry.send('PUT', location, { body: bytes }));
        expectStatus(await repository.headBlob(digest(bytes)), 404);
      },
    },
    {
      level: 'SHOULD',
      end: 'end-6',
      what: 'PUT to an upload that was never begun answers 404',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        const location = neverBegun(await repository.startUpload());
        expectStatus(await repository.putUpload(location, digest(bytes), bytes), 404, 400);
        expectStatus(await repository.headBlob(digest(bytes)), 404);
      },
    },
    {
      level: 'SHOULD',
      end: 'end-6',
      what: 'an upload that was begun in one repository is not closed in another',
      run: async (registry) => {
        const [one, other] = [registry.repository(), registry.repository()];
        const bytes = blob();
        const location = (await one.startUpload()).replace(one.name, other.name);
        expectRefused(await other.putUpload(location, digest(bytes), bytes));
        expectStatus(await other.headBlob(digest(bytes)), 404);
      },
    },
  ]),

  ...section('Pushing blobs', [
    ...badDigests.map(
      ({ name, of }): Omit<Row, 'section'> => ({
        ...rejected,
        end: 'end-6',
        what: `PUT with a digest ${name} answers 400`,
        run: async (registry) => {
          const repository = registry.repository();
          const location = await repository.startUpload();
          expectStatus(await repository.putUpload(location, of(), blob()), 400);
        },
      }),
    ),
    ...badDigests.map(
      ({ name, of }): Omit<Row, 'section'> => ({
        ...rejected,
        end: 'end-4b',
        what: `a single POST with a digest ${name} answers 400`,
        run: async (registry) => {
          const answer = await registry.repository().postUpload(`?digest=${of()}`, blob());
          declineOn(answer, [202], 'the single POST');
          expectStatus(answer, 400);
        },
      }),
    ),
    {
      ...end6,
      what: 'content that was rejected for its digest is found neither under that digest nor under its own',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        const claimed = unknownDigest();
        const location = await repository.startUpload();
        expectRefused(await repository.putUpload(location, claimed, bytes));
        expectStatus(await repository.headBlob(claimed), 404);
        expectStatus(await repository.headBlob(digest(bytes)), 404);
      },
    },
  ]),

  ...section('Single POST', [
    {
      ...end4b,
      what: 'POST with digest and content answers 201 with a Location that serves the blob',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const answer = await repository.postUpload(`?digest=${digest(bytes)}`, bytes);
        declineOn(answer, [202], 'the single POST');
        await isPushed(answer, repository, bytes);
      },
    },
    {
      ...end4b,
      level: 'SHOULD',
      what: 'where it is not supported the answer is 202 with a Location to PUT to',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob(1000);
        const answer = await repository.postUpload(`?digest=${digest(bytes)}`, bytes);
        expectStatus(answer, 201, 202);
        if (answer.status === 201) return;
        const closed = await repository.putUpload(answer.location(), digest(bytes), bytes);
        await isPushed(closed, repository, bytes);
      },
    },
    {
      ...end4b,
      what: 'POST with the digest of no bytes and no content answers 201',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = Buffer.alloc(0);
        const answer = await repository.postUpload(`?digest=${digest(bytes)}`, bytes);
        declineOn(answer, [202], 'the single POST');
        await isPushed(answer, repository, bytes);
      },
    },
    {
      ...end4b,
      what: 'content whose digest is another is not stored',
      run: async (registry) => {
        const repository = registry.repository();
        const bytes = blob();
        const claimed = unknownDigest();
        const answer = await repository.postUpload(`?digest=${claimed}`, bytes);
        declineOn(answer, [202], 'the single POST');
        expectRefused(answer);
        expectStatus(await repository.headBlob(claimed), 404);
        expectStatus(await repository.headBlob(digest(bytes)), 404);
      },
    },
  ]),
];

async function isPushed(answer: Answer, repository: Repository, bytes: Buffer): Promise<void> {
  expectStatus(answer, 201);
  const pulled = await repository.registry.get(answer.location());
  expectStatus(pulled, 200);
  expectBody(pulled, bytes);
  const head = await repository.headBlob(digest(bytes));
  expectStatus(head, 200);
  expectHeader(head, 'Content-Length', String(bytes.byteLength));
}
