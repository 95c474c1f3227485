/** The signatures that AWS publishes: S3 API, "Signature calculations: Authorization header" and "query parameters", the examples. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { signatureOf } from './sigv4.ts';

const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
const date = '20130524T000000Z';
const scope = '20130524/us-east-1/s3/aws4_request';
const host = 'examplebucket.s3.amazonaws.com';
const empty = createHash('sha256').update('').digest('hex');
const welcome = createHash('sha256').update('Welcome to Amazon S3.').digest('hex');

const signed = (payload: string) => ({ host, 'x-amz-content-sha256': payload, 'x-amz-date': date });

const ROWS = [
  {
    name: 'GET object',
    request: {
      method: 'GET',
      path: '/test.txt',
      query: '',
      headers: { ...signed(empty), range: 'bytes=0-9' },
    },
    payload: empty,
    want: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
  {
    name: 'PUT object',
    request: {
      method: 'PUT',
      path: '/test$file.text',
      query: '',
      headers: {
        ...signed(welcome),
        date: 'Fri, 24 May 2013 00:00:00 GMT',
        'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      },
    },
    payload: welcome,
    want: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  },
  {
    name: 'GET bucket lifecycle',
    request: { method: 'GET', path: '/', query: 'lifecycle', headers: signed(empty) },
    payload: empty,
    want: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  },
  {
    name: 'list objects',
    request: { method: 'GET', path: '/', query: 'max-keys=2&prefix=J', headers: signed(empty) },
    payload: empty,
    want: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  },
  {
    name: 'a presigned GET',
    request: {
      method: 'GET',
      path: '/test.txt',
      query:
        'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host',
      headers: { host },
    },
    payload: 'UNSIGNED-PAYLOAD',
    want: 'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  },
];

describe('the double of S3 computes the published signature of', () => {
  for (const { name, request, payload, want } of ROWS) {
    it(`the double of S3 computes the published signature of: ${name}`, () => {
      const signedHeaders = Object.keys(request.headers).sort();
      assert.equal(signatureOf(request, { date, scope, signedHeaders, payload, secretAccessKey }), want);
    });
  }
});
