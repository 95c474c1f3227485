// The clients of the containerd family store layers straight in the bucket, with DIRECT_UPLOAD: the registry on the R2 simulator behind
// a wall as Cloudflare's, and the double of R2's S3 endpoint, which compares checksums. They push all layers at once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { S3_CREDENTIALS } from '../faults/direct.ts';
import { Home } from '../support/homes.ts';
import { startWall, WALL_BYTES, type Wall } from '../support/wall.ts';
import { needs } from './support/client.ts';
import { assertPushed, containerdFamily, logIn, type Push } from './support/containerd-family.ts';
import { type Layout, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

const ADMIN = 'admin:a password for this test';

describe('the bucket behind the wall', needs('crane'), () => {
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
  let wall: Wall;
  let large: Layout;
  before(async () => {
    await home.start();
    wall = await startWall(home.url);
    await logIn(here, new URL(wall.url).host, ADMIN);
    large = await writeLayout(await here.fresh('large'), { layerBytes: [1.05 * WALL_BYTES, 300_000, 2000] });
  });
  after(async () => {
    await wall[Symbol.asyncDispose]();
    await home.stop();
  });

  const newReference = () => `${new URL(wall.url).host}/family/${crypto.randomUUID()}:1`;

  for (const member of containerdFamily()) {
    describe(member.name, member.options, () => {
      let push: Push;
      before(async () => {
        push = await member.start(here);
      });

      test(`${member.name} stores layers in the bucket, and they are the same when they are pulled`, async () => {
        const reference = newReference();
        home.s3.requests.length = 0;
        await push(large, reference, ADMIN);
        // The config goes through the registry.
        assert.deepEqual(home.s3.answersTo('PutObject'), ['200', '200', '200']);
        assert.deepEqual(wall.refused, []);
        await assertPushed(here, member, large, reference);
      });

      test(`a push of ${member.name} succeeds when it is repeated after the bucket broke it off, and sends only what is missing`, async () => {
        const image = await writeLayout(await here.fresh('pushed'), {
          layerBytes: [6_000_000, 300_000, 2000],
        });
        const reference = newReference();
        home.s3.requests.length = 0;
        home.s3.faults.set('PutObject', [null, { status: 403, code: 'AccessDenied' }]);
        await assert.rejects(push(image, reference, ADMIN));
        home.s3.faults.clear();
        await push(image, reference, ADMIN);
        const stored = home.s3.answersTo('PutObject').filter((answer) => answer === '200');
        assert.ok(stored.length <= 3, 'no layer arrived twice');
        await assertPushed(here, member, image, reference);
      });
    });
  }
});
