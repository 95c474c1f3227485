/** The settings of delivery: what each means, and that a request is told of a wrong one by its name. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartFailure } from '../../standalone/failure.ts';
import { type DeliverySettings, parseSettings } from '../../worker/settings.ts';
import { Home, onHome } from '../support/homes.ts';
import { errorOf, send } from './client.ts';

type Vars = Record<string, string>;

const MACHINE = { PLATFORM: 'one machine' };
const S3 = {
  S3_BUCKET_URL: 'https://s3.example/bucket',
  S3_ACCESS_KEY_ID: 'id',
  S3_SECRET_ACCESS_KEY: 'key',
};
const HOST = { BLOB_HOST: 'blobs.example', BLOB_URL_SECRETS: 'one' };
const PRESIGNED = { BLOB_DELIVERY: 'presigned' };

/** What is set, and the setting that the refusal names. */
const wrong: [vars: Vars, name: string][] = [
  [{ BLOB_DELIVERY: 'cdn' }, 'BLOB_DELIVERY'],
  [{ BLOB_DELIVERY: 'Redirect' }, 'BLOB_DELIVERY'],
  [{ BLOB_HOST: 'blobs.example' }, 'BLOB_HOST'],
  [{ ...HOST, BLOB_HOST: 'https://blobs.example/path' }, 'BLOB_HOST'],
  [{ ...HOST, BLOB_HOST: 'https://blobs.example?x' }, 'BLOB_HOST'],
  [{ ...HOST, BLOB_HOST: 'https://user@blobs.example' }, 'BLOB_HOST'],
  [{ ...HOST, BLOB_HOST: 'ftp://blobs.example' }, 'BLOB_HOST'],
  [{ ...HOST, BLOB_HOST: 'not a host' }, 'BLOB_HOST'],
  [{ ...HOST, BLOB_URL_SECRETS: ' , ' }, 'BLOB_URL_SECRETS'],
  [{ ...PRESIGNED, ...S3, S3_BUCKET_URL: 'ftp://s3.example/bucket' }, 'S3_BUCKET_URL'],
  [{ ...HOST, ...MACHINE }, 'BLOB_HOST'],
  [{ ...HOST, ...MACHINE, BLOB_DELIVERY: 'redirect' }, 'BLOB_HOST'],
  [{ ...PRESIGNED, ...S3, ...MACHINE }, 'BLOB_DELIVERY=presigned'],
  [PRESIGNED, 'BLOB_DELIVERY=presigned'],
  ...Object.keys(S3).map((name): [Vars, string] => [{ ...PRESIGNED, ...S3, [name]: '' }, name]),
  [{ ...PRESIGNED, ...S3, S3_BUCKET_URL: 's3.example/bucket' }, 'S3_BUCKET_URL'],
  [{ ...S3, S3_BUCKET_URL: 's3.example/bucket' }, 'S3_BUCKET_URL'],
  ...Object.keys(S3).map((name): [Vars, string] => [{ ...S3, [name]: '' }, name]),
  ...['0', '59', '432001', '99999999', '20m', '1.5', '-60', ' 60', '1e3'].map((lifetime): [Vars, string] => [
    { BLOB_URL_LIFETIME: lifetime },
    'BLOB_URL_LIFETIME',
  ]),
  ...['', ...Object.keys(S3)].map((name): [Vars, string] => [
    { ...(name && { ...S3, [name]: '' }), DIRECT_UPLOAD: 'true' },
    'DIRECT_UPLOAD',
  ]),
  [{ ...S3, DIRECT_UPLOAD: 'on' }, 'DIRECT_UPLOAD'],
  ...['21', '999', '-1', 'yes', 'True', '1.5'].map((prefetch): [Vars, string] => [
    { PREFETCH: prefetch },
    'PREFETCH',
  ]),
];

