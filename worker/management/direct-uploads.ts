/**
 * Uploads past the Worker: whether they are set up, and probes. A probe is a grant for a new key that no repository can commit.
 * `longshore doctor` uses probes to try what R2 enforces on the user's own bucket.
 */
import * as z from 'zod/mini';
import { blobStore } from '../blob-store.ts';
import type { Env } from '../env.ts';
import type { DirectDraft } from '../objects/upload-session.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { type DirectGrant, type DirectGrants, isChecksum } from '../s3/direct-grants.ts';
import { sessionOf } from '../stubs.ts';
import { type ManagementServices, type Operation, operation } from './operation.ts';

/** A probe is deleted after this time, and an hour more, if the client does not delete it. */
const PROBE_LIFETIME_MS = 15 * 60 * 1000;
const PROBE_MAX_BYTES = 64 * 1024 * 1024;
/** The ids of uploads are uuids, so none of them is that of a probe. */
const PROBE_ID = /^[0-9a-f-]{36}-probe$/;

const WAYS = ['put', 'query', 'parts'] as const;

const creation = z.strictObject({
  way: z
    .enum(WAYS)
    .check(
      z.describe(
        'put: one PUT with the checksum in a header, as for longshore push. query: with the checksum and the parameters digest and ns in the query. parts: temporary credentials for a multipart upload.',
      ),
    ),
  digest: z.string().check(
    z.refine((text) => isDigest(text) && isChecksum(text), 'is a sha256 digest'),
    z.meta({ examples: [`sha256:${'0'.repeat(64)}`] }),
  ),
  size: z.int().check(z.minimum(1), z.maximum(PROBE_MAX_BYTES)),
});

export const DIRECT_UPLOADS: Operation[] = [
  operation({
    id: 'directUpload.get',
    method: 'GET',
    path: '/direct-uploads',
    requires: 'admin',
    summary: 'Get whether clients can store blobs in the bucket themselves',
    status: 200,
    answer: z.object({
      isSetUp: z.boolean().check(z.describe('The S3 credentials of the bucket are set.')),
      bucketUrl: z.nullable(z.string()),
    }),
    run: async ({ services: { direct } }) => ({
      body: { isSetUp: direct !== null, bucketUrl: direct?.bucketUrl ?? null },
    }),
  }),
  operation({
    id: 'directUpload.probe',
    method: 'POST',
    path: '/direct-uploads/probes',
    requires: 'admin',
    summary: 'Get a grant for a new key of the bucket, to try what it enforces',
    description:
      'What is stored under the key is never a blob. It is deleted with the probe, or after an hour.',
    body: creation,
    example: { way: 'put', digest: `sha256:${'0'.repeat(64)}`, size: 100 },
    status: 201,
    answer: z.object({
      id: z.string(),
      grant: z
        .record(z.string(), z.unknown())
        .check(z.describe('What the POST of an upload answers: docs/direct-uploads.md.')),
    }),
    errors: { 404: 'The S3 credentials of the bucket are not set.' },
    run: async ({ body, services }) => {
      const probe = await begin(services, body.way, body.digest as Digest, body.size);
      return { body: probe, changed: probe.id };
    },
  }),
  operation({
    id: 'directUpload.stored',
    method: 'GET',
    path: '/direct-uploads/probes/{id}',
    requires: 'admin',
    summary: 'Get what is stored under the key of a probe',
    status: 200,
    answer: z.object({
      stored: z
        .nullable(z.object({ size: z.int(), digest: z.nullable(z.string()), hasOwnHeaders: z.boolean() }))
        .check(
          z.describe('null if there is nothing. digest is null if the bucket has recorded no checksum.'),
        ),
    }),
    errors: { 404: 'There is no probe of this id.' },
    run: async ({ named, services: { env } }) => {
      const store = blobStore(env);
      const draft = await probeOf(env, named);
      return { body: { stored: (await store.direct?.stored(store.keyOf(draftOf(draft)))) ?? null } };
    },
  }),
  operation({
    id: 'directUpload.deleteProbe',
    method: 'DELETE',
    path: '/direct-uploads/probes/{id}',
    requires: 'admin',
    summary: 'Delete a probe and what is stored under its key',
    status: 204,
    errors: { 404: 'There is no probe of this id.' },
    run: async ({ named, services: { env } }) => {
      await probeOf(env, named);
      const cancelled = await sessionOf(env, named).cancel(named, claim());
      if (cancelled.status === 'cancelled') await blobStore(env).discard(cancelled.draft);
      return {};
    },
  }),
];

/** The probe is an upload of no repository, so its session deletes it if the client does not. */
async function begin(
  { env, direct: grants }: ManagementServices,
  way: (typeof WAYS)[number],
  digest: Digest,
  size: number,
): Promise<{ id: string; grant: DirectGrant }> {
  const store = blobStore(env);
  if (grants === null || store.direct === null) {
    throw new OciError('NOT_FOUND', {
      message:
        'clients cannot store blobs in the bucket: set S3_BUCKET_URL, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY',
    });
  }
  const id = `${crypto.randomUUID()}-probe`;
  const draft = crypto.randomUUID();
  const key = store.keyOf(draftOf({ draft, multipart: null }));
  const multipart = way === 'parts' ? await store.direct.begin(key) : null;
  await sessionOf(env, id).beginDirect(id, claim(), { draft, multipart }, size);
  return { id, grant: await grantOf(grants, key, multipart, way === 'query', digest) };
}

function grantOf(
  grants: DirectGrants,
  key: string,
  multipart: string | null,
  inQuery: boolean,
  digest: Digest,
): Promise<DirectGrant> {
  if (multipart !== null) return grants.parts(key, multipart);
  return inQuery
    ? grants.putByQuery(key, digest, { digest, ns: 'registry.example' })
    : grants.put(key, digest);
}

async function probeOf(env: Env, id: string): Promise<DirectDraft> {
  const draft = PROBE_ID.test(id) ? await sessionOf(env, id).directDraft(id) : null;
  if (draft === null) throw new OciError('NOT_FOUND', { message: 'there is no probe of this id' });
  return draft;
}

function claim() {
  return { algorithm: 'sha256', expiresAt: Date.now() + PROBE_LIFETIME_MS, begun: false } as const;
}

function draftOf({ draft: id, multipart }: DirectDraft) {
  return { id, multipart, parts: [], firstPart: 1, tail: { size: 0, bytes: null } };
}
