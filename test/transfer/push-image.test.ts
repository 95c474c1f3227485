/** Pushes of images by the engine, to both homes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { TransferEvent } from '../../cli/transfer/events.ts';
import { type PushOptions, pushImage } from '../../cli/transfer/push-image.ts';
import { ResumeStore } from '../../cli/transfer/resume.ts';
import { ChunkLimit } from '../../cli/transfer/upload.ts';
import { parseDigest } from '../../worker/oci/digest.ts';
import { eachHome } from '../support/homes.ts';
import { startWall } from '../support/wall.ts';
import { startFront } from './support/front.ts';
import { assertPushed, imageOf, newTarget } from './support/memory-images.ts';

const CHUNK_BYTES = 1024 * 1024;

eachHome((home) => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'longshore-push-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const push = async (options: Pick<PushOptions, 'source' | 'target'> & Partial<PushOptions>) => {
    const events: TransferEvent[] = [];
    const summary = await pushImage({
      credentials: async () => null,
      jobs: 4,
      env: { XDG_STATE_HOME: folder },
      listen: (event) => events.push(event),
      ...options,
    });
    return { summary, events };
  };

  describe('a push of an image', () => {
    it('a push of an image learns what a front takes, and sends chunks of that', async () => {
      await using wall = await startWall(home.url, 1_200_000);
      const image = imageOf([4_500_000, 1_000_000, 10]);
      const target = newTarget(new URL(wall.url).host);
      const { summary } = await push({ source: image, target });
      assert.equal(summary.digest, image.digest);
      assert.deepEqual(summary.sent, { blobs: 4, bytes: image.bytes });
      assert(wall.refused.length > 0 && wall.refused.length < 5, `${wall.refused.length} refusals`);
      await assertPushed(image, home.url, target);
    });

    it('a push of an image sends nothing that the repository has, and links what another repository has', async () => {
      const image = imageOf([200_000, 70_000]);
      const target = newTarget(new URL(home.url).host);
      await push({ source: image, target });
      const again = await push({ source: image, target });
      assert.deepEqual(again.summary.present, { blobs: 3, bytes: image.bytes });
      assert.equal(again.summary.movedBytes, 0);
      const other = newTarget(new URL(home.url).host);
      const { summary } = await push({ source: image, target: other });
      assert.deepEqual(summary.linked, { blobs: 3, bytes: image.bytes });
      assert.equal(summary.movedBytes, 0);
      await assertPushed(image, home.url, other);
    });

    it('a push of an image puts the manifests of all platforms, and the index last', async () => {
      const image = imageOf([90_000], 3);
      const target = newTarget(new URL(home.url).host);
      const { events } = await push({ source: image, target });
      const manifests = events.flatMap((event) => (event.event === 'manifest' ? [event.digest] : []));
      assert.equal(manifests.length, 4);
      assert.equal(manifests.at(-1), image.digest);
      await assertPushed(image, home.url, target);
    });

    it('a push of an image tells of each blob where its bytes are, up to its size', async () => {
      const image = imageOf([3 * CHUNK_BYTES]);
      const { events } = await push({
        source: image,
        target: newTarget(new URL(home.url).host),
        limit: new ChunkLimit(CHUNK_BYTES),
      });
      for (const [digest, bytes] of image.contents) {
        const offsets = events.flatMap((event) =>
          event.event === 'blob-progress' && event.digest === digest ? [event.offset] : [],
        );
        assert.equal(offsets.at(-1), bytes.length);
        assert.deepEqual(
          offsets,
          offsets.toSorted((one, other) => one - other),
        );
      }
    });

    it('a push of an image begins again if what is kept of an earlier push leads nowhere', async () => {
      const host = new URL(home.url).host;
      for (const path of ['/', '/v2/', '/v2/other/app/blobs/uploads/abc', null]) {
        const image = imageOf([1_000]);
        const target = newTarget(host);
        const [digest] = image.contents.keys();
        assert(digest !== undefined);
        const env = { XDG_STATE_HOME: join(folder, `state-${target.repository.replaceAll('/', '-')}`) };
        const { origin, repository } = target;
        await new ResumeStore(env).create({ origin, repository, digest }).save(`${origin}${path}`);
        const uploads = join(env.XDG_STATE_HOME, 'longshore/uploads');
        const [own] = readdirSync(uploads);
        assert(own !== undefined);
        // As if another process had written it, which has ended.
        const left = join(uploads, own.replace(/\.\d+\.\d+\./, '.999999999.1.'));
        renameSync(join(uploads, own), left);
        if (path === null) {
          rmSync(left);
          mkdirSync(left);
        }
        await push({ source: image, target, env });
        await assertPushed(image, home.url, target);
        assert.deepEqual(readdirSync(uploads), []);
      }
    });

    it('a push of an image sets the tag of an image whose digest is not sha256, or says that it cannot', async () => {
      const image = imageOf([1_000]);
      const [manifest] = await image.manifests();
      assert(manifest !== undefined);
      const digest = parseDigest(`sha512:${createHash('sha512').update(manifest.bytes).digest('hex')}`);
      const descriptor = { ...manifest.descriptor, digest };
      const source = { ...image, manifests: async () => [{ ...manifest, descriptor }] };
      const target = newTarget(new URL(home.url).host);
      const { summary } = await push({ source, target });
      assert.equal(summary.image, `${target.host}/${target.repository}:v1@${digest}`);
      const found = await fetch(`${home.url}/v2/${target.repository}/manifests/v1`, {
        headers: { Accept: '*/*' },
      });
      assert.equal(found.headers.get('Docker-Content-Digest'), digest);
      assert.deepEqual(Buffer.from(await found.arrayBuffer()), manifest.bytes);
      await using front = await startFront(
        () => home.url,
        ({ path }) => (path.includes('/manifests/') ? { status: 201 } : undefined),
      );
      await assert.rejects(push({ source, target: newTarget(front.host) }), {
        message: /cannot give the tag v1 to a digest that is not sha256\.\nPush by digest/,
      });
    });

    it('pushes by digest, and refuses a digest that the image does not have', async () => {
      const image = imageOf([1_000]);
      const tagged = newTarget(new URL(home.url).host);
      const target = { ...tagged, tag: null, digest: image.digest };
      const { summary } = await push({ source: image, target });
      assert.equal(summary.image, `${target.host}/${target.repository}@${image.digest}`);
      const [other] = image.contents.keys();
      assert(other !== undefined);
      await assert.rejects(push({ source: image, target: { ...target, digest: other } }), {
        message: /^The image has the digest sha256:\w+, not sha256:\w+\.\nPush it without a digest/,
      });
    });
  });
});
