/**
 * What a cache between the registry and its clients may keep: no answer of the registry may be given to another client.
 * Only the inner entrypoint says otherwise, and only the blob host reaches it (decision 7).
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { blob, imageManifest } from '../support/fixtures.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { type Answer, follow, locationOf, type Pushed, pushBlob, pushManifest, send } from './client.ts';

interface Stage {
  large: Pushed;
  small: Pushed;
  /** Path by tag. */
  manifest: string;
  manifestByDigest: string;
  /** The signed URL of the large blob, and what of it is path. */
  url: string;
  path: string;
}

interface Row {
  name: string;
  ask(home: Home, stage: Stage): Promise<Answer>;
  status: number;
  cacheControl: string;
}

const IMMUTABLE = 'private, max-age=31536000, immutable, no-transform';
const RANGE = { headers: { Range: 'bytes=0-1' } };
const KNOWN = { headers: { 'If-None-Match': '*' } };
const HEAD = { method: 'HEAD' };

const rows: Row[] = [
  {
    name: 'a redirect',
    ask: (home, { large }) => send(home.url, large.path),
    status: 307,
    cacheControl: 'private, no-store',
  },
  {
    name: 'a blob',
    ask: (home, { small }) => send(home.url, small.path),
    status: 200,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a HEAD of a blob',
    ask: (home, { large }) => send(home.url, large.path, HEAD),
    status: 200,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a part of a blob',
    ask: (home, { large }) => send(home.url, large.path, RANGE),
    status: 206,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a blob that is known',
    ask: (home, { large }) => send(home.url, large.path, KNOWN),
    status: 304,
    cacheControl: IMMUTABLE,
  },
  { name: 'a blob at the blob host', ask: (_, { url }) => follow(url), status: 200, cacheControl: IMMUTABLE },
  {
    name: 'a HEAD at the blob host',
    ask: (_, { url }) => follow(url, HEAD),
    status: 200,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a part of it at the blob host',
    ask: (_, { url }) => follow(url, RANGE),
    status: 206,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a known one at the blob host',
    ask: (_, { url }) => follow(url, KNOWN),
    status: 304,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a manifest by digest',
    ask: (home, { manifestByDigest }) => send(home.url, manifestByDigest),
    status: 200,
    cacheControl: IMMUTABLE,
  },
  {
    name: 'a manifest by tag',
    ask: (home, { manifest }) => send(home.url, manifest),
    status: 200,
    cacheControl: 'private, no-cache, no-transform',
  },
  {
    name: 'a URL without a signature',
    ask: (home, { path }) => send(home.url, path),
    status: 403,
    cacheControl: 'no-store',
  },
  {
    name: 'a blob that is not there',
    ask: (home, { small }) => send(home.url, `${small.path.slice(0, -4)}0000`),
    status: 404,
    cacheControl: 'no-store',
  },
  {
    name: 'a range outside',
    ask: (_, { url }) => follow(url, { headers: { Range: 'bytes=999999-' } }),
    status: 416,
    cacheControl: 'no-store',
  },
];

/** Ways to the inner entrypoint, if there were one. The path is that of a blob, as the inner entrypoint takes it. */
const ways: [name: string, ask: (home: Home, path: string) => Promise<Answer>][] = [
  ['its path, without a signature', (home, path) => send(home.url, path)],
  ['its host', (home, path) => send(home.url, path, { headers: { Host: 'blobs.invalid' } })],
  [
    'its host, forwarded',
    (home, path) => send(home.url, path, { headers: { 'X-Forwarded-Host': 'blobs.invalid' } }),
  ],
  ['its URL as the request target', (home, path) => send(home.url, `http://blobs.invalid${path}`)],
  ['its name in the path', (home, path) => send(home.url, `/CachedBlobs${path}`)],
  ['its name as the host', (home, path) => send(home.url, path, { headers: { Host: 'CachedBlobs' } })],
  [
    'headers by which runtimes choose',
    (home, path) =>
      send(home.url, path, {
        headers: {
          'MF-Entrypoint': 'CachedBlobs',
          'CF-Worker-Entrypoint': 'CachedBlobs',
          'MF-Route-Override': 'CachedBlobs',
        },
      }),
  ],
  ['the path of an API', (home, path) => send(home.url, `/v2${path}`)],
  ['the key alone', (home, path) => send(home.url, path.replace(/^.*(?=\/blobs\/)/, ''))],
];

