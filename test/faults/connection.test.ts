/**
 * Connections that are cut in the middle of a chunk, and chunks that come at the wrong place or twice: what arrived is kept,
 * the upload says where it stands and goes on from there, and its content is not read back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { answerTo, open } from '../support/http.ts';
import { Client, locationOf, offsetOf, rangeOf, withDigest } from './client.ts';
import { eachHome } from './homes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const MiB = 1024 * 1024;
/** What the client wants to send, and how much it has sent before the cut: over a part on R2, over a piece on disk. */
const CONTENT = 10 * MiB;
const SENT = 8.5 * MiB;
/** Of what was sent, no more than the piece that was being read is lost. */
const LOST_MAX = MiB;

const FRAMES = [
  {
    name: 'Content-Length',
    headers: (size: number) => ({ 'Content-Length': String(size) }),
    frame: (some: Buffer) => some,
  },
  {
    name: 'chunked encoding',
    headers: () => ({ 'Transfer-Encoding': 'chunked' }),
    frame: (some: Buffer) =>
      Buffer.concat([Buffer.from(`${some.length.toString(16)}\r\n`), some, Buffer.from('\r\n')]),
  },
];

eachHome((home) => {
  for (const { name, headers, frame } of FRAMES) {
    for (const ranged of [true, false]) {
      test(`a PATCH that is cut, with ${name} and ${ranged ? 'a' : 'no'} Content-Range`, async () => {
        const [client, bytes] = [new Client(home), blob(CONTENT)];
        const [repository, digest] = [repositoryName(), digestOf(bytes)];
        const location = await client.startUpload(repository);
        await home.reset();
        const where = ranged ? rangeOf(0, bytes.length) : {};
        await client.cut(
          'PATCH',
          location,
          { ...headers(bytes.length), ...where },
          frame(bytes.subarray(0, SENT)),
        );
        await home.ended(1);

        const status = await client.want(204, 'GET', location);
        const at = expectOffset(offsetOf(status));
        const rest = bytes.subarray(at);
        const patch = await client.want(202, 'PATCH', locationOf(status), {
          body: rest,
          headers: ranged ? rangeOf(at, rest.length) : {},
        });
        assert.equal(offsetOf(patch), bytes.length);
        await client.want(201, 'PUT', withDigest(locationOf(patch), digest));
        await expectNothingRead(home);
        assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
      });
    }

    test(`a PUT of the last chunk that is cut, with ${name}`, async () => {
      const [client, bytes] = [new Client(home), blob(CONTENT)];
      const [repository, digest] = [repositoryName(), digestOf(bytes)];
      const first = bytes.subarray(0, 1000);
      const location = await client.startUpload(repository);
      const patch = await client.want(202, 'PATCH', location, {
        body: first,
        headers: rangeOf(0, first.length),
      });
      await home.reset();
      const last = bytes.subarray(first.length);
      const target = withDigest(locationOf(patch), digest);
      const where = rangeOf(first.length, last.length);
      await client.cut('PUT', target, { ...headers(last.length), ...where }, frame(last.subarray(0, SENT)));
      await home.ended(1);

      assert.equal(await client.pullBlob(repository, digest), null);
      const status = await client.want(204, 'GET', locationOf(patch));
      const at = first.length + expectOffset(offsetOf(status) - first.length);
      const rest = bytes.subarray(at);
      await client.want(201, 'PUT', withDigest(locationOf(status), digest), {
        body: rest,
        headers: rangeOf(at, rest.length),
      });
      await expectNothingRead(home);
      assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
    });
  }

  test('a PUT of the whole blob that is cut leaves nothing, and may be repeated', async () => {
    const [client, bytes, before] = [new Client(home), blob(CONTENT), await stored(home)];
    const [repository, digest] = [repositoryName(), digestOf(bytes)];
    const target = withDigest(await client.startUpload(repository), digest);
    await home.reset();
    await client.cut('PUT', target, { 'Content-Length': String(bytes.length) }, bytes.subarray(0, SENT));
    await home.ended(1);
    assert.equal(await client.pullBlob(repository, digest), null);
    assert.deepEqual(await stored(home), before);
    await client.want(201, 'PUT', target, { body: bytes });
    assert.ok((await client.pullBlob(repository, digest))?.equals(bytes));
  });

  test('of two chunks at one offset the first that is whole is taken, and the other is refused', async () => {
    const [client, before] = [new Client(home), await stored(home)];
    const [slow, quick, rest] = [blob(9 * MiB), blob(9 * MiB), blob(1000)];
    const repository = repositoryName();
    const location = await client.startUpload(repository);
    const headers = rangeOf(0, slow.length);
    await home.reset({ at: 'UPLOAD_SESSION.begin', how: 'wait' });
    const request = open(home.url, 'PATCH', location, {
      headers: { ...headers, 'Content-Length': String(slow.length) },
    });
    request.write(slow.subarray(0, SENT));
    await home.reached();
    await home.goOn();
    const taken = await client.want(202, 'PATCH', location, { body: quick, headers });
    const answered = answerTo(request);
    request.end(slow.subarray(SENT));
    const refused = await answered;
    assert.equal(refused.status, 416);
    assert.equal(refused.headers.range, `0-${quick.length - 1}`);

    await finish(client, repository, locationOf(taken), quick, rest);
    const digest = digestOf(Buffer.concat([quick, rest]));
    assert.ok((await client.pullBlob(repository, digest))?.equals(Buffer.concat([quick, rest])));
    await expectNoRemains(client, before);
  });

  test('two chunks at one offset at the same moment', async () => {
    for (let round = 0; round < 10; round++) {
      const [client, before] = [new Client(home), await stored(home)];
      const [chunks, rest] = [[blob(1.5 * MiB), blob(1.5 * MiB)], blob(1000)];
      const repository = repositoryName();
      const location = await client.startUpload(repository);
      const answers = await Promise.all(
        chunks.map((body) => client.send('PATCH', location, { body, headers: rangeOf(0, body.length) })),
      );
      assert.deepEqual(answers.map(({ status }) => status).sort(), [202, 416]);
      const won = answers.findIndex(({ status }) => status === 202);
      const chunk = chunks[won];
      const answer = answers[won];
      assert.ok(chunk !== undefined && answer !== undefined);
      await finish(client, repository, locationOf(answer), chunk, rest);
      await expectNoRemains(client, before);
      await letTimePass(client);
    }
  });

  test('a chunk out of order is refused, says where to go on, and changes nothing', async () => {
    const [client, bytes] = [new Client(home), blob(300)];
    const repository = repositoryName();
    const location = await client.startUpload(repository);
    const early = await client.want(416, 'PATCH', location, {
      body: bytes.subarray(100),
      headers: rangeOf(100, 200),
    });
    assert.equal(offsetOf(early), 0);
    const patch = await client.want(202, 'PATCH', location, {
      body: bytes.subarray(0, 200),
      headers: rangeOf(0, 200),
    });
    for (const first of [0, 100, 250]) {
      const wrong = await client.want(416, 'PATCH', locationOf(patch), {
        body: bytes.subarray(first, first + 50),
        headers: rangeOf(first, 50),
      });
      assert.equal(offsetOf(wrong), 200);
      assert.equal(wrong.headers['docker-upload-uuid'], patch.headers['docker-upload-uuid']);
      assert.equal(offsetOf(await client.want(204, 'GET', locationOf(wrong))), 200);
    }
    await finish(client, repository, locationOf(patch), bytes.subarray(0, 200), bytes.subarray(200));
  });
});

/** Sends the last chunk in the PUT, and sees the blob. */
async function finish(
  client: Client,
  repository: string,
  location: string,
  first: Buffer,
  rest: Buffer,
): Promise<void> {
  const bytes = Buffer.concat([first, rest]);
  const target = withDigest(location, digestOf(bytes));
  await client.want(201, 'PUT', target, { body: rest, headers: rangeOf(first.length, rest.length) });
  assert.ok((await client.pullBlob(repository, digestOf(bytes)))?.equals(bytes));
}

function expectOffset(offset: number): number {
  assert.ok(offset <= SENT, `${offset} bytes are said to have come, and ${SENT} were sent`);
  assert.ok(offset > SENT - LOST_MAX, `of ${SENT} bytes that were sent, ${offset} were kept`);
  return offset;
}

/** No byte that was stored has been read since the last reset. */
async function expectNothingRead(home: Home): Promise<void> {
  const { calls } = await home.counts();
  assert.deepEqual(
    calls.filter((call) => ['R2.get', 'R2.head', 'disk.GET'].includes(call)),
    [],
  );
}
