/**
 * The client's way past the registry, against the double of R2's S3 endpoint and behind a front that refuses all but small bodies:
 * blobs get there, interruptions cost little, and where the way is closed the client says so once.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  type DirectContent,
  type DirectOptions,
  type DirectPush,
  DirectWay,
} from '../../cli/transfer/direct.ts';
import { grantIn } from '../../cli/transfer/direct-grant.ts';
import type { TransferEvent } from '../../cli/transfer/events.ts';
import { type Answer, SourceChanged } from '../../cli/transfer/http.ts';
import { pushImage } from '../../cli/transfer/push-image.ts';
import { Registry, RegistryError } from '../../cli/transfer/registry.ts';
import { ChunkedUpload, ChunkLimit } from '../../cli/transfer/upload.ts';
import { parseDigest } from '../../worker/oci/digest.ts';
import { Client } from '../faults/client.ts';
import { S3_CREDENTIALS } from '../faults/direct.ts';
import { expectNoRemains, letTimePass, stored } from '../faults/remains.ts';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { startWall, type Wall } from '../support/wall.ts';
import { assertPushed, imageOf, newTarget } from './support/memory-images.ts';

const MiB = 1024 * 1024;
const PART = 5 * MiB;
/** What the front lets through: the requests of the client without bodies, and its JSON. */
const WALL = 10_000;
const HOUR_MS = 3600_000;

function contentOf(bytes: Buffer, digest = digestOf(bytes)): DirectContent {
  const { length: size } = bytes;
  return {
    descriptor: { digest: parseDigest(digest), size },
    size,
    open: (start, end) => Readable.from([bytes.subarray(start, end)]),
  };
}

