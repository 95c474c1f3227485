/**
 * Clients that are slow, stop or go away: uploads share the memory of the isolate, and none keeps another from its 201.
 */
import assert from 'node:assert/strict';
import type { ClientRequest } from 'node:http';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { MEMORY_BYTES } from '../../worker/memory/budget.ts';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { answerTo, open } from '../support/http.ts';
import { Client, locationOf, withDigest } from './client.ts';
import { eachHome } from './homes.ts';

const MiB = 1024 * 1024;
const TOGETHER = 60;
/** The second round finds what the first has left. */
const ROUNDS = 2;
/** A link of 1 MiB a second. */
const PIECE = 256 * 1024;
const PIECE_MS = 250;
const TIMEOUT = { timeout: 120_000 };

eachHome((home) => {
  const stopped: ClientRequest[] = [];
  after(() => {
    for (const request of stopped) request.destroy();
  });

  test(`${TOGETHER} slow uploads of 3 MiB at once get their 201, twice over`, TIMEOUT, async () => {
    // The same bytes: only the first push of them is stored, and all of them have to arrive.
    const bytes = blob(3 * MiB);
    for (let round = 0; round < ROUNDS; round++) {
      const statuses = await Promise.all(Array.from({ length: TOGETHER }, () => pushSlowly(home, bytes)));
      assert.deepEqual(
        statuses.filter((status) => status !== 201),
        [],
      );
    }
    await pushSmall(home);
  });

  for (const [count, size] of [
    [50, 1],
    [20, 5 * MiB],
  ] as const) {
    test(
      `${count} clients that send ${size} bytes and stop keep no other from its 201`,
      TIMEOUT,
      async () => {
        const client = new Client(home);
        for (let n = 0; n < count; n++) {
          const location = await client.startUpload(repositoryName('idle'));
          const request = chunked(home, 'PATCH', location);
          request.on('error', () => undefined);
          stopped.push(request);
          await written(request, blob(size));
        }
        await pushSmall(home);
        const bytes = blob(3 * MiB);
        assert.equal(await pushSlowly(home, bytes), 201);
      },
    );
  }

  test('clients that go away in the middle of a chunk leave no memory taken', TIMEOUT, async () => {
    for (const request of stopped.splice(0)) request.destroy();
    const client = new Client(home);
    const locations: string[] = [];
    for (let n = 0; n < 30; n++) locations.push(await client.startUpload(repositoryName('cut')));
    await home.reset();
    const headers = { 'Content-Length': String(8 * MiB) };
    const some = blob(2 * MiB);
    await Promise.all(locations.map((location) => client.cut('PATCH', location, headers, some)));
    await home.ended(locations.length);
    assert.equal((await home.memory()).held, 0);
    assert.ok((await home.memory()).peak <= MEMORY_BYTES);
    await pushSmall(home);
  });
});

/** Pushes bytes over a slow link to a repository of their own, and gives the status of what ends it. */
async function pushSlowly(home: Home, bytes: Buffer): Promise<number> {
  const client = new Client(home);
  const location = await client.startUpload(repositoryName('slow'));
  const request = chunked(home, 'PATCH', location);
  const answered = answerTo(request);
  answered.catch(() => undefined); // It is awaited below.
  for (let at = 0; at < bytes.length; at += PIECE) {
    await Promise.race([written(request, bytes.subarray(at, at + PIECE)), answered]);
    await setTimeout(PIECE_MS);
  }
  request.end();
  const answer = await answered;
  if (answer.status !== 202) return answer.status;
  const put = await client.send('PUT', withDigest(locationOf(answer), digestOf(bytes)));
  return put.status;
}

/** A small push, in one PUT and in a PATCH. */
async function pushSmall(home: Home): Promise<void> {
  const client = new Client(home);
  await client.pushBlob(repositoryName('small'), blob(20));
  const bytes = blob(20);
  const patch = await client.want(202, 'PATCH', await client.startUpload(repositoryName('small')), {
    body: bytes,
    chunked: true,
  });
  await client.want(201, 'PUT', withDigest(locationOf(patch), digestOf(bytes)));
}

function chunked(home: Home, method: string, location: string): ClientRequest {
  return open(home.url, method, location, { headers: { 'Transfer-Encoding': 'chunked' } });
}

/** Resolves when the bytes have left. */
function written(request: ClientRequest, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    request.write(bytes, (fault) => (fault ? reject(fault) : resolve()));
  });
}
