// Does this server speak the protocol at all, and does it keep to HTTP where the protocol says nothing?

import assert from 'node:assert/strict';
import { imageManifest } from '../../support/fixtures.ts';
import {
  type Answer,
  expectBody,
  expectEqual,
  expectHeader,
  expectHeaderIfAny,
  expectStatus,
} from '../answer.ts';
import { withBlob, withManifest } from '../given.ts';
import { Declined, type Row, section } from '../row.ts';

export const support: Row[] = [
  ...section('Determining Support', [
    {
      level: 'MUST',
      end: 'end-1',
      what: 'GET /v2/ answers 200',
      run: async (registry) => expectStatus(await registry.get('/v2/'), 200),
    },
    {
      level: 'MAY',
      end: 'end-1',
      what: 'GET /v2/ carries Docker-Distribution-API-Version: registry/2.0, which old clients look for',
      run: async (registry) => {
        const answer = await registry.get('/v2/');
        expectHeader(answer, 'Docker-Distribution-API-Version', 'registry/2.0');
      },
    },
  ]),

  ...section('API', [
    {
      level: 'SHOULD',
      since: 'main',
      what: 'a path that is no endpoint answers 404',
      run: async (registry) => expectStatus(await registry.named('x').send('GET', '/no-such-endpoint'), 404),
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'a method that an endpoint does not have answers 405 and lists those it has in Allow',
      run: async (registry) => {
        const answer = await registry.named('x').send('PATCH', '/tags/list');
        expectStatus(answer, 405);
        assert.match(expectHeader(answer, 'Allow'), /\bGET\b/);
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: "HEAD of a blob says of the body what GET's headers say",
      run: async (registry) => {
        const { repository, of } = await withBlob(registry);
        sameHeaders(await repository.headBlob(of), await repository.getBlob(of));
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: "HEAD of a manifest says of the body what GET's headers say",
      run: async (registry) => {
        const { repository } = await withManifest(registry);
        sameHeaders(await repository.headManifest('latest'), await repository.getManifest('latest'));
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'If-None-Match with the ETag of a blob answers 304 without a body',
      run: async (registry) => {
        const { repository, of } = await withBlob(registry);
        const etag = etagOf(await repository.getBlob(of));
        const answer = await repository.getBlob(of, { 'If-None-Match': etag });
        expectStatus(answer, 304);
        expectHeader(answer, 'ETag', etag);
        expectBody(answer, Buffer.alloc(0));
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'If-None-Match with another ETag answers 200 with the blob',
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry);
        const answer = await repository.getBlob(of, { 'If-None-Match': '"something else"' });
        expectStatus(answer, 200);
        expectBody(answer, bytes);
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'If-None-Match may list several ETags',
      run: async (registry) => {
        const { repository, of } = await withBlob(registry);
        const list = `"something else", ${etagOf(await repository.getBlob(of))}`;
        expectStatus(await repository.getBlob(of, { 'If-None-Match': list }), 304);
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'If-None-Match with the ETag of a manifest answers 304 to GET and HEAD, by tag and by digest',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry);
        const headers = { 'If-None-Match': etagOf(await repository.getManifest('latest')) };
        expectStatus(await repository.getManifest('latest', headers), 304);
        expectStatus(await repository.headManifest('latest', headers), 304);
        expectStatus(await repository.getManifest(manifest.digest, headers), 304);
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'the ETag of a tag changes when the tag moves',
      run: async (registry) => {
        const { repository } = await withManifest(registry);
        const before = etagOf(await repository.getManifest('latest'));
        const next = imageManifest();
        await repository.pushManifest(next, 'latest');
        const answer = await repository.getManifest('latest', { 'If-None-Match': before });
        expectStatus(answer, 200);
        expectBody(answer, next.bytes);
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'a Range with an If-Range that holds answers 206',
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry);
        const etag = etagOf(await repository.getBlob(of));
        if (etag.startsWith('W/')) throw new Declined('a weak ETag is of no use to If-Range');
        const answer = await repository.getBlob(of, { Range: 'bytes=8-15', 'If-Range': etag });
        expectStatus(answer, 206);
        expectBody(answer, bytes.subarray(8, 16));
      },
    },
    {
      level: 'SHOULD',
      since: 'main',
      what: 'a Range with an If-Range that does not hold answers 200 with the whole blob',
      run: async (registry) => {
        const { repository, of, bytes } = await withBlob(registry);
        const answer = await repository.getBlob(of, { Range: 'bytes=8-15', 'If-Range': '"something else"' });
        expectStatus(answer, 200);
        expectBody(answer, bytes);
      },
    },
  ]),

  ...section('Registry Proxying', [
    {
      level: 'SHOULD',
      since: 'main',
      end: 'end-3',
      what: 'the ns parameter on a pull is ignored, or echoed as OCI-Namespace',
      run: async (registry) => {
        const { repository, manifest } = await withManifest(registry);
        const answer = await repository.getManifest('latest?ns=registry.example.org');
        if (answer.status === 404) throw new Declined(`the registry is a proxy for ns: ${answer}`);
        expectStatus(answer, 200);
        expectBody(answer, manifest.bytes);
        expectHeaderIfAny(answer, 'OCI-Namespace', 'registry.example.org');
      },
    },
  ]),
];

function etagOf(answer: Answer): string {
  expectStatus(answer, 200);
  const etag = answer.header('ETag');
  if (etag === undefined) throw new Declined(`${answer} has no ETag, so there is nothing to compare`);
  assert.match(etag, /^(W\/)?"[^"]*"$/, `${answer} has an ETag that is not quoted: ${etag}`);
  return etag;
}

function sameHeaders(head: Answer, get: Answer): void {
  expectStatus(head, 200);
  expectBody(head, Buffer.alloc(0));
  for (const name of ['Content-Type', 'Docker-Content-Digest', 'ETag']) {
    expectEqual(head.header(name), get.header(name), `the ${name} of ${head}`);
  }
  expectHeader(head, 'Content-Length', String(get.body.byteLength));
}