onHome(
  'r2',
  (home) => {
    let wall: Wall;
    before(async () => {
      wall = await startWall(home.url, WALL);
    });
    after(() => wall[Symbol.asyncDispose]());
    beforeEach(() => {
      home.s3.requests.length = 0;
      home.s3.faults.clear();
    });

    function wayOf(options: Partial<DirectOptions> = {}) {
      const reports: string[] = [];
      const registry = new Registry({ origin: wall.url, credentials: null });
      const all = {
        limit: new ChunkLimit(),
        minBytes: 1000,
        partBytes: PART,
        report: (text: string) => reports.push(text),
        ...options,
      };
      return { way: new DirectWay(registry, all), reports };
    }

    /** Pushes by a new way, and checks that the blob is there. */
    async function pushed(
      bytes: Buffer,
      options: Partial<DirectOptions> = {},
      progress: DirectPush = {},
      content = contentOf(bytes),
    ): Promise<{ reports: string[]; repository: string }> {
      const { way, reports } = wayOf(options);
      const repository = repositoryName();
      assert.equal(await way.push(repository, content, progress), 'sent');
      assert.ok((await new Client(home).pullBlob(repository, digestOf(bytes)))?.equals(bytes));
      return { reports, repository };
    }

    it('a direct upload stores a blob by one PUT', async () => {
      const offsets: number[] = [];
      const bytes = blob(3 * MiB);
      const { reports } = await pushed(bytes, {}, { sent: (offset) => offsets.push(offset) });
      assert.deepEqual(home.s3.answersTo('PutObject'), ['200']);
      assert.equal(offsets.at(-1), bytes.length);
      assert.deepEqual(reports, []);
    });

    it('a direct upload stores a large blob in parts', async () => {
      const offsets: number[] = [];
      const bytes = blob(2 * PART + 12_345);
      await pushed(bytes, { putMaxBytes: PART }, { sent: (offset) => offsets.push(offset) });
      assert.deepEqual(home.s3.answersTo('UploadPart'), ['200', '200', '200']);
      assert.deepEqual(home.s3.answersTo('PutObject'), []);
      assert.equal(offsets.at(-1), bytes.length);
    });

    it('a direct upload leaves small blobs and other digests to the registry', async () => {
      const { way } = wayOf();
      assert.equal(way.takes(contentOf(blob(999)).descriptor), false);
      assert.equal(way.takes(contentOf(blob(2000), digestOf(blob(), 'sha512')).descriptor), false);
    });

    it('a direct upload signs with the clock of the registry', async () => {
      await home.setClockAhead(2 * HOUR_MS);
      home.s3.clockAheadMs = 2 * HOUR_MS;
      try {
        await pushed(blob(2000));
        await pushed(blob(2000), { putMaxBytes: 1000 });
      } finally {
        await home.setClockAhead(0);
        home.s3.clockAheadMs = 0;
      }
      assert.deepEqual(home.s3.answersTo('UploadPart'), ['200']);
    });

    describe('gets there, although', () => {
      const busy = { status: 503, code: 'SlowDown' };
      const lost = { loseAnswer: true } as const;
      const cut = { cutAfterBytes: 9 * MiB };

      it('a direct upload succeeds, although the answer to the PUT is lost', async () => {
        home.s3.faults.set('PutObject', [lost]);
        await pushed(blob(2000));
        assert.deepEqual(home.s3.answersTo('PutObject'), ['412 PreconditionFailed']);
      });

      it('a direct upload succeeds, although the bucket is busy', async () => {
        home.s3.faults.set('PutObject', [busy]);
        await pushed(blob(2000));
        home.s3.faults.set('UploadPart', [busy, null, busy]);
        home.s3.faults.set('CompleteMultipartUpload', [busy]);
        await pushed(blob(PART + 1), { putMaxBytes: PART });
      });

      it('a direct upload succeeds, although two PUTs are cut off: it goes on in parts', async () => {
        home.s3.faults.set('PutObject', [cut, cut]);
        const { reports } = await pushed(blob(12 * MiB));
        assert.deepEqual(reports, []);
        assert.equal(home.s3.answersTo('UploadPart').length, 3);
      });

      it('a direct upload succeeds, although answers to parts are lost', async () => {
        home.s3.faults.set('UploadPart', [lost, null, { cutAfterBytes: MiB }]);
        home.s3.faults.set('CompleteMultipartUpload', [lost]);
        await pushed(blob(2 * PART + 1), { putMaxBytes: PART });
        assert.deepEqual(home.s3.answersTo('CompleteMultipartUpload'), ['404 NoSuchUpload']);
      });

      it('a direct upload succeeds, although the grant expires on the way', async () => {
        home.s3.faults.set('UploadPart', [null, { status: 400, code: 'ExpiredToken' }]);
        const { reports } = await pushed(blob(2 * PART + 1), { putMaxBytes: PART });
        assert.deepEqual(reports, []);
      });

      it('a direct upload succeeds, although a part was damaged on its way', async () => {
        home.s3.faults.set('UploadPart', [{ status: 400, code: 'BadDigest' }]);
        await pushed(blob(PART + 1), { putMaxBytes: PART });
      });
    });

    it('a direct upload links a blob that the registry has in another repository', async () => {
      const [bytes, from] = [blob(100_000), repositoryName('from')];
      await new Client(home).pushBlob(from, bytes);
      const { way } = wayOf();
      const repository = repositoryName();
      assert.equal(await way.push(repository, contentOf(bytes), { mountFrom: from }), 'linked');
      assert.deepEqual(home.s3.requests, []);
    });

    describe('says that the source changed, if', () => {
      it('a direct upload says that the source changed, if one PUT has other bytes', async () => {
        const { way } = wayOf();
        const content = contentOf(blob(2000), digestOf(blob()));
        await assert.rejects(way.push(repositoryName(), content), (error) => {
          assert.ok(error instanceof RegistryError);
          return error.code === 'DIGEST_INVALID';
        });
      });

      it('a direct upload says that the source changed, if the parts have other bytes', async () => {
        const { way } = wayOf({ putMaxBytes: 1000 });
        const content = contentOf(blob(2000), digestOf(blob()));
        await assert.rejects(way.push(repositoryName(), content), (error) => {
          assert.ok(error instanceof RegistryError);
          return error.code === 'DIGEST_INVALID';
        });
      });

      it('a direct upload says that the source changed, if a part has other bytes each time that it is read', async () => {
        const { way } = wayOf({ putMaxBytes: 1000 });
        const content = { ...contentOf(blob(2000)), open: () => Readable.from([blob(2000)]) };
        await assert.rejects(way.push(repositoryName(), content), SourceChanged);
      });
    });

    describe('goes through the registry, and says so once, if the bucket', () => {
      const ROWS = [
        ['refuses the grant', { status: 403, code: 'AccessDenied' }],
        ['cannot be reached', { cutAfterBytes: 0 }],
      ] as const;
      for (const [name, fault] of ROWS) {
        it(`uploads go through the registry, and say so once, if the bucket ${name}`, async () => {
          for (const options of [{}, { putMaxBytes: 1000 }]) {
            const [client, already] = [new Client(home), await stored(home)];
            const repository = repositoryName();
            for (const operation of ['PutObject', 'UploadPart'])
              home.s3.faults.set(operation, Array(20).fill(fault));
            const { way, reports } = wayOf(options);
            const blobs = [blob(2000), blob(2000), blob(2000)];
            const push = (bytes: Buffer) => way.push(repository, contentOf(bytes));
            assert.deepEqual(await Promise.all(blobs.map(push)), [null, null, null]);
            assert.equal(reports.length, 1);
            assert.match(reports[0] ?? '', /directly \(.*\), so they go through http.*longshore doctor/);
            await home.reset();
            assert.equal(await push(blob(2000)), null);
            assert.deepEqual((await home.counts()).calls, [], 'it is not asked again');
            await letTimePass(client);
            await expectNoRemains(client, already);
          }
        });
      }
    });

    it('an image is pushed directly: large layers past the registry, and the rest through it', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'longshore-direct-'));
      const image = imageOf([3 * MiB, 50_000, 500]);
      const target = newTarget(new URL(wall.url).host);
      const events: TransferEvent[] = [];
      const { sent } = await pushImage({
        source: image,
        target,
        credentials: async () => null,
        jobs: 4,
        env: { XDG_STATE_HOME: folder, LONGSHORE_DIRECT: '1000' },
        listen: (event) => events.push(event),
      });
      assert.deepEqual(sent, { blobs: 4, bytes: image.bytes });
      assert.deepEqual(home.s3.answersTo('PutObject'), ['200', '200']);
      assert.deepEqual(wall.refused, []);
      assert.ok(!events.some(({ event }) => event === 'note'));
      await assertPushed(image, home.url, target);
      rmSync(folder, { recursive: true, force: true });
    });

    it('a direct upload goes through the registry soon, if a firewall lets nothing through to the bucket', async () => {
      home.s3.faults.set('HeadObject', [{ isSilent: true }]);
      const { way, reports } = wayOf({ reachMs: 50 });
      const push = () => way.push(repositoryName(), contentOf(blob(2000)));
      assert.deepEqual(await Promise.all([push(), push()]), [null, null]);
      assert.match(
        reports.join(),
        /^Blobs cannot be stored in the bucket directly \(127\.0\.0\.1:\d+ does not answer\)/,
      );
      assert.deepEqual(home.s3.answersTo('PutObject'), []);
    });

    describe('continues', () => {
      it('a direct upload continues where a killed process ended, with the missing parts only', async () => {
        const bytes = blob(3 * PART + 5);
        const repository = repositoryName();
        const killed = new AbortController();
        const registry = new Registry({ origin: wall.url, credentials: null, signal: killed.signal });
        const options = {
          limit: new ChunkLimit(),
          minBytes: 1000,
          putMaxBytes: PART,
          partBytes: PART,
          report: assert.fail,
        };
        let location = '';
        const reached = new EventTarget();
        const content: DirectContent = {
          ...contentOf(bytes),
          open: (start, end) =>
            Readable.from(start < 2 * PART ? [bytes.subarray(start, end)] : stalled(reached)),
        };
        const resumable = async (at: string) => {
          location = at;
        };
        const first = new DirectWay(registry, options).push(repository, content, { resumable });
        const ended = assert.rejects(first);
        while (home.s3.answersTo('UploadPart').length < 2) await new Promise((done) => setImmediate(done));
        killed.abort(new Error('killed'));
        reached.dispatchEvent(new Event('killed'));
        await ended;
        home.s3.requests.length = 0;
        const offsets: number[] = [];
        const sent = (offset: number) => offsets.push(offset);
        const { way } = wayOf({ putMaxBytes: PART });
        const outcome = await way.push(repository, contentOf(bytes), { sent, resumeFrom: location });
        assert.equal(outcome, 'sent');
        assert.equal(home.s3.answersTo('UploadPart').length, 2);
        assert.equal(offsets.at(-1), bytes.length);
        assert.ok((await new Client(home).pullBlob(repository, digestOf(bytes)))?.equals(bytes));
      });

      it('a direct upload continues with a new upload, if the registry does not know the old one', async () => {
        const bytes = blob(2000);
        const { way } = wayOf();
        const old = `${wall.url}/v2/a/blobs/uploads/${crypto.randomUUID()}?token=none`;
        const outcome = await way.push(repositoryName(), contentOf(bytes), { resumeFrom: old });
        assert.equal(outcome, 'sent');
      });
    });
  },
  { vars: { BLOB_DELIVERY: 'stream', CACHE_LIFETIME: '0' }, s3Double: S3_CREDENTIALS },
);

