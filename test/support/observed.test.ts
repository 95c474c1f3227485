/**
 * The layer under the registry, shown to catch each of production's limits, and to let pass what just keeps within them. The
 * bindings below it do nothing.
 */
import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import type { Env } from '../../worker/env.ts';
import { invocation, observation, observed, observedState } from './observed.ts';

const MiB = 1024 * 1024;

/** Bindings that do nothing, under the layer. */
function bindings() {
  const upload = (key: string, uploadId: string) => ({
    key,
    uploadId,
    uploadPart: async (partNumber: number) => ({ partNumber, etag: '' }),
    complete: async () => ({}),
  });
  const bucket = {
    put: async () => ({}),
    head: async () => null,
    delete: async () => undefined,
    createMultipartUpload: async (key: string) => upload(key, `${key}-${uploads++}`),
    resumeMultipartUpload: upload,
  };
  const stub = { blob: async (answer: unknown) => answer };
  const disk = { fetch: async () => new Response() };
  const fake = { BLOBS: bucket, DISK: disk, ...namespaces(stub) } as unknown as Env;
  const env = observed(fake);
  const { BLOBS, DISK } = env;
  assert.ok(BLOBS !== undefined && DISK !== undefined);
  const repository = env.REPOSITORY.getByName('a') as unknown as typeof stub;
  const storage = { sql: { exec: () => undefined } };
  const ctx = { storage, waitUntil: () => undefined } as unknown as DurableObjectState;
  const { sql } = observedState(ctx, 'Repository').storage;
  return { bucket: BLOBS, disk: DISK, repository, sql };
}

function namespaces(stub: object): Record<string, object> {
  const names = ['REPOSITORY', 'UPLOAD_SESSION', 'BLOB_SHARD', 'CATALOG', 'ACCOUNTS', 'AUDIT'];
  return Object.fromEntries(names.map((name) => [name, { getByName: () => stub }]));
}

type Bindings = ReturnType<typeof bindings>;

async function multipart({ bucket }: Bindings, sizes: number[]): Promise<void> {
  const upload = await bucket.createMultipartUpload('blobs/a');
  const parts: R2UploadedPart[] = [];
  for (const [index, size] of sizes.entries()) {
    // The next request resumes the upload: what the layer knows of it must not go with the object.
    const resumed = bucket.resumeMultipartUpload('blobs/a', upload.uploadId);
    parts.push(await resumed.uploadPart(index + 1, new Uint8Array(size)));
  }
  await upload.complete(parts);
}

async function twice({ bucket }: Bindings, afterMs: number, other = 'blobs/twice'): Promise<void> {
  await bucket.put('blobs/twice', '');
  clock += afterMs;
  await bucket.put(other, '');
}

async function calls(count: number, call: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n < count; n++) await call();
}

let clock = 1_000_000;
let uploads = 0;
const keys = (count: number) => Array.from({ length: count }, (_, n) => `blobs/${n}`);

