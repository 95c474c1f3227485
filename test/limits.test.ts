/**
 * Production's limits, which the local runtimes do not all enforce: a long run of real pushes passes none of them. That the
 * layer which enforces them catches each is shown in support/observed.test.ts.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { PART_BYTES } from '../worker/blobs/r2.ts';
import { MANIFEST_MAX_BYTES } from '../worker/oci/limits.ts';
import { blob, digest, imageManifest, manifestFrom, mediaTypes, repositoryName } from './support/fixtures.ts';
import { eachHome } from './support/homes.ts';
import { type Answer, Visitor } from './support/visitor.ts';

const MiB = 1024 * 1024;
const DAY_MS = 24 * 3600 * 1000;

/** More blobs than R2 deletes at once, all of one shard. They are found before there are connections that could time out. */
const SHARD = 'a7';
const shardBlobs = blobsOf(SHARD, 1100);

function blobsOf(shard: string, count: number): Buffer[] {
  const found: Buffer[] = [];
  while (found.length < count) {
    const bytes = blob(16);
    if (digest(bytes).startsWith(`sha256:${shard}`)) found.push(bytes);
  }
  return found;
}

/** Small blobs are in the store on one machine too: what is counted here is what the store has to do. */
const WITHOUT_INLINE = { vars: { INLINE_BLOB_BYTES: '0' } };