describe('a cache', () => {
  eachHome(
    (home) => {
      let stage: Stage;
      before(async () => {
        stage = await prepare(home);
      });

      for (const { name, ask, status, cacheControl } of rows) {
        it(`a cache may keep ${cacheControl.includes('max-age') ? 'for its own client' : 'nothing of'}: ${name}`, async () => {
          const answer = await ask(home, stage);
          assert.equal(answer.status, status);
          assert.equal(answer.headers['cache-control'], cacheControl);
          // Nothing else that caches go by.
          for (const header of [
            'expires',
            'cdn-cache-control',
            'cloudflare-cdn-cache-control',
            'surrogate-control',
          ]) {
            assert.equal(answer.headers[header], undefined);
          }
        });
      }

      for (const [name, ask] of ways) {
        it(`${name} does not reach the cache past the signature`, async () => {
          const answer = await ask(home, stage.path);
          assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status}`);
          assert.ok(!answer.body.includes(stage.large.bytes.subarray(0, 16)));
          assert.equal(answer.headers['cache-control'], 'no-store');
        });
      }
    },
    { vars: { BLOB_DELIVERY: 'redirect' } },
  );
});

describe('the inner entrypoint', () => {
  eachHome(
    (home) => {
      let stage: Stage;
      before(async () => {
        stage = await prepare(home);
      });
      const inner = (path: string, headers = {}) => send(home.url, `/inner${path}`, { headers });

      it('the inner entrypoint answers with the whole blob for all, which a cache may keep for as long as it likes', async () => {
        const answer = await inner(stage.path);
        assert.equal(answer.status, 200);
        assert.equal(answer.headers['cache-control'], 'public, max-age=31536000, immutable, no-transform');
        assert.equal(answer.headers.etag, `"${stage.large.digest}"`);
        assert.equal(answer.headers['content-length'], String(stage.large.bytes.length));
        assert.equal(answer.headers.vary, undefined);
        assert.ok(answer.body.equals(stage.large.bytes));
      });

      it('the inner entrypoint answers a range where no cache stands before it', async () => {
        const answer = await inner(stage.path, { Range: 'bytes=5-9' });
        assert.equal(answer.status, 206);
        assert.ok(answer.body.equals(stage.large.bytes.subarray(5, 10)));
      });

      for (const path of ['/', '/v2/', '/blob-host/', '/blob-host/sha256-0/1/blobs/x', '/blobs/x']) {
        it(`the inner entrypoint answers ${path} with 404`, async () => {
          const answer = await inner(path);
          assert.equal(answer.status, 404);
          assert.equal(answer.headers['cache-control'], undefined);
        });
      }
    },
    { vars: { BLOB_DELIVERY: 'redirect' }, entry: join(import.meta.dirname, 'inner-worker.ts') },
  );
});

async function prepare(home: Home): Promise<Stage> {
  const large = await pushBlob(home, blob(100_000));
  const image = imageManifest();
  const [config = blob(), layer = blob()] = image.blobs;
  const small = await pushBlob(home, config);
  await pushBlob(home, layer, small.repository);
  const manifest = await pushManifest(home, small.repository, image);
  const url = await locationOf(home, large);
  const manifestByDigest = manifest.replace(/[^/]+$/, image.digest);
  return { large, small, manifest, manifestByDigest, url, path: new URL(url).pathname };
}
