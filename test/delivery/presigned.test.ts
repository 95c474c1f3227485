/**
 * Presigned S3 URLs: against a signature (AWS Signature Version 4) that is computed here, and against Miniflare's S3 endpoint
 * of the bucket, which checks it as R2 does.
 */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { blob } from '../support/fixtures.ts';
import { type Home, onHome } from '../support/homes.ts';
import { follow, locationOf, pushBlob, send } from './client.ts';

const s3Credentials = { accessKeyId: '0123456789abcdef', secretAccessKey: 'a secret for this test' };
const LIFETIME_S = 1200;
const WINDOW_S = 300;

onHome(
  'r2',
  (home) => {
    it('a blob is redirected to a URL of the bucket whose signature is right', async () => {
      const url = new URL(await locationOf(home, await pushBlob(home)));
      assert.match(url.pathname, /\/s3\/BLOBS\/blobs\/[a-z0-9-]+$/);
      const query = Object.fromEntries(url.searchParams);
      const begun = Math.floor(timeOf(url) / 1000);
      assert.equal(begun % WINDOW_S, 0);
      assert.deepEqual(Object.keys(query).sort(), [
        'X-Amz-Algorithm',
        'X-Amz-Credential',
        'X-Amz-Date',
        'X-Amz-Expires',
        'X-Amz-Signature',
        'X-Amz-SignedHeaders',
        'response-content-disposition',
        'response-content-type',
      ]);
      assert.equal(query['X-Amz-Expires'], String(LIFETIME_S + WINDOW_S));
      assert.equal(query['X-Amz-Signature'], signatureOf(url));
      assert.ok(!url.href.includes(s3Credentials.secretAccessKey.slice(0, 8)));
    });

    it('the bucket answers a presigned URL with the blob, and with ranges of it', async () => {
      const pushed = await pushBlob(home, blob(300_000));
      const url = await locationOf(home, pushed);
      assert.ok((await follow(url)).body.equals(pushed.bytes));
      const answer = await follow(url, { headers: { Range: 'bytes=100000-' } });
      assert.equal(answer.status, 206);
      assert.ok(answer.body.equals(pushed.bytes.subarray(100_000)));
    });

    it('a presigned URL is the same within a window, and another in the next', async () => {
      const pushed = await pushBlob(home);
      const windowMs = WINDOW_S * 1000;
      const into = (ms: number) => home.setClockAhead(windowMs - (Date.now() % windowMs) + ms);
      await into(0.2 * windowMs);
      const one = await locationOf(home, pushed);
      await into(0.6 * windowMs);
      assert.equal(await locationOf(home, pushed), one);
      await into(1.2 * windowMs);
      const other = new URL(await locationOf(home, pushed));
      assert.equal(timeOf(other) - timeOf(new URL(one)), windowMs);
      await home.setClockAhead(0);
    });

    it('a presigned URL is refused when it has expired', async () => {
      const pushed = await pushBlob(home);
      await home.setClockAhead(-(LIFETIME_S + WINDOW_S) * 1000);
      const answer = await follow(await locationOf(home, pushed));
      await home.setClockAhead(0);
      refused(answer.status, answer.body, pushed.bytes);
    });

    it('the registry answers itself what is not worth a redirect', async () => {
      const small = await pushBlob(home, blob(100));
      const large = await pushBlob(home);
      const asked: [path: string, method: string, headers: Record<string, string>, status: number][] = [
        [small.path, 'GET', {}, 200],
        [large.path, 'HEAD', {}, 200],
        [large.path, 'GET', { Range: 'bytes=0-1' }, 206],
        [large.path, 'GET', { Range: 'bytes=0-1,3-4' }, 206],
        [large.path, 'GET', { 'Longshore-Delivery': 'stream' }, 200],
      ];
      for (const [path, method, headers, status] of asked) {
        assert.equal((await send(home.url, path, { method, headers })).status, status);
      }
    });

    describe('refuses', () => altered(home));
  },
  { s3Credentials, vars: { BLOB_DELIVERY: 'presigned' } },
);

function altered(home: Home): void {
  const rows: [name: string, alter: (url: URL, other: URL) => void][] = [
    [
      'another blob',
      (url, other) => {
        url.pathname = other.pathname;
      },
    ],
    ['the signature of another blob', (url, other) => copy(url, other, 'X-Amz-Signature')],
    ['a longer life', (url) => url.searchParams.set('X-Amz-Expires', '604800')],
    ['a later time', (url) => url.searchParams.set('X-Amz-Date', amzDate(timeOf(url) + 1000))],
    ['no signature', (url) => url.searchParams.delete('X-Amz-Signature')],
    ['a parameter more', (url) => url.searchParams.append('response-content-type', 'text/html')],
  ];
  for (const [name, alter] of rows) {
    it(`the bucket refuses a presigned URL: ${name}`, async () => {
      const [mine, theirs] = [await pushBlob(home), await pushBlob(home)];
      const url = new URL(await locationOf(home, mine));
      alter(url, new URL(await locationOf(home, theirs)));
      const answer = await follow(url.href);
      refused(answer.status, answer.body, mine.bytes, theirs.bytes);
    });
  }
}

function refused(status: number, body: Buffer, ...contents: Buffer[]): void {
  assert.ok(status >= 400 && status < 500, `${status}`);
  for (const bytes of contents) assert.ok(!body.includes(bytes.subarray(0, 16)));
}

function copy(to: URL, from: URL, name: string): void {
  to.searchParams.set(name, from.searchParams.get(name) ?? '');
}

/** When a URL was signed, Unix time in ms. */
function timeOf(url: URL): number {
  const [, ...numbers] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(url.searchParams.get('X-Amz-Date') ?? '') ?? [];
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = numbers.map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

function amzDate(time: number): string {
  return new Date(time).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

/** AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". */
function signatureOf(url: URL): string {
  const date = url.searchParams.get('X-Amz-Date') ?? '';
  const scope = `${date.slice(0, 8)}/auto/s3/aws4_request`;
  assert.equal(url.searchParams.get('X-Amz-Algorithm'), 'AWS4-HMAC-SHA256');
  assert.equal(url.searchParams.get('X-Amz-Credential'), `${s3Credentials.accessKeyId}/${scope}`);
  assert.equal(url.searchParams.get('X-Amz-SignedHeaders'), 'host');
  const query = [...url.searchParams]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .sort()
    .join('&');
  const request = ['GET', url.pathname, query, `host:${url.host}`, '', 'host', 'UNSIGNED-PAYLOAD'].join('\n');
  const hash = createHash('sha256').update(request).digest('hex');
  const key = scope.split('/').reduce<Buffer | string>(mac, `AWS4${s3Credentials.secretAccessKey}`);
  return Buffer.from(mac(key, ['AWS4-HMAC-SHA256', date, scope, hash].join('\n'))).toString('hex');
}

function mac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
