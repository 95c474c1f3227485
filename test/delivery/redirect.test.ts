/**
 * Which GETs are redirected and to where, by the settings and by the request; and what the blob host makes of requests that
 * are no plain GET.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { blob, repositoryName, unknownDigest } from '../support/fixtures.ts';
import { eachHome, type Home, type HomeOptions, onHome } from '../support/homes.ts';
import {
  errorOf,
  follow,
  GUARDED,
  locationOf,
  type Pushed,
  pushBlob,
  REDIRECTED_BYTES,
  send,
} from './client.ts';

/** What decides, and whether a GET of a blob is then redirected. */
interface Row {
  name: string;
  size?: number;
  method?: string;
  headers?: Record<string, string>;
  redirected: boolean;
  /** Where it is not. */
  status?: number;
}

const STREAMED = 'old-client, Lazy/';

const rows: Row[] = [
  { name: 'a GET', redirected: true },
  { name: 'a GET of more', size: 1_000_000, redirected: true },
  { name: 'a blob of a byte less than 64 KiB', size: REDIRECTED_BYTES - 1, redirected: false, status: 200 },
  { name: 'an empty blob', size: 0, redirected: false, status: 200 },
  { name: 'a HEAD', method: 'HEAD', redirected: false, status: 200 },
  {
    name: 'a HEAD with a Range',
    method: 'HEAD',
    headers: { Range: 'bytes=5-' },
    redirected: false,
    status: 200,
  },
  { name: 'bytes=0-1', headers: { Range: 'bytes=0-1' }, redirected: false, status: 206 },
  { name: 'bytes=0-1, written otherwise', headers: { Range: 'Bytes= 0-1' }, redirected: false, status: 206 },
  {
    name: 'bytes=0-1 of what changed',
    headers: { Range: 'bytes=0-1', 'If-Range': '"old"' },
    redirected: true,
  },
  { name: 'another range', headers: { Range: 'bytes=0-2' }, redirected: true },
  { name: 'the rest', headers: { Range: 'bytes=40000-' }, redirected: true },
  { name: 'the last bytes', headers: { Range: 'bytes=-2' }, redirected: true },
  { name: 'several ranges', headers: { Range: 'bytes=0-1,5-6' }, redirected: false, status: 206 },
  { name: 'too many ranges', headers: { Range: 'bytes=0-,0-' }, redirected: false, status: 400 },
  {
    name: 'a client of the list',
    headers: { 'User-Agent': 'An-Old-Client/1.0' },
    redirected: false,
    status: 200,
  },
  { name: 'another of the list', headers: { 'User-Agent': 'lazy/2' }, redirected: false, status: 200 },
  { name: 'a client that is not on it', headers: { 'User-Agent': 'lazybones' }, redirected: true },
  {
    name: 'a request that says so',
    headers: { 'Longshore-Delivery': 'stream' },
    redirected: false,
    status: 200,
  },
  { name: 'in capitals', headers: { 'Longshore-Delivery': 'Stream' }, redirected: false, status: 200 },
  { name: 'a request that says otherwise', headers: { 'Longshore-Delivery': 'redirect' }, redirected: true },
  { name: 'a client that has other bytes', headers: { 'If-None-Match': '"other"' }, redirected: true },
  { name: 'a client that has them', headers: { 'If-None-Match': '*' }, redirected: false, status: 304 },
];

/** The host that a request was sent to, and the origin of the URL that it gives. */
const hosts: { name: string; headers: Record<string, string>; want: string }[] = [
  { name: 'Host', headers: { Host: 'registry.example:5000' }, want: 'http://registry.example:5000' },
  { name: 'Host in capitals', headers: { Host: 'Registry.Example' }, want: 'http://registry.example' },
];

describe('redirect', () => {
  eachHome(
    (home) => {
      decides(home);
      ownBlobHost(home);
    },
    {
      vars: {
        ...GUARDED,
        BLOB_DELIVERY: 'redirect',
        STREAM_USER_AGENTS: STREAMED,
        BOUND_NAMES: 'registry.example',
      },
    },
  );
});

describe('redirect to a blob domain', () => {
  const options: HomeOptions = {
    vars: { ...GUARDED, STREAM_USER_AGENTS: STREAMED },
    blobDomain: { secrets: ['secret'], ttl: 1500 },
  };
  onHome(
    'r2',
    (home) => {
      decides(home);

      it('a redirect leads to the blob domain whatever host the registry was reached at', async () => {
        const pushed = await pushBlob(home);
        for (const { headers } of hosts) {
          assert.equal(new URL(await locationOf(home, pushed, headers)).origin, home.blobDomain);
        }
      });

      it('a blob domain answers a client that sends its Authorization', async () => {
        const pushed = await pushBlob(home);
        const url = await locationOf(home, pushed);
        await follow(`${home.blobDomain}/requests`);
        const answer = await follow(url, { headers: { Authorization: 'Basic YTpi' } });
        assert.ok(answer.body.equals(pushed.bytes));
        const seen = JSON.parse((await follow(`${home.blobDomain}/requests`)).body.toString());
        assert.deepEqual(seen, [
          {
            method: 'GET',
            path: url.slice(home.blobDomain.length),
            authorization: true,
            range: null,
            status: 200,
          },
        ]);
      });
    },
    options,
  );
});