eachHome((home) => {
  const visitor = new Visitor(home, null);
  const request = (
    method: string,
    path: string,
    status: number,
    body?: Uint8Array | ReadableStream,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    return visitor.must(status, method, path, { headers, ...(body && { body }) });
  };
  const start = async (name: string): Promise<string> =>
    (await request('POST', `/v2/${name}/blobs/uploads/`, 202)).headers.get('Location') ?? '';
  const pushAtOnce = (name: string, bytes: Buffer) =>
    request('POST', `/v2/${name}/blobs/uploads/?digest=${digest(bytes)}`, 201, bytes);
  const passed = async () => assert.deepEqual(await home.violations(), []);

  describe('within production', () => {
    it('blobs of many parts, streamed and in chunks and ended three times, stay within production', async () => {
      const name = repositoryName();
      const bytes = randomBytes(5 * PART_BYTES + 11);
      const shapes = [
        [bytes.length],
        [1, 3 * MiB, 12 * MiB, bytes.length],
        [PART_BYTES, 2 * PART_BYTES, bytes.length],
      ];
      for (const ends of shapes) {
        const content = Buffer.concat([randomBytes(8), bytes.subarray(8)]); // Not what the registry has already.
        let location = await start(name);
        let at = 0;
        for (const end of ends) {
          const piece = content.subarray(at, end);
          const chunked = ends.length > 1;
          const headers = chunked ? { 'Content-Range': `${at}-${end - 1}` } : {};
          const patched = await request(
            'PATCH',
            location,
            202,
            chunked ? piece : (new Blob([piece]).stream() as unknown as ReadableStream),
            { ...headers, 'Content-Type': 'application/octet-stream' },
          );
          location = patched.headers.get('Location') ?? '';
          at = end;
        }
        for (let times = 0; times < 3; times++) {
          await request('PUT', `${location}&digest=${digest(content)}`, 201);
        }
      }
      await passed();
    });

    it('small blobs in one chunk, ended three times, stay within production', async () => {
      const name = repositoryName();
      for (const size of [0, 1, 300_000, 3 * MiB]) {
        const bytes = blob(size);
        const location = await start(name);
        await request('PATCH', location, 202, bytes);
        for (let times = 0; times < 3; times++) {
          await request('PUT', `${location}&digest=${digest(bytes)}`, 201);
        }
      }
      await passed();
    });

    it('a blob ended three times at once stays within production, though R2 may refuse two', async () => {
      const name = repositoryName();
      const bytes = blob(3 * MiB);
      const location = await start(name);
      await request('PATCH', location, 202, bytes);
      const end = () => fetch(new URL(`${location}&digest=${digest(bytes)}`, home.url), { method: 'PUT' });
      const answers = await Promise.all([end(), end(), end()]);
      assert.ok(answers.some((answer) => answer.status === 201));
      // Each writes the same bytes to the same key. A client that is refused has not waited for its answer.
      const refused = (await home.violations()).filter((violation) => !/^two writes of /.test(violation));
      assert.deepEqual(refused, []);
      assert.equal((await end()).status, 201);
      const pulled = await fetch(new URL(`/v2/${name}/blobs/${digest(bytes)}`, home.url));
      assert.equal(digest(Buffer.from(await pulled.arrayBuffer())), digest(bytes));
      await passed();
    });

    it('manifests of 4 MiB stay within production', async () => {
      const name = repositoryName();
      const long = 'a'.repeat(MANIFEST_MAX_BYTES - 2000);
      const annotations = { 'org.example.padding': long };
      const subject = { mediaType: mediaTypes.imageManifest, digest: digest(blob()), size: 1 };
      const layers = Array.from({ length: 9000 }, () => Buffer.alloc(0));
      const shapes = [
        { what: 'annotations', options: { annotations }, statuses: [201] },
        { what: 'many layers', options: { layers }, statuses: [201] },
        // These are asked for by themselves, in lists: a registry may say that they are too long, but not break.
        { what: 'annotations beside a subject', options: { annotations, subject }, statuses: [201, 400] },
        { what: 'an artifactType', options: { artifactType: `a/${long}` }, statuses: [201, 400] },
        {
          what: 'the media type of a config',
          options: { configMediaType: `a/${long}` },
          statuses: [201, 400],
        },
      ];
      for (const { what, options, statuses } of shapes) {
        const image = imageManifest(options);
        assert.ok(image.bytes.length <= MANIFEST_MAX_BYTES);
        const blobs = new Map(image.blobs.map((bytes) => [digest(bytes), bytes]));
        for (const bytes of blobs.values()) await pushAtOnce(name, bytes);
        const path = `/v2/${name}/manifests/${image.digest}`;
        const response = await fetch(new URL(path, home.url), {
          method: 'PUT',
          body: image.bytes as BodyInit,
          headers: { 'Content-Type': image.mediaType },
        });
        const answer = `${what}: ${response.status} ${await response.text()}`.slice(0, 500);
        assert.ok(statuses.includes(response.status), answer);
        if (response.status === 201) await request('GET', path, 200);
      }
      await request('GET', `/v2/${name}/referrers/${subject.digest}`, 200);
      await passed();
    });

    it('an index of 10,000 references by sha512 stays within production', async () => {
      const name = repositoryName();
      const child = blob(10);
      const known = digest(child, 'sha512');
      await request('POST', `/v2/${name}/blobs/uploads/?digest=${known}`, 201, child);
      const manifests = Array.from({ length: 10_000 }, () => {
        return { mediaType: mediaTypes.imageManifest, digest: digest(randomBytes(8), 'sha512'), size: 10 };
      });
      const content = { schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests };
      const index = manifestFrom(mediaTypes.imageIndex, Buffer.from(JSON.stringify(content)));
      // All but one are missing, which is the longest answer that the repository gives.
      await request('PUT', `/v2/${name}/manifests/large`, 400, index.bytes, {
        'Content-Type': index.mediaType,
      });
      await passed();
    });

    it('1,100 blobs of one shard that its alarm deletes stay within production', async () => {
      const name = repositoryName();
      const before = await home.storedKeys();
      for (let at = 0; at < shardBlobs.length; at += 8) {
        await Promise.all(shardBlobs.slice(at, at + 8).map((bytes) => pushAtOnce(name, bytes)));
      }
      assert.equal((await home.storedKeys()).length, before.length + shardBlobs.length);
      // Nothing references them: the repository lets go of them after a day, and the shard deletes them a day later. Each
      // alarm does a part of it, and sets the next.
      await home.setClockAhead(DAY_MS + 1000);
      for (let rings = 0; rings < 3; rings++) await home.ring('REPOSITORY', name);
      await home.setClockAhead(2 * DAY_MS + 10_000);
      await home.ring('BLOB_SHARD', SHARD);
      const left = await home.storedKeys();
      assert.ok(
        left.length <= before.length + 100,
        `${left.length - before.length} are left after one alarm`,
      );
      await home.ring('BLOB_SHARD', SHARD);
      assert.equal((await home.storedKeys()).filter((key) => !before.includes(key)).length, 0);
      await passed();
    });
  });
}, WITHOUT_INLINE);
