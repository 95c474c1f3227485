/**
 * Uploads past the Worker by clients of the containerd family, which do not come back for a blob. What they store is published only by a
 * manifest that names it, and only if it has the digest. Each upload is for the digest that its client asked for.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Counts } from '../support/counts.ts';
import { blob, digest as digestOf, imageManifest, mediaTypes, repositoryName } from '../support/fixtures.ts';
import * as homes from '../support/homes.ts';
import { basic } from '../support/visitor.ts';
import { Asking, isDirect } from './asked.ts';
import { assertRefused, Client } from './client.ts';
import { S3_CREDENTIALS } from './direct.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

/** A user who may pull: `the password of the file`. */
const READER = 'reader:$2y$05$furjYk3RoCmwk9tbJEU50.oTfjlxIS8CM09B1z7xhpXsBqJq9GE3S';
const VARS = { BLOB_DELIVERY: 'stream', CACHE_LIFETIME: '0' };
/** Rows that are written for a blob until it is in the bucket, and by a manifest that links it. */
const BEGUN_ROWS_MAX = 3;
const LINKED_ROWS_MAX = 19;

/** Those of new tables do not count: an object makes them once. */
function assertRows({ statements }: Counts, most: number): void {
  const written = Object.entries(statements).filter(
    ([statement, rows]) => rows.written > 0 && !/: (?:CREATE|ALTER) |schema_version/.test(statement),
  );
  const sum = written.reduce((rows, [, statement]) => rows + statement.written, 0);
  assert.ok(sum <= most, `${sum} rows, of ${most}: ${JSON.stringify(Object.fromEntries(written), null, 1)}`);
}

const IMAGE_OF_THREE = () => imageManifest({ layers: [blob(300_000), blob(200_000), blob(100_000)] });

