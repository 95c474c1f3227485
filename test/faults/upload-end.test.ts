/**
 * The ends of an upload: a final PUT that is repeated, a digest that is wrong, a cancel, an expiry. What ended stays ended,
 * and what was not published leaves nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GRACE_MS, UPLOAD_ABORT_DELAY_MS } from '../../durable-objects/graces.ts';
import { UPLOAD_LIFETIME_MS } from '../../worker/oci/limits.ts';
import { blob, digest as digestOf, repositoryName, unknownDigest } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { assertRefused, Client, locationOf, rangeOf, withDigest } from './client.ts';
import { eachHome } from './homes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const MiB = 1024 * 1024;
const EXPIRED_MS = UPLOAD_LIFETIME_MS + UPLOAD_ABORT_DELAY_MS + 1000;

eachHome((home) => {
  test('an upload that is published while others expire keeps its bytes', async () => {
    const [client, bytes] = [new Client(home), blob(3 * MiB)];
    const [repository, digest] = [repositoryName(), digestOf(bytes)];
    const [one, other] = await uploadsOfOneObject(client, repository);
    await client.want(202, 'PATCH', one, { body: blob(1000) });
    const patch = await client.want(202, 'PATCH', other, { body: bytes });
    const call = home.name === 'r2' ? 'R2.delete' : 'disk.DELETE';
    await home.reset({ at: call, how: 'wait' });
    await home.setClockAhead(EXPIRED_MS);
    const ended = home.ringDue('UPLOAD_SESSION', String(patch.headers['docker-upload-uuid']));
    assert.equal(await home.reached(), call);
    // The clock was wrong, and is corrected.
    await home.setClockAhead(0);
    const answer = await client.send('PUT', withDigest(locationOf(patch), digest));
    await home.goOn();
    assert.equal(await ended, true);
    assert.equal(answer.status, 201);
    assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
  });

  for (const size of [0, 1000, 3 * MiB]) {
    test(`a final PUT with ${size} bytes is answered with 201 as often as it comes, also after a restart`, async () => {
      const [client, bytes] = [new Client(home), blob(9 * MiB)];
      const [repository, digest] = [repositoryName(), digestOf(bytes)];
      const at = bytes.length - size;
      const location = await client.startUpload(repository);
      const patch = await client.want(202, 'PATCH', location, {
        body: bytes.subarray(0, at),
        headers: rangeOf(0, at),
      });
      const target = withDigest(locationOf(patch), digest);
      const last = size === 0 ? {} : { body: bytes.subarray(at), headers: rangeOf(at, size) };
      await client.want(201, 'PUT', target, last);
      await client.want(201, 'PUT', target, last);
      await client.want(201, 'PUT', target);
      await home.restart();
      await client.want(201, 'PUT', target, last);
      await client.want(201, 'PUT', target);
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
      assertRefused(
        await client.send('PUT', withDigest(locationOf(patch), unknownDigest()), last),
        404,
        'BLOB_UPLOAD_UNKNOWN',
      );
    });
  }

  for (const isDeleted of [false, true]) {
    for (const size of isDeleted ? [15 * MiB] : [100_000, 15 * MiB]) {
      test(`a final PUT of ${size} bytes is not repeated into bytes that were lost and ${isDeleted ? 'are deleted' : 'are being deleted'}`, async () => {
        const [client, bytes] = [new Client(home), blob(size)];
        const [repository, digest] = [repositoryName(), digestOf(bytes)];
        let location = await client.startUpload(repository);
        for (const [from, to] of [
          [0, size / 2],
          [size / 2, size],
        ] as const) {
          const sent = { body: bytes.subarray(from, to), headers: rangeOf(from, to - from) };
          location = locationOf(await client.want(202, 'PATCH', location, sent));
        }
        // Its upload does not hear that the blob is linked.
        await home.reset({ at: 'UPLOAD_SESSION.published', how: 'before' });
        await client.want(201, 'PUT', withDigest(location, digest));
        await home.settled();
        const [row] = await home.rows('REPOSITORY', repository, 'SELECT key FROM blobs');
        const key = String(row?.key);
        await home.tamper(key, bytes.subarray(0, 10));
        assertRefused(await client.send('GET', `/v2/${repository}/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
        const letDelete = async () => {
          await home.setClockAhead(GRACE_MS + 1000);
          await home.ring('BLOB_SHARD', digest.slice(7, 9));
          await home.setClockAhead(0);
        };
        // The repository tells the shard that it has let the link go.
        await home.settled();
        if (isDeleted) await letDelete();
        assert.equal((await home.storedKeys()).includes(key), !isDeleted);

        const answer = await client.send('PUT', withDigest(location, digest));
        if (answer.status !== 201) assertRefused(answer, 404, 'BLOB_UPLOAD_UNKNOWN');
        await letDelete();
        const found = await client.pullBlob(repository, digest);
        assert.ok(answer.status === 201 ? found?.equals(bytes) : found === null);
        await client.pushBlob(repository, bytes);
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
      });
    }
  }

  test('a PUT of a whole blob may be repeated, also after a restart', async () => {
    const [client, bytes] = [new Client(home), blob(3 * MiB)];
    const [repository, digest] = [repositoryName(), digestOf(bytes)];
    const target = withDigest(await client.startUpload(repository), digest);
    await client.want(201, 'PUT', target, { body: bytes });
    await client.want(201, 'PUT', target, { body: bytes });
    await home.restart();
    await client.want(201, 'PUT', target, { body: bytes });
    assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
  });

  test('a chunk after the final PUT is refused', async () => {
    const [client, bytes] = [new Client(home), blob(1000)];
    const repository = repositoryName();
    const location = await client.startUpload(repository);
    const patch = await client.want(202, 'PATCH', location, { body: bytes });
    await client.want(201, 'PUT', withDigest(locationOf(patch), digestOf(bytes)));
    for (const headers of [{}, rangeOf(1000, 10), rangeOf(0, 10)]) {
      const answer = await client.send('PATCH', locationOf(patch), { body: blob(10), headers });
      assertRefused(answer, 404, 'BLOB_UPLOAD_UNKNOWN');
    }
    assertRefused(await client.send('GET', locationOf(patch)), 404, 'BLOB_UPLOAD_UNKNOWN');
    assert.ok((await client.pullBlob(repository, digestOf(bytes)))?.equals(bytes));
  });

  for (const size of [1000, 9 * MiB]) {
    for (const way of ['one PUT', 'PATCH', 'chunks'] as const) {
      test(`a digest that does not match ${size} bytes in ${way} publishes nothing and leaves nothing`, async () => {
        const [client, bytes, wrong, before] = [
          new Client(home),
          blob(size),
          unknownDigest(),
          await stored(home),
        ];
        const repository = repositoryName();
        const location = await client.startUpload(repository);
        let [target, last] = [location, bytes];
        if (way !== 'one PUT') {
          const body = way === 'PATCH' ? bytes : bytes.subarray(0, size / 2);
          const headers = way === 'PATCH' ? {} : rangeOf(0, body.length);
          target = locationOf(
            await client.want(202, 'PATCH', location, { body, headers, chunked: way === 'PATCH' }),
          );
          last = bytes.subarray(body.length);
        }
        assertRefused(
          await client.send('PUT', withDigest(target, wrong), { body: last }),
          400,
          'DIGEST_INVALID',
        );
        for (const digest of [wrong, digestOf(bytes)])
          assert.equal(await client.pullBlob(repository, digest), null);
        await expectNothingNew(home, before);
        await letTimePass(client);
        await expectNoRemains(client, before);
        await expectNothingNew(home, before);
      });
    }
  }

  for (const why of ['the hash died with its isolate', 'the algorithm is named only in the end'] as const) {
    test(`a digest that does not match publishes nothing where ${why}`, async () => {
      const [client, bytes, before] = [new Client(home), blob(9 * MiB), await stored(home)];
      const repository = repositoryName();
      const algorithm = why === 'the hash died with its isolate' ? 'sha256' : 'sha512';
      const [first, last] = [bytes.subarray(0, 8 * MiB), bytes.subarray(8 * MiB)];
      let patch = await client.want(202, 'PATCH', await client.startUpload(repository), { body: first });
      if (algorithm === 'sha256') {
        await home.restart();
        patch = await client.want(202, 'PATCH', locationOf(patch), { body: last });
      }
      const wrong = unknownDigest(algorithm);
      assertRefused(await client.send('PUT', withDigest(locationOf(patch), wrong)), 400, 'DIGEST_INVALID');
      assert.equal(await client.pullBlob(repository, wrong), null);
      await expectNothingNew(home, before);
      await letTimePass(client);
      await expectNothingNew(home, before);
    });
  }

  test('an upload that expires aborts what it began', async () => {
    const [client, before, repository] = [new Client(home), await stored(home), repositoryName()];
    const location = await client.startUpload(repository);
    const patch = await client.want(202, 'PATCH', location, {
      body: blob(16 * MiB),
      headers: rangeOf(0, 16 * MiB),
    });
    const id = String(patch.headers['docker-upload-uuid']);
    assert.notDeepEqual(await stored(home), before);
    const [session] = await home.rows(
      'UPLOAD_SESSION',
      id,
      `SELECT draft, multipart FROM uploads WHERE id = '${id}'`,
    );
    const query = `SELECT value ->> 0 AS partNumber, value ->> 2 AS etag FROM uploads, json_each(parts) WHERE uploads.id = '${id}'`;
    const parts = await home.rows('UPLOAD_SESSION', id, query);
    const begun = await stored(home);

    await home.setClockAhead(UPLOAD_LIFETIME_MS + 1000);
    assertRefused(
      await client.send('PATCH', locationOf(patch), { body: blob(10) }),
      404,
      'BLOB_UPLOAD_UNKNOWN',
    );
    await home.ringDue('UPLOAD_SESSION', id);
    assert.deepEqual(await stored(home), begun, 'a request may still be writing');
    await home.setClockAhead(EXPIRED_MS);
    // The store fails at first: the alarm is set again.
    await home.reset({ at: 0, how: 'before' });
    await home.ringDue('UPLOAD_SESSION', id);
    assert.notDeepEqual(await stored(home), before);
    await home.reset();
    await home.setClockAhead(EXPIRED_MS + 3600_000);
    assert.equal(await home.ringDue('UPLOAD_SESSION', id), true);
    await expectNothingNew(home, before);
    await expectForgotten(home, id);
    if (home.name === 'r2') {
      const draft = {
        key: `blobs/${session?.draft}`,
        multipart: String(session?.multipart),
        parts: parts as never,
      };
      assert.equal(await home.completes(draft), false, 'R2 still completes what was to be aborted');
    }
    await home.setClockAhead(0);
  });

  test('an upload that was published expires without touching the blob', async () => {
    const [client, bytes] = [new Client(home), blob(9 * MiB)];
    const [repository, digest] = [repositoryName(), digestOf(bytes)];
    const patch = await client.want(202, 'PATCH', await client.startUpload(repository), { body: bytes });
    await client.want(201, 'PUT', withDigest(locationOf(patch), digest));
    const id = String(patch.headers['docker-upload-uuid']);
    await home.setClockAhead(EXPIRED_MS);
    assert.equal(await home.ringDue('UPLOAD_SESSION', id), true);
    await home.setClockAhead(0);
    await expectForgotten(home, id);
    assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
  });

  for (const size of [0, 1000, 9 * MiB]) {
    test(`a cancel after ${size} bytes leaves nothing, and what still comes is refused`, async () => {
      const [client, bytes, before] = [new Client(home), blob(9 * MiB), await stored(home)];
      const [repository, digest] = [repositoryName(), digestOf(bytes)];
      let location = await client.startUpload(repository);
      if (size > 0)
        location = locationOf(await client.want(202, 'PATCH', location, { body: bytes.subarray(0, size) }));
      await client.want(204, 'DELETE', location);
      // Another isolate has not heard of the cancel, and this location does not say that there were chunks.
      await home.restart();
      for (const [method, target, sent] of [
        ['GET', location, {}],
        ['PATCH', location, { body: bytes }],
        ['PUT', withDigest(location, digest), { body: bytes }],
        ['PUT', withDigest(location, digest), {}],
        ['DELETE', location, {}],
      ] as const) {
        assertRefused(await client.send(method, target, sent), 404, 'BLOB_UPLOAD_UNKNOWN');
      }
      assert.equal(await client.pullBlob(repository, digest), null);
      await letTimePass(client);
      await expectNothingNew(home, before);
    });
  }
});

/** Nothing is kept of an upload. */
async function expectForgotten(home: Home, id: string): Promise<void> {
  const query = `SELECT id FROM uploads WHERE id = '${id}' UNION ALL SELECT upload FROM upload_part_lists WHERE upload = '${id}'
    UNION ALL SELECT upload FROM upload_tails WHERE upload = '${id}'`;
  assert.deepEqual(await home.rows('UPLOAD_SESSION', id, query), []);
}

/** The store has nothing that it did not have before. What other uploads left may be gone by now. */
async function expectNothingNew(home: Home, before: Set<string>): Promise<void> {
  const now = [...(await stored(home))];
  assert.deepEqual(
    now.filter((key) => !before.has(key)),
    [],
  );
}

/** Starts two uploads that one object holds, and gives their locations. */
async function uploadsOfOneObject(client: Client, repository: string): Promise<[string, string]> {
  const begun = new Map<string, string>();
  for (;;) {
    const location = await client.startUpload(repository);
    const id = location.split('/uploads/')[1] ?? '';
    const first = id.slice(0, 2);
    const other = begun.get(first);
    // Of two that expire at once, the one with the lower id ends first.
    if (other !== undefined && (other.split('/uploads/')[1] ?? '') < id) return [other, location];
    begun.set(first, location);
  }
}
