/** Multipart uploads in the bucket that no session knows: the check finds them if it may list them, and aborts them. */
import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { Client, locationOf, withDigest } from '../faults/client.ts';
import { blob, digest as digestOf } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { Checked, DAY_MS, VARS } from './support.ts';

const S3_CREDENTIALS = { accessKeyId: '0123456789abcdef', secretAccessKey: 'a secret' };
/** A first part and some more. */
const CHUNK = 8 * 1024 * 1024;

onHome(
  'r2',
  (home) => {
    const [checked, client] = [new Checked(home), new Client(home)];
    before(() => home.setClockAhead(3 * DAY_MS));

    it('finds those that no session knows, also on further pages, and aborts them', async () => {
      home.s3.uploadsAtATime = 2;
      const location = await client.startUpload('team/app');
      const bytes = blob(CHUNK);
      const patched = await client.want(202, 'PATCH', location, { body: bytes });
      const known = await home.openMultiparts();
      assert.equal(known.length, 1);
      assert.deepEqual(await checked.kinds(), []);

      const keys = Array.from({ length: 5 }, () => `blobs/${crypto.randomUUID()}`);
      for (const key of keys) await home.beginMultipart(key);
      assert.deepEqual(
        await checked.kinds(),
        keys.map(() => 'multipart'),
      );
      assert.equal((await home.openMultiparts()).length, 6);
      const { results } = await checked.run(true);
      assert.deepEqual(results.map(({ about }) => about.key).sort(), keys.sort());
      assert.deepEqual(await home.openMultiparts(), known);
      assert.deepEqual(await checked.kinds(), []);

      const target = withDigest(locationOf(patched), digestOf(bytes));
      await client.want(201, 'PUT', target);
      assert.ok((await client.pullBlob('team/app', digestOf(bytes)))?.equals(bytes));
    });

    it('a check goes on if the credentials may not list them', async () => {
      home.s3.faults.set('ListMultipartUploads', [{ status: 403, code: 'AccessDenied' }]);
      assert.deepEqual((await checked.run(true)).results, []);
      assert.deepEqual(home.s3.answersTo('ListMultipartUploads').at(-1), '403 AccessDenied');
    });

    it('leaves those that began lately', async () => {
      await home.setClockAhead(DAY_MS);
      const key = `blobs/${crypto.randomUUID()}`;
      await home.beginMultipart(key);
      assert.deepEqual((await checked.run(true)).results, []);
      assert.deepEqual(await home.openMultiparts(), [key]);
    });
  },
  { vars: VARS, s3Double: S3_CREDENTIALS },
);