homes.onHome(
  'r2',
  (home) => {
    const scene = async () => {
      const client = new Client(home);
      const repository = repositoryName();
      return { client, repository, before: await stored(home), asking: new Asking(client, repository) };
    };

    describe('a push', () => {
      it('a push of containerd stores all layers past the Worker, and the manifest links them', async () => {
        const { client, repository, before, asking } = await scene();
        const image = IMAGE_OF_THREE();
        const { blobs, answer } = await asking.push('latest', image);
        assert.deepEqual(blobs, ['200', '200', '200', '200']);
        assert.equal(answer.status, 201, answer.body.toString());
        assert.equal(await client.pullManifest(repository, 'latest'), image.digest);
        assert.deepEqual((await asking.push('again', image)).blobs, ['exists', 'exists', 'exists', 'exists']);
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('two callers push the same image past the Worker at once', async () => {
        const { client, repository, before } = await scene();
        const image = IMAGE_OF_THREE();
        const pushes = ['one', 'other'].map(
          (who) => new Asking(client, repository, `containerd/2.4.2+${who}`),
        );
        const answers = await Promise.all(pushes.map((asking, at) => asking.push(`tag${at}`, image)));
        for (const { answer } of answers) assert.equal(answer.status, 201, answer.body.toString());
        assert.equal(await client.pullManifest(repository, 'tag1'), image.digest);
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('one caller pushes an image past the Worker twice at once', async () => {
        const { client, repository, asking } = await scene();
        const image = IMAGE_OF_THREE();
        const [one, other] = await Promise.all([asking.push('one', image), asking.push('other', image)]);
        assert.deepEqual([one.answer.status, other.answer.status], [201, 201]);
        assert.equal(await client.pullManifest(repository, 'other'), image.digest);
      });

      it('a push of containerd that was interrupted before its manifest sends nothing again', async () => {
        const { client, repository, asking } = await scene();
        const bytes = blob(100_000);
        assert.equal(await asking.pushBlob(bytes), '200');
        assert.equal(await client.pullBlob(repository, digestOf(bytes)), null);
        assert.equal(await asking.pushBlob(bytes), 'exists');
        assert.ok((await client.pullBlob(repository, digestOf(bytes)))?.equals(bytes));
      });

      it('a push of containerd mounts what another repository has, and otherwise stores the blob that it named', async () => {
        const { client, repository, asking } = await scene();
        const [here, missing] = [blob(1000), blob(1000)];
        const source = repositoryName('source');
        await client.pushBlob(source, here);
        for (const [bytes, status] of [
          [here, 201],
          [missing, 202],
        ] as const) {
          assert.equal(await asking.head(digestOf(bytes)), 404);
          const answer = await asking.post(`?mount=${digestOf(bytes)}&from=${source}`);
          assert.equal(answer.status, status);
          if (status === 202)
            assert.equal(await asking.put(String(answer.headers.location), digestOf(bytes), bytes), '200');
        }
        const image = imageManifest({ layers: [here, missing], config: here });
        assert.equal((await client.putManifest(repository, 'latest', image)).status, 201);
      });

      it('a push of containerd sends a config to the registry', async () => {
        const { asking } = await scene();
        const bytes = Buffer.from('{}');
        await asking.head(digestOf(bytes), mediaTypes.imageConfig);
        const answer = await asking.post();
        assert.equal(isDirect(answer), false);
        assert.equal(await asking.put(String(answer.headers.location), digestOf(bytes), bytes), '201');
      });

      it('a client that adds no namespace pushes past the Worker', async () => {
        const { client, repository } = await scene();
        const asking = new Asking(client, repository, 'containerd/2.2.1');
        const bytes = blob(1000);
        const location = await asking.start(bytes);
        assert.equal(await asking.put(location, digestOf(bytes), bytes, {}, {}), '200');
      });
    });

    describe('the bucket refuses', () => {
      const REFUSED: [name: string, headers: Record<string, string>, added: Record<string, string>][] = [
        ['another type', { 'Content-Type': 'text/html' }, { ns: '' }],
        ['another namespace', {}, { ns: 'other' }],
        ['further parameters', {}, { ns: '', a: 'b' }],
      ];
      for (const [name, headers, added] of REFUSED) {
        it(`the bucket refuses a layer: ${name}`, async () => {
          const { asking, before, client } = await scene();
          const bytes = blob(1000);
          const location = await asking.start(bytes);
          const namespace = added.ns || new URL(home.url).host;
          const outcome = await asking.put(location, digestOf(bytes), bytes, headers, {
            ...added,
            ns: namespace,
          });
          assert.equal(outcome, '403 SignatureDoesNotMatch');
          await expectNoRemains(client, before);
        });
      }

      it('the bucket refuses other bytes, and the manifest is refused', async () => {
        const { client, repository, before, asking } = await scene();
        const image = IMAGE_OF_THREE();
        const [config = blob(), ...layers] = image.blobs;
        await asking.pushBlob(config);
        for (const layer of layers) {
          const location = await asking.start(layer);
          assert.equal(await asking.put(location, digestOf(layer), blob(layer.length)), '400 BadDigest');
        }
        const answer = await client.putManifest(repository, 'latest', image);
        assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN');
        await letTimePass(client);
        await expectNoRemains(client, before);
      });
    });

    describe('the manifest is refused', () => {
      it('the manifest is refused if a layer has not arrived yet, and accepted after that', async () => {
        const { client, repository, asking } = await scene();
        const image = IMAGE_OF_THREE();
        const [late = blob(), ...others] = image.blobs;
        const location = await asking.start(late);
        for (const bytes of others) await asking.pushBlob(bytes);
        const refused = await client.putManifest(repository, 'latest', image);
        assertRefused(refused, 400, 'MANIFEST_BLOB_UNKNOWN');
        assert.deepEqual(JSON.parse(refused.body.toString()).errors[0].detail.missing, [digestOf(late)]);
        assert.equal(await asking.put(location, digestOf(late), late), '200');
        assert.equal((await client.putManifest(repository, 'latest', image)).status, 201);
      });

      it('the manifest is refused if it states another size, and the bytes stay', async () => {
        const { client, repository, asking } = await scene();
        const layer = blob(1000);
        await asking.pushBlob(layer);
        const image = imageManifest({ layers: [layer], config: layer });
        const text = image.bytes.toString().replaceAll('"size":1000', '"size":1001');
        const other = { ...image, bytes: Buffer.from(text) };
        assertRefused(await client.putManifest(repository, 'latest', other), 400, 'MANIFEST_BLOB_UNKNOWN');
        assert.equal((await client.putManifest(repository, 'latest', image)).status, 201);
      });

      it('the manifest is refused if the object has other headers, and the bytes are dropped', async () => {
        const { client, repository, before, asking } = await scene();
        const layer = blob(1000);
        const location = await asking.start(layer);
        const outcome = await asking.put(location, digestOf(layer), layer, { 'Content-Encoding': 'gzip' });
        assert.equal(outcome, '200');
        const image = imageManifest({ layers: [layer], config: layer });
        assertRefused(await client.putManifest(repository, 'latest', image), 400, 'MANIFEST_BLOB_UNKNOWN');
        await expectNoRemains(client, before);
      });

      it('the manifest is refused in another repository than that of the upload', async () => {
        const { client, asking } = await scene();
        const layer = blob(1000);
        await asking.pushBlob(layer);
        const image = imageManifest({ layers: [layer], config: layer });
        const answer = await client.putManifest(repositoryName('other'), 'latest', image);
        assertRefused(answer, 400, 'MANIFEST_BLOB_UNKNOWN');
      });
    });

    it('bytes that the bucket has not compared are read before they are linked', async () => {
      const { client, repository, before, asking } = await scene();
      const [right, wrong] = [blob(100_000), blob(100_000)];
      home.s3.comparesChecksums = false;
      assert.equal(await asking.pushBlob(right), '200');
      const location = await asking.start(wrong);
      assert.equal(await asking.put(location, digestOf(wrong), blob(wrong.length)), '200');
      home.s3.comparesChecksums = true;
      assert.equal(await asking.head(digestOf(right)), 404, 'not read for a HEAD');
      const image = (layer: Buffer) => imageManifest({ layers: [layer], config: layer });
      assert.equal((await client.putManifest(repository, 'right', image(right))).status, 201);
      assertRefused(
        await client.putManifest(repository, 'wrong', image(wrong)),
        400,
        'MANIFEST_BLOB_UNKNOWN',
      );
      assert.ok((await client.pullBlob(repository, digestOf(right)))?.equals(right));
      await letTimePass(client);
      await expectNoRemains(client, before);
    });

    describe('turns', () => {
      it('turns of uploads follow each other: the second answer waits for the first POST', async () => {
        const { asking } = await scene();
        const [first, second] = [blob(1000), blob(1000)];
        await asking.head(digestOf(first));
        const waiting = asking.head(digestOf(second));
        const one = await asking.post();
        assert.equal(await waiting, 404);
        const other = await asking.post();
        assert.equal(await asking.put(String(one.headers.location), digestOf(first), first), '200');
        assert.equal(await asking.put(String(other.headers.location), digestOf(second), second), '200');
      });

      it('turns of uploads end when the POST does not come, and then the uploads are ordinary', async () => {
        const { asking, client, before } = await scene();
        await asking.head(digestOf(blob()));
        const waiting = asking.head(digestOf(blob()));
        await home.setClockAhead(10_000);
        assert.equal(await waiting, 404);
        assert.equal(isDirect(await asking.post()), false);
        assert.equal(isDirect(await asking.post()), false);
        await home.setClockAhead(120_000);
        await asking.head(digestOf(blob()));
        assert.equal(isDirect(await asking.post()), true, 'later');
        await home.setClockAhead(0);
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('turns of uploads are forgotten if the object restarts: nothing wrong is stored, and the next push works', async () => {
        const { client, repository, before, asking } = await scene();
        const first = blob(1000);
        await asking.head(digestOf(first));
        await home.evict('REPOSITORY', repository);
        const { headers } = await asking.post();
        // It is an ordinary upload: no HEAD is known any more.
        assert.equal(await asking.put(String(headers.location), digestOf(first), first), '201');
        const image = IMAGE_OF_THREE();
        const { answer } = await asking.push('latest', image);
        assert.equal(answer.status, 201, answer.body.toString());
        assert.equal(await client.pullManifest(repository, 'latest'), image.digest);
        await letTimePass(client);
        await expectNoRemains(client, before);
      });

      it('turns of uploads of one caller do not stall another, and neither does a flood', async () => {
        const { client, repository } = await scene();
        const flood = Array.from({ length: 250 }, () => blob());
        const loud = new Asking(client, repository, 'containerd/2.4.2+loud');
        const quiet = new Asking(client, repository, 'containerd/2.4.2+quiet');
        const statuses = Promise.all(flood.map((bytes) => loud.head(digestOf(bytes))));
        assert.equal((await quiet.push('latest', IMAGE_OF_THREE())).answer.status, 201);
        assert.deepEqual([...new Set(await statuses)], [404]);
        assert.equal(isDirect(await loud.post()), false, 'which of them it is for cannot be told');
      });

      it('turns of uploads are kept of a bounded number of callers, and others push as before', async () => {
        const { client, repository } = await scene();
        for (let at = 0; at < 101; at++) {
          const asking = new Asking(client, repository, `containerd/2.4.2+caller${at}`);
          assert.equal(await asking.head(digestOf(blob())), 404);
          if (at === 0) assert.equal(isDirect(await asking.post()), true);
        }
        const more = new Asking(client, repository, 'containerd/2.4.2+more');
        assert.deepEqual(
          (await more.push('latest', IMAGE_OF_THREE())).blobs.map((outcome) => outcome.slice(0, 1)),
          ['2', '2', '2', '2'],
        );
      });
    });

    it('a client that vanishes leaves nothing, before and after its PUT', async () => {
      const { client, before, asking } = await scene();
      await asking.start(blob(1000));
      await asking.pushBlob(blob(1000));
      await letTimePass(client);
      await expectNoRemains(client, before);
      assert.deepEqual(
        await home.rows('REPOSITORY', asking.repository, 'SELECT name FROM sqlite_master'),
        [],
      );
    });

    it('a call that fails does not break the push that repeats it', async () => {
      const CALLS = [
        'REPOSITORY.awaitTurn',
        'REPOSITORY.takeTurn',
        'UPLOAD_SESSION.beginDirect',
        'REPOSITORY.putManifest',
        'R2.head',
        'UPLOAD_SESSION.seal',
        'BLOB_SHARD.link',
        'REPOSITORY.linkBlob',
        'UPLOAD_SESSION.published',
      ];
      for (const how of ['before', 'after'] as const) {
        for (const at of CALLS) {
          const { client, repository, before, asking } = await scene();
          const image = imageManifest({ layers: [blob(1000)] });
          await home.reset({ at, how });
          const push = () => asking.push('latest', image).catch(() => null);
          let answer = (await push())?.answer;
          if (answer?.status !== 201) answer = (await push())?.answer;
          assert.equal(answer?.status, 201, `${how} ${at}: ${answer?.body}`);
          assert.equal(await client.pullManifest(repository, 'latest'), image.digest);
          await letTimePass(client);
          await expectNoRemains(client, before);
        }
      }
    });

    const OTHERS = [
      'containerd/2.1.5',
      'containerd/1.7.29',
      'containerd/2.3.0-beta.1',
      'containerd/3.0.0',
      'docker/29.0.0 go/go1.25 os/linux arch/amd64',
      'docker/28.5.0 go/go1.24 os/linux arch/amd64 containerd-client/2.1.5 storage-driver/overlayfs',
      'buildkit/v0.31',
      'buildkit/v0.32-dev',
      'skopeo/1.20.0',
      'not containerd/2.4.2',
    ];
    for (const userAgent of OTHERS) {
      it(`${userAgent} pushes as before, and waits for nothing`, async () => {
        const { client, repository } = await scene();
        const asking = new Asking(client, repository, userAgent);
        await home.reset();
        await asking.head(digestOf(blob()));
        await asking.head(digestOf(blob()));
        const answer = await asking.post();
        assert.equal(isDirect(answer), false);
        const { calls, rowsWritten } = await home.counts();
        assert.deepEqual([calls, rowsWritten], [['REPOSITORY.look', 'REPOSITORY.look'], 0]);
      });
    }

    for (const userAgent of [
      'containerd/v2.3.0',
      'docker/29.2.0 go/go1.25 git-commit/a kernel/6.1 os/linux arch/amd64 containerd-client/2.3.1+unknown storage-driver/overlayfs UpstreamClient(Docker-Client/29.2.0 \\(linux\\))',
      'buildkit/v0.32',
      'buildkit/v0.33 moby/v29.4',
    ]) {
      it(`${userAgent} stores past the Worker`, async () => {
        const { client, repository } = await scene();
        assert.equal(await new Asking(client, repository, userAgent).pushBlob(blob(1000)), '200');
      });
    }

    it('a push past the Worker costs two calls more for the HEAD and the POST, and four and a head for each blob of the manifest, and few rows', async () => {
      const { client, repository, asking } = await scene();
      await client.pushManifest(repository, 'before', imageManifest());
      const warm = blob(1000);
      await asking.pushBlob(warm);
      await home.settled();
      await home.reset();
      const layer = blob(1000);
      await asking.pushBlob(layer);
      const before = await home.counts();
      assert.deepEqual(before.calls, [
        'REPOSITORY.look',
        'REPOSITORY.awaitTurn',
        'REPOSITORY.takeTurn',
        'UPLOAD_SESSION.beginDirect',
      ]);
      await home.settled();
      assertRows(await home.counts(), BEGUN_ROWS_MAX);
      await home.reset();
      const image = imageManifest({ layers: [layer], config: layer });
      assert.equal((await client.putManifest(repository, 'latest', image)).status, 201);
      await home.settled();
      const counts = await home.counts();
      assertRows(counts, LINKED_ROWS_MAX);
      const { calls } = counts;
      const rows = await home.rows('REPOSITORY', repository, 'SELECT digest FROM arriving_blobs');
      assert.deepEqual(rows, [{ digest: digestOf(warm) }], 'one row, until the blob is linked');
      assert.deepEqual(calls.filter((call) => !call.startsWith('CATALOG')).sort(), [
        'BLOB_SHARD.link',
        'R2.head',
        'REPOSITORY.linkBlob',
        'REPOSITORY.putManifest',
        'REPOSITORY.putManifest',
        'UPLOAD_SESSION.published',
        'UPLOAD_SESSION.seal',
      ]);
    });
  },
  { vars: { ...VARS, DIRECT_UPLOAD: 'true' }, s3Double: S3_CREDENTIALS },
);

homes.onHome(
  'r2',
  (home) => {
    it('without DIRECT_UPLOAD, containerd pushes through the Worker, and nothing waits', async () => {
      const client = new Client(home);
      const asking = new Asking(client, repositoryName());
      // The isolate gets its keys once.
      await asking.post();
      await home.reset();
      await asking.head(digestOf(blob()));
      await asking.head(digestOf(blob()));
      assert.equal(isDirect(await asking.post()), false);
      const { calls, rowsWritten } = await home.counts();
      assert.deepEqual([calls, rowsWritten], [['REPOSITORY.look', 'REPOSITORY.look'], 0]);
    });
  },
  { vars: VARS, s3Double: S3_CREDENTIALS },
);

homes.onHome(
  'r2',
  (home) => {
    it('a user who may only pull waits for nothing, and holds up nothing', async () => {
      const client = new Client(home);
      const asking = new Asking(client, repositoryName());
      asking.headers.Authorization = basic('reader:the password of the file');
      assert.equal(await asking.head(digestOf(blob())), 404);
      await home.settled();
      await home.reset();
      assert.equal(await asking.head(digestOf(blob())), 404);
      assert.deepEqual((await home.counts()).calls, ['REPOSITORY.look']);
      assert.equal((await asking.post()).status, 401);
    });
  },
  {
    vars: { ...VARS, DIRECT_UPLOAD: 'true', AUTH: 'on', HTPASSWD: READER, HTPASSWD_ROLE: 'reader' },
    s3Double: S3_CREDENTIALS,
  },
);
