/** Faults that pass are answered with 503, and say when to try again; others are a bare 500. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Hono } from 'hono';
import { createApp } from '../../worker/app.ts';
import { OciError } from '../../worker/oci/errors.ts';

const INTERNAL = 'completeMultipartUpload: We encountered an internal error. Please try again. (10001)';

const ROWS: { name: string; fault: Error; want: number; again: string | null }[] = [
  { name: 'an internal error of R2', fault: new Error(INTERNAL), want: 503, again: '1' },
  { name: 'R2 that is not available', fault: new Error('put: unavailable (10043)'), want: 503, again: '1' },
  { name: 'R2 that is asked too often', fault: new Error('put: slow down (10058)'), want: 503, again: '1' },
  {
    name: 'a Durable Object that is retryable',
    fault: Object.assign(new Error('reset'), { retryable: true }),
    want: 503,
    again: '1',
  },
  {
    name: 'a commit of a Durable Object that failed',
    fault: new Error('internal error; reference = cgm4dhfdj1o9l523erovufo7'),
    want: 503,
    again: '1',
  },
  {
    name: 'a full disk',
    fault: new Error('database or disk is full: SQLITE_FULL'),
    want: 503,
    again: '30',
  },
  {
    name: 'a database for which no file can be opened',
    fault: new Error('unable to open database file: SQLITE_CANTOPEN'),
    want: 503,
    again: '30',
  },
  {
    name: 'a constraint that does not hold',
    fault: new Error('UNIQUE: SQLITE_CONSTRAINT'),
    want: 500,
    again: null,
  },
  { name: 'an error that says no time', fault: new OciError('UNAVAILABLE'), want: 503, again: '1' },
  {
    name: 'an error that says a time',
    fault: new OciError('UNAVAILABLE', { headers: { 'Retry-After': '15' } }),
    want: 503,
    again: '15',
  },
  { name: 'a part that R2 refuses', fault: new Error('complete: too small (10011)'), want: 500, again: null },
  { name: 'a bug', fault: new Error('x is not a function'), want: 500, again: null },
];

for (const { name, fault, want, again } of ROWS) {
  it(`${name} is answered with ${want}${again === null ? '' : `, Retry-After ${again}`}`, async () => {
    const fail = () => {
      throw fault;
    };
    const app = createApp({
      requestId: () => 'the id',
      decideOrigin: () => undefined,
      services: fail,
      clientPackage: fail,
      welcome: fail,
      token: fail,
      signIn: { login: fail, callback: fail },
      publishedKeys: fail,
      management: new Hono(),
      blobHost: fail,
    });
    const response = await app.request('http://localhost/token');
    assert.equal(response.status, want);
    assert.equal(response.headers.get('Retry-After'), again);
  });
}