describe('the default', () => {
  onHome('disk', (home) => {
    it('a registry on one machine streams blobs by default', async () => streams(home));
  });
  onHome('r2', (home) => {
    it('a registry on Cloudflare redirects blobs by default', async () => {
      const url = await locationOf(home, await pushBlob(home));
      assert.ok(url.startsWith(`${home.url}/blob-host/`));
    });
  });
});

describe('stream', () => {
  eachHome(
    (home) => it('a registry with BLOB_DELIVERY=stream sends every blob itself', () => streams(home)),
    {
      vars: { BLOB_DELIVERY: 'stream' },
    },
  );
});

function decides(home: Home): void {
  for (const { name, size = REDIRECTED_BYTES, method = 'GET', headers = {}, redirected, status } of rows) {
    it(`a registry ${redirected ? 'redirects' : 'answers itself'}: ${name}`, async () => {
      const { path, digest, bytes } = await pushBlob(home, blob(size));
      const answer = await send(home.url, path, { method, headers });
      assert.equal(answer.status, redirected ? 307 : status);
      if (answer.status === 400) return;
      assert.equal(answer.headers['docker-content-digest'], digest);
      if (!redirected) {
        assert.equal(answer.headers.location, undefined);
        if (answer.status === 200 && method === 'GET') assert.ok(answer.body.equals(bytes));
        return;
      }
      assert.equal(answer.headers['content-length'], '0');
      assert.equal(answer.headers['cache-control'], 'private, no-store');
      assert.equal(answer.headers['content-type'], undefined);
      assert.equal(answer.headers.etag, undefined);
      assert.ok((await follow(answer.headers.location ?? '')).body.equals(bytes));
    });
  }

  it('a redirect has the same URL for all clients within a window, and another in the next', async () => {
    const pushed = await pushBlob(home);
    // The clock is set to the middle of a window, so that no request falls into the next.
    const window = 300_000;
    const into = (ms: number) => home.setClockAhead(window - (Date.now() % window) + ms);
    await into(0.4 * window);
    const one = await locationOf(home, pushed);
    const other = await locationOf(home, pushed, {
      'User-Agent': 'other',
      Range: 'bytes=9-',
    });
    assert.equal(other, one);
    await into(1.4 * window);
    assert.notEqual(await locationOf(home, pushed), one);
    await home.setClockAhead(0);
  });

  it('a redirect gives no URL of a blob that the repository does not have', async () => {
    const { digest } = await pushBlob(home);
    const { repository } = await pushBlob(home);
    for (const path of [
      `/v2/${repository}/blobs/${digest}`,
      `/v2/${repository}/blobs/${unknownDigest()}`,
      `/v2/${repositoryName()}/blobs/${digest}`,
    ]) {
      const answer = await send(home.url, path);
      assert.equal(answer.status, 404);
      assert.equal(answer.headers.location, undefined);
      assert.equal(errorOf(answer).code, 'BLOB_UNKNOWN');
    }
  });
}

function ownBlobHost(home: Home): void {
  let pushed: Pushed;
  let url: string;
  before(async () => {
    // The signature of a URL changes with the time.
    await home.stopClock(Date.now());
    pushed = await pushBlob(home);
    url = await locationOf(home, pushed);
  });

  for (const { name, headers, want } of hosts) {
    it(`a redirect is followed by ${name}`, async () => {
      const other = await locationOf(home, pushed, headers);
      assert.equal(other, `${want}${url.slice(home.url.length)}`);
      // The signature is good at any of the registry's hosts.
      const answer = await send(home.url, other.slice(want.length), { headers });
      assert.ok(answer.body.equals(pushed.bytes));
    });
  }

  for (const Authorization of ['Basic YTpi', 'Bearer x.y.z', 'nonsense']) {
    it(`the blob host answers the same to a client that sends Authorization: ${Authorization}`, async () => {
      const [with_, without] = [await follow(url, { headers: { Authorization } }), await follow(url)];
      assert.equal(with_.status, 200);
      assert.ok(with_.body.equals(pushed.bytes));
      assert.deepEqual({ ...with_.headers, date: '' }, { ...without.headers, date: '' });
    });
  }

  it('the blob host answers a HEAD as it would a GET', async () => {
    const [head, get] = [await follow(url, { method: 'HEAD' }), await follow(url)];
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
    assert.deepEqual({ ...head.headers, date: '' }, { ...get.headers, date: '' });
  });

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    it(`the blob host answers ${method} with 405`, async () => {
      const answer = await follow(url, { method });
      assert.equal(answer.status, 405);
      assert.equal(answer.headers.allow, 'GET, HEAD');
      assert.equal(errorOf(answer).code, 'UNSUPPORTED');
      assert.ok((await follow(url)).body.equals(pushed.bytes), 'the blob is still there');
    });
  }
}

async function streams(home: Home): Promise<void> {
  const { path, bytes } = await pushBlob(home, blob(1_000_000));
  const answer = await send(home.url, path);
  assert.equal(answer.status, 200);
  assert.ok(answer.body.equals(bytes));
}
