/**
 * Bad input: every malformed request gets the status and the code of its row in the specification's shape, says nothing of
 * the registry's inside, stores nothing, and leaves a registry that works.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Answer, expectBody, expectHeader, expectManifest, expectStatus } from '../conformance/answer.ts';
import { Registry } from '../conformance/registry.ts';
import { blob, digest as digestOf, imageManifest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { exchange } from '../support/socket.ts';
import { endpoints } from './malformed/endpoints.ts';
import { http } from './malformed/http.ts';
import { lists } from './malformed/lists.ts';
import { manifests } from './malformed/manifests.ts';
import { names } from './malformed/names.ts';
import { ranges } from './malformed/ranges.ts';
import { references } from './malformed/references.ts';
import { Given, type Request, type Row } from './malformed/row.ts';
import { expired, uploads } from './malformed/uploads.ts';

const SUBJECTS = { names, references, uploads, ranges, manifests, lists, endpoints, http };
const TWO_DAYS_MS = 2 * 24 * 3600 * 1000;

/** Traces of the inside: stacks and source files, SQL, keys of the store, the bindings, tokens of uploads. */
const INSIDE = [
  /\n\s+at /,
  /\.[cm]?[jt]s:\d/,
  /worker\.js|node_modules|workerd\//,
  /sqlite|SELECT |INSERT /i,
  /blobs\/[0-9a-f]{8}-[0-9a-f]{4}/,
  /DurableObject|R2Bucket|UploadSession|BlobShard/,
  /TypeError|RangeError|ReferenceError/,
  /sha(?:256|512)-[0-9a-z]+-[0-9a-f]{64}/,
];

describe('the table of malformed requests', () => {
  const all = [...Object.values(SUBJECTS).flat(), ...expired];

  it('the table of malformed requests has no two rows of one name', () => {
    const seen = all.map((row) => row.name);
    assert.deepEqual(
      seen.filter((name, at) => seen.indexOf(name) !== at),
      [],
    );
  });

  it('the table of malformed requests has at least 300 rows', () =>
    assert.ok(all.length >= 300, `${all.length} rows`));
});

eachHome((home) => {
  let registry: Registry;
  let given: Given;
  let stored: string[];

  before(async () => {
    registry = new Registry(home.url);
    given = await Given.in(registry);
    stored = (await home.storedKeys()).sort();
    await home.violations();
  });
  after(() => registry[Symbol.dispose]());

  for (const [subject, rows] of Object.entries(SUBJECTS)) {
    describe(subject, () => {
      for (const row of rows.filter(isPublic)) it(`a malformed request: ${row.name}`, () => judge(row));
    });
  }

  describe('after two days', () => {
    before(() => home.setClockAhead(TWO_DAYS_MS));
    after(() => home.setClockAhead(0));
    for (const row of expired) it(`a malformed request after two days: ${row.name}`, () => judge(row));
  });

  describe('after all of them', () => {
    it('after all malformed requests nothing more is stored', async () => {
      assert.deepEqual((await home.storedKeys()).sort(), stored);
    });

    it('malformed requests pass no limit of production', async () =>
      assert.deepEqual(await home.violations(), []));

    it('after all malformed requests the tags are those that were pushed', async () => {
      const answer = await given.repository.tags();
      assert.deepEqual(answer.json(), { name: given.repository.name, tags: ['latest'] });
      expectManifest(await given.repository.getManifest('latest'), given.image);
    });

    it('after all malformed requests the upload that had begun goes on from where it stood', () =>
      given.finish());

    it('after all malformed requests an image is pushed and pulled', async () => {
      const image = imageManifest({ layers: [blob(3 << 20)] });
      const repository = registry.repository();
      await repository.pushManifest(image, 'latest');
      expectManifest(await repository.getManifest('latest'), image);
      for (const bytes of image.blobs) expectBody(await repository.getBlob(digestOf(bytes)), bytes);
    });
  });

  describe('chunks beside a length, which does not count (RFC 9112, section 6.3)', () => {
    const content = blob(101);
    for (const length of [1, 5, 500]) {
      const beside = (method: string, path: string) =>
        [
          `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n`,
          `${content.toString('latin1')}\r\n0\r\n\r\n`,
        ].join('');

      it(`a length does not count beside chunks: ${length} beside the chunks of a PATCH`, async () => {
        const path = await given.start();
        const answer = await sendRaw(home.url, beside('PATCH', path));
        expectStatus(answer, 202);
        expectHeader(answer, 'Range', '0-100');
        expectStatus(await registry.send('DELETE', path), 204);
      });

      it(`a length does not count beside chunks: ${length} beside the chunks of a PUT`, async () => {
        const of = digestOf(content);
        expectStatus(await sendRaw(home.url, beside('PUT', `${await given.start()}&digest=${of}`)), 201);
        expectBody(await given.repository.getBlob(of), content);
        expectStatus(await given.repository.deleteBlob(of), 202);
      });
    }
  });

  /** On one machine workerd faces the clients; before the other home stands the edge of Cloudflare, whatever workerd does. */
  function isPublic({ want }: Row): boolean {
    return home.name === 'disk' || !('server' in want);
  }

  async function judge({ request, want }: Row): Promise<void> {
    const answer = await send(await request(given));
    const text = answer.body.toString();
    for (const pattern of INSIDE) {
      if ('server' in want || want.code !== null)
        assert.doesNotMatch(text, pattern, `${answer} tells of the inside`);
    }
    if ('server' in want) return expectStatus(answer, ...want.server);
    expectStatus(answer, want.status);
    if (want.code !== null) judgeError(answer, want.code);
  }

  function send(request: Request): Promise<Answer> {
    if ('raw' in request) return sendRaw(home.url, request.raw, request.ends);
    const { method, path, ...sent } = request;
    return registry.send(method, path, sent);
  }
});

/** Sends bytes that are no valid request. Throws if there is no complete answer. */
async function sendRaw(url: string, bytes: string | Buffer, ends = false): Promise<Answer> {
  const { status, rawHeaders, body } = await exchange(url, bytes, ends);
  if (status === 0) throw new Error(`the connection was closed after ${JSON.stringify(String(body))}`);
  return new Answer('RAW', 'http://socket/', status, rawHeaders, body);
}

/** Distribution spec, "Error Codes". */
function judgeError(answer: Answer, code: string): void {
  const json = answer.json() as { errors: { code: string; message: string }[] };
  assert.equal(answer.header('Content-Type'), 'application/json', `${answer}`);
  assert.deepEqual(Object.keys(json), ['errors'], `${answer}`);
  assert.equal(json.errors.length, 1, `${answer}`);
  for (const error of json.errors) {
    assert.equal(error.code, code, `${answer}`);
    assert.ok(typeof error.message === 'string' && error.message.length > 10, `${answer} has no message`);
  }
  // An answer should say what was wrong, and not send a large request back.
  assert.ok(answer.body.length < 2000, `${answer} has an error of ${answer.body.length} bytes`);
  if (answer.status === 405) assert.ok(answer.header('Allow'), `${answer} has no Allow`);
  if (answer.status === 416 && code === 'RANGE_INVALID') {
    assert.match(answer.header('Content-Range') ?? '', /^bytes \*\/\d+$/, `${answer}`);
  }
  if (answer.status === 416 && code === 'BLOB_UPLOAD_INVALID') {
    assert.match(answer.header('Range') ?? '', /^0-\d+$/, `${answer}`);
    assert.ok(answer.header('Location'), `${answer} has no Location`);
  }
}