const right: [vars: Vars, want: Partial<DeliverySettings>][] = [
  [{}, { mode: 'redirect', blobHost: null, urls: { lifetime: 1200, window: 300 }, s3: null, prefetch: 0 }],
  [MACHINE, { mode: 'stream', blobHost: null }],
  [
    { ...MACHINE, BLOB_DELIVERY: 'redirect' },
    { mode: 'redirect', blobHost: null },
  ],
  [{ BLOB_DELIVERY: '' }, { mode: 'redirect' }],
  [HOST, { blobHost: 'https://blobs.example' }],
  [{ ...HOST, BLOB_HOST: 'https://Blobs.Example:443/' }, { blobHost: 'https://blobs.example' }],
  [{ ...HOST, BLOB_HOST: 'http://localhost:8080' }, { blobHost: 'http://localhost:8080' }],
  [{ BLOB_HOST: 'blobs.example', BLOB_DELIVERY: 'stream' }, { mode: 'stream' }],
  [{ BLOB_URL_LIFETIME: '60' }, { urls: { lifetime: 60, window: 15 } }],
  [{ BLOB_URL_LIFETIME: '432000' }, { urls: { lifetime: 432_000, window: 108_000 } }],
  [{ STREAM_USER_AGENTS: ' Old-Client ,, lazy/' }, { streamUserAgents: ['old-client', 'lazy/'] }],
  [{ STREAM_USER_AGENTS: ' , ' }, { streamUserAgents: [] }],
  [
    { ...PRESIGNED, ...S3, S3_BUCKET_URL: `${S3.S3_BUCKET_URL}/` },
    { s3: { url: S3.S3_BUCKET_URL, accessKeyId: 'id', secretAccessKey: 'key' } },
  ],
  [{ ...S3 }, { mode: 'redirect', s3: null }],
  [{ PREFETCH: 'true' }, { prefetch: 20 }],
  [{ PREFETCH: 'false' }, { prefetch: 0 }],
  [{ PREFETCH: '0' }, { prefetch: 0 }],
  [{ PREFETCH: '7' }, { prefetch: 7 }],
];

it('uploads past the Worker need the bucket and its credentials', () => {
  const { s3 } = parseSettings({ ...S3, S3_BUCKET_URL: `${S3.S3_BUCKET_URL}/` });
  assert.deepEqual(s3, { url: S3.S3_BUCKET_URL, accessKeyId: 'id', secretAccessKey: 'key' });
  assert.equal(parseSettings({}).s3, null);
  assert.equal(parseSettings(S3).directUpload, false);
  assert.equal(parseSettings({ ...S3, DIRECT_UPLOAD: 'true' }).directUpload, true);
  assert.equal(parseSettings({ ...S3, ...MACHINE }).s3, null);
});

describe('a wrong setting is named', () => {
  for (const [vars, name] of wrong) {
    it(`a wrong setting is named: ${JSON.stringify(vars)}`, () => {
      assert.throws(() => parseSettings(vars).delivery, {
        code: 'UNAVAILABLE',
        status: 503,
        message: new RegExp(`^a setting of this registry is wrong: .*\\b${name}\\b`),
      });
    });
  }
});

describe('a setting is read', () => {
  for (const [vars, want] of right) {
    it(`a setting is read: ${JSON.stringify(vars)}`, () => {
      const settings = parseSettings(vars).delivery;
      assert.deepEqual(
        Object.fromEntries(Object.keys(want).map((name) => [name, settings[name as keyof typeof settings]])),
        want,
      );
    });
  }
});

describe('a registry whose setting is wrong', () => {
  const vars = { BLOB_DELIVERY: 'cdn' };

  onHome(
    'r2',
    (home) => {
      for (const path of ['/v2/', '/v2/a/blobs/sha256:0', '/blob-host/x']) {
        it(`a registry whose setting is wrong says so at ${path}`, async () => {
          const answer = await send(home.url, path);
          assert.equal(answer.status, 503);
          const { code, message } = errorOf(answer);
          assert.equal(code, 'UNAVAILABLE');
          assert.match(message, /BLOB_DELIVERY is one of redirect, presigned, stream/);
        });
      }
    },
    { vars },
  );

  it('a registry whose setting is wrong does not start on one machine, and says why', {
    timeout: 30_000,
  }, async (t) => {
    const home = new Home('disk', { vars });
    t.after(() => home.stop());
    await assert.rejects(home.start(), (fault) => {
      assert.ok(fault instanceof StartFailure);
      assert.match(fault.message, /503/);
      assert.match(fault.message, /BLOB_DELIVERY is one of redirect, presigned, stream/);
      return true;
    });
  });
});
