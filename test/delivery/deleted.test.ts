/**
 * A URL may outlive its blob, where its lifetime is set longer than a blob without links is kept: the blob host says that the
 * blob is gone, as the registry would, and does not take it for a fault of its own.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { unknownDigest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { errorOf, send } from './client.ts';

const SECRET = 'a secret that the test signs with too';
const SIZE = 1000;

describe('a URL whose blob has been deleted', () => {
  eachHome(
    (home) => {
      for (const range of ['', 'bytes=5-9', 'bytes=0-1,5-9']) {
        it(`a URL whose blob has been deleted answers 404 ${range}`, async () => {
          const key = 'blobs/01234567-89ab-4cde-8f01-23456789abcd';
          const path = `/blob-host/${unknownDigest().replace(':', '-')}/${SIZE}/${key}`;
          const time = Math.floor(Date.now() / 1000);
          const mac = createHmac('sha256', SECRET).update(`${path}${time}`).digest('base64');
          const target = `${path}?verify=${time}-${encodeURIComponent(mac)}`;
          const answer = await send(home.url, target, { headers: range === '' ? {} : { Range: range } });
          assert.equal(answer.status, 404);
          assert.equal(errorOf(answer).code, 'BLOB_UNKNOWN');
          assert.equal(answer.headers['cache-control'], 'no-store');
        });
      }
    },
    { vars: { BLOB_DELIVERY: 'redirect', BLOB_URL_SECRETS: SECRET } },
  );
});
