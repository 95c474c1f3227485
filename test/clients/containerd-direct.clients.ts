// ctr stores layers straight in the bucket, with DIRECT_UPLOAD: the registry on the R2 simulator, and the double of R2's S3 endpoint, which
// compares checksums. ctr pushes all layers at once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { S3_CREDENTIALS } from '../faults/direct.ts';
import { Home } from '../support/homes.ts';
import { type Client, client, needs } from './support/client.ts';
import { startContainerd } from './support/containerd.ts';
import { contents, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

const ADMIN = 'admin:a password for this test';

describe('ctr and the bucket', needs('root', 'containerd', 'ctr'), () => {
  const here = scene('containerd-direct', null);
  const home = new Home('r2', {
    vars: {
      AUTH: 'on',
      ADMIN_PASSWORD: ADMIN.slice('admin:'.length),
      BLOB_DELIVERY: 'stream',
      DIRECT_UPLOAD: 'true',
    },
    s3Double: S3_CREDENTIALS,
  });
  let ctr: Client;
  before(async () => {
    await home.start();
    ctr = await startContainerd(here);
  });
  after(() => home.stop());

  /** Imports a new image of three layers, and gives its reference and its layout. */
  async function imported(): Promise<{ reference: string; layout: string }> {
    const layout = await writeLayout(await here.fresh('pushed'), { layerBytes: [6_000_000, 300_000, 2000] });
    const archive = `${layout.path}.tar`;
    await client('tar', here.home)(['-cf', archive, '-C', layout.path, '.']);
    const repository = `${new URL(home.url).host}/ctr/${crypto.randomUUID()}`;
    await ctr(['images', 'import', '--all-platforms', '--no-unpack', '--base-name', repository, archive]);
    return { reference: `${repository}:latest`, layout: layout.path };
  }

  const push = (reference: string, ...options: string[]) =>
    ctr(['images', 'push', '--plain-http', '--user', ADMIN, ...options, reference]);

  for (const [where, options] of [
    ['the daemon', []],
    ['ctr itself', ['--local']],
  ] satisfies [string, string[]][]) {
    test(`layers that ${where} pushes go to the bucket, and are the same when they are fetched back`, async () => {
      const { reference, layout } = await imported();
      home.s3.requests.length = 0;
      await push(reference, ...options);
      // The config goes through the registry.
      assert.deepEqual(home.s3.answersTo('PutObject'), ['200', '200', '200']);
      await ctr(['images', 'rm', '--sync', reference]);
      await ctr(['content', 'fetch', '--plain-http', '--user', ADMIN, '--all-platforms', reference]);
      const exported = await here.fresh('exported');
      await ctr(['images', 'export', '--local', '--all-platforms', `${exported}.tar`, reference]);
      await client('tar', here.home)(['-xf', `${exported}.tar`, '-C', exported]);
      assert.deepEqual(await contents(exported), await contents(layout));
    });
  }

  test('a push that the bucket breaks off succeeds when it is repeated, and sends only what is missing', async () => {
    const { reference } = await imported();
    home.s3.requests.length = 0;
    home.s3.faults.set('PutObject', [null, { status: 403, code: 'AccessDenied' }]);
    await assert.rejects(push(reference, '--local'));
    home.s3.faults.clear();
    const sent = () => home.s3.answersTo('PutObject').filter((answer) => answer === '200').length;
    await push(reference, '--local');
    assert.ok(sent() <= 3, 'no layer arrived twice');
  });
});