onHome('r2', (home) => {
  it('a direct upload asks a registry without credentials of S3 once, and goes on with the upload that it started', async () => {
    const registry = new Registry({ origin: home.url, credentials: null });
    const limit = new ChunkLimit();
    const way = new DirectWay(registry, { limit, report: assert.fail, minBytes: 1000 });
    const content = contentOf(blob(2000));
    const upload = await way.push(repositoryName(), content);
    assert.ok(upload instanceof ChunkedUpload);
    assert.equal(way.takes(content.descriptor), false);
    await upload.append(content);
    await upload.commit(content.descriptor.digest);
  });
});

describe('a grant', () => {
  const valid = { issuedAt: 1, expiresAt: 2, url: 'https://s3.example/b/k' };
  const put = { way: 'put', headers: {}, ...valid };
  const parts = {
    way: 'parts',
    uploadId: 'u',
    accessKeyId: 'a',
    secretAccessKey: 's',
    sessionToken: 't',
    ...valid,
  };
  const ROWS: [name: string, origin: string, body: unknown, isTaken: boolean][] = [
    ['of one PUT is taken', 'https://r.example', put, true],
    ['of parts is taken', 'https://r.example', parts, true],
    [
      'over http is taken from a registry over http',
      'http://r.example',
      { ...put, url: 'http://s3.example/b/k' },
      true,
    ],
    [
      'over http is not taken from one over https',
      'https://r.example',
      { ...put, url: 'http://s3.example/b/k' },
      false,
    ],
    ['to another scheme is not taken', 'http://r.example', { ...put, url: 'file:///etc/passwd' }, false],
    ['of another way is not taken', 'https://r.example', { ...put, way: 'mail' }, false],
    ['without a token is not taken', 'https://r.example', { ...parts, sessionToken: undefined }, false],
    ['without a time is not taken', 'https://r.example', { ...put, expiresAt: 'soon' }, false],
    [
      'with headers that are no texts is not taken',
      'https://r.example',
      { ...put, headers: { a: 1 } },
      false,
    ],
    ['that is no object is not taken', 'https://r.example', null, false],
  ];
  for (const [name, origin, body, isTaken] of ROWS) {
    it(`a grant ${name}`, async () => {
      const answer = {
        status: 202,
        header: () => 'put',
        body: Readable.from([Buffer.from(JSON.stringify(body))]),
      } as unknown as Answer;
      assert.equal((await grantIn(answer, origin)) !== null, isTaken);
    });
  }
});

/** A source that gives nothing more until an event. */
async function* stalled(until: EventTarget): AsyncGenerator<Buffer> {
  await once(until, 'killed');
  yield* [];
}
