/** The client's signatures, held to those that AWS publishes: S3 API, "Signature calculations: Authorization header", the examples. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { signed } from '../../cli/transfer/sigv4.ts';

const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const AT = new Date('2013-05-24T00:00:00Z');
const HOST = 'https://examplebucket.s3.amazonaws.com';

const ROWS = [
  {
    name: 'GET object with a range',
    request: { method: 'GET', path: '/test.txt', headers: { Range: 'bytes=0-9' } },
    body: '',
    want: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
  {
    name: 'PUT object',
    request: {
      method: 'PUT',
      path: '/test%24file.text',
      headers: { Date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' },
    },
    body: 'Welcome to Amazon S3.',
    want: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  },
  {
    name: 'GET bucket lifecycle',
    request: { method: 'GET', path: '/?lifecycle', headers: {} },
    body: '',
    want: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  },
  {
    name: 'list objects',
    request: { method: 'GET', path: '/?prefix=J&max-keys=2', headers: {} },
    body: '',
    want: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  },
];

describe('the client signs as AWS publishes it', () => {
  for (const { name, request, body, want } of ROWS) {
    it(`the client signs as AWS publishes it: ${name}`, () => {
      const { method, path, headers } = request;
      const payload = createHash('sha256').update(body).digest('hex');
      const asked = { method, url: new URL(path, HOST), headers };
      const { authorization } = signed(asked, CREDENTIALS, { at: AT, region: 'us-east-1', payload });
      assert.equal(/Signature=([0-9a-f]+)$/.exec(authorization ?? '')?.[1], want);
    });
  }
});
