/**
 * Uploads past the Worker: the client stores the bytes in the bucket, and the registry links only what has the digest. Whatever the
 * client does with its grant, nothing is published unchecked, nothing that is published changes, and nothing is left over.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blob, digest as digestOf, repositoryName, unknownDigest } from '../support/fixtures.ts';
import * as homes from '../support/homes.ts';
import type { Fault } from '../support/observed.ts';
import { basic, Visitor } from '../support/visitor.ts';
import { assertRefused, Client, withDigest } from './client.ts';
import {
  announcement,
  complete,
  grantedParts,
  grantedPut,
  put,
  putPart,
  putParts,
  S3_CREDENTIALS,
  withGrant,
} from './direct.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const MiB = 1024 * 1024;
const VARS = { BLOB_DELIVERY: 'stream', CACHE_LIFETIME: '0' };

homes.onHome(
  'r2',
  (home) => {
    const push = async () => {
      const [client, before, bytes] = [new Client(home), await stored(home), blob(100_000)];
      return { client, before, bytes, digest: digestOf(bytes), repository: repositoryName() };
    };

    describe('one PUT', () => {
      it('a direct upload by one PUT is stored by the client, and linked by the commit', async () => {
        const { client, before, bytes, digest, repository } = await push();
        const { location, grant } = await grantedPut(client, repository, bytes);
        assert.equal(await put(grant, bytes), '200');
        assert.equal(await client.pullBlob(repository, digest), null, 'before the commit');
        await client.want(201, 'PUT', withDigest(location, digest));
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('a direct upload by one PUT of other bytes is refused by the bucket, and can be repeated', async () => {
        const { client, bytes, digest, repository } = await push();
        const { location, grant } = await grantedPut(client, repository, bytes);
        assert.equal(await put(grant, blob(bytes.length)), '400 BadDigest');
        assertRefused(await client.send('PUT', withDigest(location, digest)), 400, 'BLOB_UPLOAD_INVALID');
        assert.equal(await put(grant, bytes), '200');
        await client.want(201, 'PUT', withDigest(location, digest));
      });

      it('a direct upload by one PUT happens once', async () => {
        const { client, bytes, digest, repository } = await push();
        const { location, grant } = await grantedPut(client, repository, bytes);
        assert.equal(await put(grant, bytes), '200');
        assert.equal(await put(grant, bytes), '412 PreconditionFailed');
        await client.want(201, 'PUT', withDigest(location, digest));
        assert.equal(await put(grant, bytes), '412 PreconditionFailed');
      });

      const ALTERED: [name: string, more: Record<string, string>, outcome: string][] = [
        ['another checksum', { 'x-amz-checksum-sha256': 'AAAA' }, '403 SignatureDoesNotMatch'],
        ['another type', { 'content-type': 'text/html' }, '403 SignatureDoesNotMatch'],
        ['another disposition', { 'content-disposition': 'inline' }, '403 SignatureDoesNotMatch'],
        ['leave to replace', { 'if-none-match': '"etag"' }, '403 SignatureDoesNotMatch'],
        ['headers of S3 that are not signed', { 'x-amz-meta-a': 'b' }, '403 AccessDenied'],
      ];
      for (const [name, more, outcome] of ALTERED) {
        it(`a direct upload by one PUT with ${name} is refused by the bucket`, async () => {
          const { client, before, bytes, repository } = await push();
          const { grant } = await grantedPut(client, repository, bytes);
          assert.equal(await put(grant, bytes, more), outcome);
          await expectNoRemains(client, before);
        });
      }

      it('a direct upload by one PUT under another key, or later than the grant, is refused by the bucket', async () => {
        const { client, bytes, repository } = await push();
        const { grant } = await grantedPut(client, repository, bytes);
        const other = await grantedPut(client, repository, blob());
        const key = new URL(other.grant.url).pathname;
        const url = grant.url.replace(new URL(grant.url).pathname, key);
        assert.equal(await put({ ...grant, url }, bytes), '403 SignatureDoesNotMatch');
        home.s3.clockAheadMs = 16 * 60_000;
        assert.equal(await put(grant, bytes), '400 ExpiredRequest');
        home.s3.clockAheadMs = 0;
        assert.ok(grant.expiresAt - Date.now() / 1000 <= 15 * 60);
      });
    });

    describe('the commit refuses', () => {
      it('the commit refuses another digest than that of the bytes, and drops them', async () => {
        const { client, before, bytes, digest, repository } = await push();
        const { location, grant } = await grantedPut(client, repository, bytes);
        await put(grant, bytes);
        const other = withDigest(location, unknownDigest());
        assertRefused(await client.send('PUT', other), 400, 'DIGEST_INVALID');
        await expectNoRemains(client, before);
        assertRefused(await client.send('PUT', withDigest(location, digest)), 404, 'BLOB_UPLOAD_UNKNOWN');
      });

      it('the commit refuses bytes of another size than was announced', async () => {
        const { client, before, bytes, digest, repository } = await push();
        const { location, grant } = await grantedPut(client, repository, bytes, { size: bytes.length - 1 });
        await put(grant, bytes);
        assertRefused(await client.send('PUT', withDigest(location, digest)), 400, 'DIGEST_INVALID');
        await expectNoRemains(client, before);
      });

      it('the commit refuses bytes with other headers, and drops them', async () => {
        const { client, before, bytes, digest, repository } = await push();
        const { location, grant } = await grantedPut(client, repository, bytes);
        assert.equal(await put(grant, bytes, { 'content-encoding': 'gzip' }), '200');
        assertRefused(await client.send('PUT', withDigest(location, digest)), 400, 'BLOB_UPLOAD_INVALID');
        await expectNoRemains(client, before);
      });

      it('the commit refuses a client that knows a digest of another repository and has no bytes', async () => {
        const { client, bytes, digest, repository } = await push();
        await client.pushBlob(repositoryName('private'), bytes);
        const { location } = await grantedPut(client, repository, bytes);
        assertRefused(await client.send('PUT', withDigest(location, digest)), 400, 'BLOB_UPLOAD_INVALID');
        assert.equal(await client.pullBlob(repository, digest), null);
      });

      it('the commit refuses bytes that the bucket did not compare and that have another digest', async () => {
        const { client, before, bytes, digest, repository } = await push();
        home.s3.comparesChecksums = false;
        const { location, grant } = await grantedPut(client, repository, bytes);
        assert.equal(await put(grant, blob(bytes.length)), '200');
        home.s3.comparesChecksums = true;
        assertRefused(await client.send('PUT', withDigest(location, digest)), 400, 'DIGEST_INVALID');
        await expectNoRemains(client, before);
      });
    });

    it('bytes that the bucket did not compare are read once, and linked', async () => {
      const { client, bytes, digest, repository } = await push();
      home.s3.comparesChecksums = false;
      const { location, grant } = await grantedPut(client, repository, bytes);
      await put(grant, bytes);
      home.s3.comparesChecksums = true;
      await home.reset();
      await client.want(201, 'PUT', withDigest(location, digest));
      assert.equal((await home.counts()).calls.filter((call) => call === 'R2.get').length, 1);
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
    });

    it('a sha512 digest is computed from the bytes', async () => {
      const { client, bytes, repository } = await push();
      const { location, grant } = await grantedPut(client, repository, bytes);
      await put(grant, bytes);
      const digest = digestOf(bytes, 'sha512');
      await client.want(201, 'PUT', withDigest(location, digest));
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
    });

    describe('parts', () => {
      const PART = 5 * MiB;
      const large = async () => ({ ...(await push()), bytes: blob(PART + 1000) });

      it('direct uploads in parts are stored by the client, read once by the commit, and linked', async () => {
        const { client, before, bytes, repository } = await large();
        const digest = digestOf(bytes);
        const { location, grant } = await grantedParts(client, repository, bytes);
        await putParts(grant, bytes, PART);
        await home.reset();
        await client.want(201, 'PUT', withDigest(location, digest));
        assert.equal((await home.counts()).calls.filter((call) => call === 'R2.get').length, 1);
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('direct uploads in parts of other bytes are refused by the commit, and dropped', async () => {
        const { client, before, bytes, repository } = await large();
        const { location, grant } = await grantedParts(client, repository, bytes);
        await putParts(grant, blob(bytes.length), PART);
        assertRefused(await client.send('PUT', withDigest(location, digestOf(bytes))), 400, 'DIGEST_INVALID');
        await expectNoRemains(client, before);
      });

      it('direct uploads in parts that are not completed cannot be committed, and vanish when the upload expires', async () => {
        const { client, before, bytes, repository } = await large();
        const { location, grant } = await grantedParts(client, repository, bytes);
        await putPart(grant, 1, bytes.subarray(0, PART));
        const commit = withDigest(location, digestOf(bytes));
        assertRefused(await client.send('PUT', commit), 400, 'BLOB_UPLOAD_INVALID');
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('direct uploads in parts cannot change what was linked', async () => {
        const { client, bytes, repository } = await large();
        const digest = digestOf(bytes);
        const { location, grant } = await grantedParts(client, repository, bytes);
        await putParts(grant, bytes, PART);
        await client.want(201, 'PUT', withDigest(location, digest));
        const query = { partNumber: '1', uploadId: grant.uploadId };
        assert.equal(
          (await withGrant(grant, 'PUT', query, { body: blob(PART) })).outcome,
          '404 NoSuchUpload',
        );
        assert.equal(await complete(grant, ['"x"']), '404 NoSuchUpload');
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
      });

      const REFUSED: [name: string, method: string, query: Record<string, string>, key?: string][] = [
        ['write the object at once', 'PUT', {}],
        ['begin another upload', 'POST', { uploads: '' }],
        ['read', 'GET', {}],
        ['delete', 'DELETE', {}],
        ['store parts under another key', 'PUT', { partNumber: '1', uploadId: 'x' }, 'blobs/other'],
        ['abort', 'DELETE', { uploadId: 'x' }],
      ];
      for (const [name, method, query, key] of REFUSED) {
        it(`direct uploads in parts do not allow to ${name}`, async () => {
          const { client, bytes, repository } = await push();
          const { grant } = await grantedParts(client, repository, bytes);
          const more = { ...(method === 'PUT' ? { body: bytes } : {}), ...(key && { key }) };
          const { outcome } = await withGrant(grant, method, query, more);
          assert.equal(outcome, '403 AccessDenied');
        });
      }

      it('direct uploads in parts get a new grant until the upload ends, and one PUT gets none', async () => {
        const { client, bytes, repository } = await push();
        const { location, grant } = await grantedParts(client, repository, bytes);
        const headers = announcement(bytes, { parts: true });
        const renewed = await client.want(200, 'GET', location, { headers });
        assert.equal(JSON.parse(renewed.body.toString()).uploadId, grant.uploadId);
        await client.want(204, 'GET', location);
        const single = await grantedPut(client, repository, bytes);
        await client.want(204, 'GET', single.location, { headers });
        await putParts(grant, bytes, PART);
        await client.want(201, 'PUT', withDigest(location, digestOf(bytes)));
        assertRefused(await client.send('GET', location, { headers }), 404, 'BLOB_UPLOAD_UNKNOWN');
      });

      it('direct uploads in parts are refused by the bucket after the grant', async () => {
        const { client, bytes, repository } = await push();
        const { grant } = await grantedParts(client, repository, bytes);
        home.s3.clockAheadMs = 15 * 60_000 + 2000;
        const query = { partNumber: '1', uploadId: grant.uploadId };
        const { outcome } = await withGrant(grant, 'PUT', query, { body: bytes });
        home.s3.clockAheadMs = 0;
        assert.match(outcome, /^40[03] (ExpiredToken|RequestTimeTooSkewed)$/);
      });
    });

    describe('nothing is left of', () => {
      it('nothing is left of a client that vanishes, before and after its PUT', async () => {
        const { client, before, bytes, repository } = await push();
        await grantedPut(client, repository, bytes);
        const { grant } = await grantedPut(client, repository, bytes);
        await put(grant, bytes);
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('nothing is left of a cancelled upload, also if the PUT comes after the cancel', async () => {
        const { client, before, bytes, digest, repository } = await push();
        const early = await grantedPut(client, repository, bytes);
        await put(early.grant, bytes);
        await client.want(204, 'DELETE', early.location);
        await expectNoRemains(client, before);
        const late = await grantedPut(client, repository, bytes);
        await client.want(204, 'DELETE', late.location);
        assert.equal(await put(late.grant, bytes), '200');
        const commit = withDigest(late.location, digest);
        assertRefused(await client.send('PUT', commit), 404, 'BLOB_UPLOAD_UNKNOWN');
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('nothing is left of bytes that the registry had already', async () => {
        const { client, before, bytes, digest, repository } = await push();
        await client.pushBlob(repositoryName('first'), bytes);
        const { location, grant } = await grantedPut(client, repository, bytes);
        await put(grant, bytes);
        await client.want(201, 'PUT', withDigest(location, digest));
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
        await letTimePass(client);
        await expectNoRemains(client, before);
      });
    });

    it('a commit can be repeated, and come twice at once', async () => {
      const { client, before, bytes, digest, repository } = await push();
      const { location, grant } = await grantedPut(client, repository, bytes);
      await put(grant, bytes);
      const commit = withDigest(location, digest);
      const both = await Promise.all([client.send('PUT', commit), client.send('PUT', commit)]);
      assert.deepEqual(
        both.map(({ status }) => status),
        [201, 201],
      );
      await client.want(201, 'PUT', commit);
      assertRefused(await client.send('DELETE', location), 404, 'BLOB_UPLOAD_UNKNOWN');
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
      await letTimePass(client);
      await expectNoRemains(client, before);
    });

    it('another repository may push the same digest during the commit', async () => {
      for (const call of ['R2.head', 'BLOB_SHARD.link', 'REPOSITORY.linkBlob']) {
        const { client, before, bytes, digest, repository } = await push();
        const other = repositoryName('other');
        const { location, grant } = await grantedPut(client, repository, bytes);
        await put(grant, bytes);
        await home.reset({ at: call, how: 'wait' });
        const commit = client.send('PUT', withDigest(location, digest));
        assert.equal(await home.reached(), call);
        await client.pushBlob(other, bytes);
        await home.goOn();
        assert.equal((await commit).status, 201, call);
        for (const name of [repository, other])
          assert.ok((await client.pullBlob(name, digest))?.equals(bytes), call);
        await letTimePass(client, 2);
        await client.pullBlob(repository, digest);
        await letTimePass(client);
        await expectNoRemains(client, before);
      }
    });

    it('a direct upload takes no chunk', async () => {
      const { client, bytes, repository } = await push();
      const { location } = await grantedPut(client, repository, bytes);
      assertRefused(await client.send('PATCH', location, { body: bytes }), 404, 'BLOB_UPLOAD_UNKNOWN');
      const stripped = location.replace('-begun', '');
      assertRefused(await client.send('PATCH', stripped, { body: bytes }), 404, 'BLOB_UPLOAD_UNKNOWN');
    });

    const CALLS = [
      'UPLOAD_SESSION.beginDirect',
      'UPLOAD_SESSION.seal',
      'R2.head',
      'BLOB_SHARD.link',
      'REPOSITORY.linkBlob',
      'UPLOAD_SESSION.published',
    ];
    for (const how of ['before', 'after'] satisfies Fault['how'][]) {
      it(`a client that repeats itself succeeds if a call fails ${how} it was made`, async () => {
        for (const at of CALLS) {
          const { client, before, bytes, digest, repository } = await push();
          await home.reset({ at, how });
          const first = await grantedPut(client, repository, bytes).catch(() => null);
          const { location, grant } = first ?? (await grantedPut(client, repository, bytes));
          await put(grant, bytes);
          const commit = withDigest(location, digest);
          const answer = await client.send('PUT', commit);
          if (answer.status !== 201) await client.want(201, 'PUT', commit);
          assert.ok((await client.pullBlob(repository, digest))?.equals(bytes), at);
          await letTimePass(client);
          await expectNoRemains(client, before);
        }
      });
    }

    it('a multipart upload that the session did not record is aborted', async () => {
      const { client, before, bytes, repository } = await push();
      await home.reset({ at: 'UPLOAD_SESSION.beginDirect', how: 'before' });
      await assert.rejects(grantedParts(client, repository, bytes));
      await expectNoRemains(client, before);
    });

    const ORDINARY = [
      ['without the header', {}],
      ['for a sha512 digest', announcement(blob(), { digest: unknownDigest('sha512') })],
      ['for an empty blob', announcement(blob(), { size: 0 })],
      ['in another form', { 'Longshore-Direct': 'yes' }],
    ] satisfies [string, Record<string, string>][];
    for (const [name, headers] of ORDINARY) {
      it(`a POST ${name} gets no grant, and writes nothing`, async () => {
        const [client, repository] = [new Client(home), repositoryName()];
        await client.startUpload(repository); // The first upload of an isolate makes its key.
        await home.reset();
        const answer = await client.want(202, 'POST', `/v2/${repository}/blobs/uploads/`, { headers });
        assert.equal(answer.body.length, 0);
        assert.equal(answer.headers['longshore-direct'], undefined);
        assert.equal((await home.counts()).rowsWritten, 0);
      });
    }

    it('a direct upload costs one call at the POST, and three calls and one head at the commit', async () => {
      const { client, bytes, digest, repository } = await push();
      await client.pushBlob(repository, blob());
      const used = await grantedPut(client, repository, bytes);
      await put(used.grant, bytes);
      await client.want(201, 'PUT', withDigest(used.location, digest));
      await home.settled();
      await home.reset();
      // The session and the shard may be new: their tables are not what this costs.
      const location = await grantedPut(client, repository, bytes).then((granted) => granted.location);
      assert.deepEqual((await home.counts()).calls, ['UPLOAD_SESSION.beginDirect']);
      await client.want(204, 'DELETE', location);
      const fresh = blob(70_000);
      const next = await grantedPut(client, repository, fresh);
      await put(next.grant, fresh);
      await home.settled();
      await home.reset();
      await client.want(201, 'PUT', withDigest(next.location, digestOf(fresh)));
      await home.settled();
      const { calls } = await home.counts();
      assert.deepEqual(calls, [
        'UPLOAD_SESSION.seal',
        'R2.head',
        'BLOB_SHARD.link',
        'REPOSITORY.linkBlob',
        'UPLOAD_SESSION.published',
      ]);
    });
  },
  { vars: VARS, s3Double: S3_CREDENTIALS },
);

homes.onHome(
  'r2',
  (home) => {
    it('a user who may not push gets no grant', async () => {
      const client = new Client(home);
      const admin = new Visitor(home, 'admin:the password of the admin');
      const json = { name: 'reader', password: 'the password of the reader' };
      await admin.must(201, 'POST', '/api/v1/users', { json });
      const rule = { subject: 'user:reader', role: 'reader', repositories: '**' };
      await admin.must(201, 'POST', '/api/v1/rules', { json: rule });
      const path = `/v2/${repositoryName()}/blobs/uploads/`;
      const announced = announcement(blob());
      for (const [headers, status] of [
        [{}, 401],
        [{ Authorization: basic('reader:the password of the reader') }, 401],
        [{ Authorization: admin.basic }, 202],
      ] as const) {
        const answer = await client.send('POST', path, { headers: { ...headers, ...announced } });
        assert.equal(answer.status, status, answer.body.toString());
        assert.equal(answer.headers['longshore-direct'], status === 202 ? 'put' : undefined);
        assert.equal(answer.body.includes('X-Amz-Signature'), status === 202);
      }
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' }, s3Double: S3_CREDENTIALS },
);

homes.eachHome((home) => {
  it('without credentials of S3, the announcement of a direct upload is ignored', async () => {
    const client = new Client(home);
    const headers = announcement(blob());
    const answer = await client.want(202, 'POST', `/v2/${repositoryName()}/blobs/uploads/`, { headers });
    assert.equal(answer.body.length, 0);
  });
});