/** `caught` null: within the limit, to the byte. */
const LIMITS: { name: string; act: (bindings: Bindings) => unknown; caught: RegExp | null }[] = [
  {
    name: 'a string of 2 MB in a row',
    act: ({ sql }) => sql.exec('INSERT', 'a'.repeat(2_000_000)),
    caught: null,
  },
  {
    name: 'a string over 2 MB in a row',
    act: ({ sql }) => sql.exec('INSERT', 'a'.repeat(2_000_001)),
    caught: /a row of 2000001 bytes in: INSERT/,
  },
  {
    name: 'a string over 2 MB in UTF-8',
    act: ({ sql }) => sql.exec('INSERT', 'é'.repeat(1_000_001)),
    caught: /a row of 2000002 bytes/,
  },
  {
    name: 'a blob over 2 MB in a row',
    act: ({ sql }) => sql.exec('INSERT', new ArrayBuffer(2 * MiB)),
    caught: /a row of 2097152 bytes/,
  },
  {
    name: 'two values that pass 2 MB together',
    act: ({ sql }) => sql.exec('INSERT', new ArrayBuffer(MiB), new ArrayBuffer(MiB)),
    caught: /a row of 2097152 bytes/,
  },
  { name: '100 parameters', act: ({ sql }) => sql.exec('SELECT', ...keys(100)), caught: null },
  { name: '101 parameters', act: ({ sql }) => sql.exec('SELECT', ...keys(101)), caught: /101 parameters/ },
  { name: 'equal parts', act: (b) => multipart(b, [6 * MiB, 6 * MiB, 6 * MiB]), caught: null },
  { name: 'a smaller last part', act: (b) => multipart(b, [6 * MiB, 6 * MiB, 1]), caught: null },
  { name: 'one small part', act: (b) => multipart(b, [1]), caught: null },
  {
    name: 'unequal parts',
    act: (b) => multipart(b, [6 * MiB, 7 * MiB, 6 * MiB]),
    caught: /unequal parts/,
  },
  { name: 'a larger last part', act: (b) => multipart(b, [6 * MiB, 6 * MiB + 1]), caught: /unequal parts/ },
  {
    name: 'parts under 5 MiB',
    act: (b) => multipart(b, [5 * MiB - 1, 1]),
    caught: /a part of 5242879 bytes/,
  },
  {
    name: 'a part beyond the 10,000th',
    act: ({ bucket }) => bucket.resumeMultipartUpload('a', 'b').uploadPart(10_001, new Uint8Array(1)),
    caught: /part number 10001/,
  },
  { name: '1,000 keys in a delete', act: ({ bucket }) => bucket.delete(keys(1000)), caught: null },
  {
    name: '1,001 keys in a delete',
    act: ({ bucket }) => bucket.delete(keys(1001)),
    caught: /a delete of 1001 keys/,
  },
  { name: 'a second write to a key after a second', act: (b) => twice(b, 1000), caught: null },
  { name: 'writes of two keys at once', act: (b) => twice(b, 0, 'blobs/other'), caught: null },
  {
    name: 'a second write to a key within a second',
    act: (b) => twice(b, 999),
    caught: /two writes of blobs\/twice/,
  },
  {
    name: 'an upload completed within a second of a write to its key',
    act: async (b) => {
      await b.bucket.put('blobs/a', '');
      await multipart(b, [6 * MiB]);
    },
    caught: /two writes of blobs\/a/,
  },
  {
    name: '1,000 subrequests',
    act: ({ bucket, repository }) => calls(500, () => Promise.all([bucket.head('a'), repository.blob(null)])),
    caught: null,
  },
  {
    name: '1,001 subrequests',
    act: ({ bucket }) => calls(1001, () => bucket.head('a')),
    caught: /more than 1,000 subrequests of one invocation: R2.head/,
  },
  {
    name: '1,001 subrequests of two invocations',
    act: async ({ bucket }) => {
      await calls(600, () => bucket.head('a'));
      await invocation(() => calls(401, () => bucket.head('a')));
    },
    caught: null,
  },
  {
    name: '1,001 requests to a disk, which only a machine has',
    act: ({ disk }) => calls(1001, () => disk.fetch('http://disk/a')),
    caught: null,
  },
  {
    name: '31 MiB of arguments',
    act: ({ repository }) => repository.blob({ bytes: new Uint8Array(31 * MiB) }),
    caught: null,
  },
  {
    name: 'over 32 MiB of arguments',
    act: ({ repository }) => repository.blob({ list: [new Uint8Array(16 * MiB), 'a'.repeat(16 * MiB)] }),
    caught: /bytes of arguments to REPOSITORY\(a\)\.blob/,
  },
];

describe('the layer under the registry', () => {
  for (const { name, act, caught } of LIMITS) {
    it(`the layer under the registry ${caught === null ? 'lets pass' : 'catches'} ${name}`, async () => {
      mock.method(performance, 'now', () => clock);
      clock += 10_000;
      observation.violations.length = 0;
      const acting = (async () => invocation(() => act(bindings())))();
      if (caught === null) await acting;
      else await assert.rejects(acting, caught, 'the call fails, as it would in production');
      // And it is remembered, because the caller may have caught what it threw.
      const [found = '', ...others] = observation.violations;
      assert.ok(others.length === 0 && (caught === null ? found === '' : caught.test(found)), found);
      mock.restoreAll();
    });
  }

  it('the layer under the registry catches an answer of over 32 MiB', async () => {
    const large = { blob: async () => new Uint8Array(32 * MiB + 1) };
    const env = observed(namespaces(large) as unknown as Env);
    const stub = env.REPOSITORY.getByName('a') as unknown as typeof large;
    await assert.rejects(stub.blob(), /bytes of answer of REPOSITORY\(a\)\.blob/);
  });
});
