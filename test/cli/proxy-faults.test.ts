/** `longshore proxy` when the network, the registry or the client fails. Chunks have 1 MiB here. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it, mock } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { type Home, onHome } from '../support/homes.ts';
import { type Fault, type Passing, startFront } from '../transfer/support/front.ts';
import { answerOf, assertStored, locationOf, MB, Proxied } from './support/proxied.ts';

const MIB = 1024 * 1024;
/** What other registries answer if an upload has ended. */
const UNKNOWN = { status: 404, body: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"unknown"}]}' };
/** Of one upload at a time, a chunk has half of it. */
const MEMORY = { memoryBytes: 2 * MIB };

/** Pushes a blob of four chunks and a rest in both ways, with faults on the way. */
async function pushThrough(home: Home, decide: (passing: Passing) => Fault | Promise<Fault>): Promise<void> {
  for (const way of ['push', 'putWhole'] as const) {
    await using front = await startFront(() => home.url, decide);
    await using here = await Proxied.start(front.url, MEMORY);
    const [repository, bytes] = [repositoryName(), blob(4 * MIB + 5)];
    const pushed = await here[way](repository, bytes);
    assert.equal(pushed.status, 201, `${way}: ${pushed.body}`);
    await assertStored(home.url, repository, bytes);
    assert.equal(here.proxy.uploads.memoryBytes, 0);
  }
}

onHome('disk', (home) => {
  describe('a fault on the way to the registry is repaired', () => {
    const faults: { name: string; fault: (passing: Passing) => Fault }[] = [
      { name: 'the connection is cut before a chunk', fault: () => ({ cutAfter: 0 }) },
      { name: 'the connection is cut within a chunk', fault: () => ({ cutAfter: 300_000 }) },
      { name: 'the answer to a chunk is lost', fault: () => ({ loseAnswer: true }) },
      { name: 'the registry is not ready', fault: () => ({ status: 503, headers: { 'Retry-After': '0' } }) },
    ];
    for (const { name, fault } of faults) {
      it(`longshore proxy repairs a fault on the way to the registry: ${name}, at every chunk`, () =>
        // Each chunk fails once. What is sent again has an even number.
        pushThrough(home, (passing) =>
          passing.method === 'PATCH' && passing.number % 2 === 1 ? fault(passing) : undefined,
        ));
    }

    it('longshore proxy repairs a fault on the way to the registry: the answer to the last request is lost', () =>
      pushThrough(home, ({ method, number }) =>
        method === 'PUT' && number === 1 ? { loseAnswer: true } : undefined,
      ));

    it('longshore proxy repairs a fault on the way to the registry: the answer to the only request of a small blob is lost', async () => {
      const decide = ({ method, number }: Passing): Fault =>
        method === 'PUT' && number === 1 ? { loseAnswer: true } : undefined;
      for (const size of [1000, 300_000]) {
        await using front = await startFront(() => home.url, decide);
        await using here = await Proxied.start(front.url);
        const [repository, bytes] = [repositoryName(), blob(size)];
        const pushed = await here.putWhole(repository, bytes);
        assert.equal(pushed.status, 201, pushed.body.toString());
        await assertStored(home.url, repository, bytes);
      }
    });

    it('longshore proxy repairs a fault on the way to the registry: the answer to the last request is lost, and the registry does not know the upload any more', () =>
      pushThrough(home, ({ method, number }) => {
        if (method !== 'PUT') return undefined;
        return number === 1 ? { loseAnswer: true } : UNKNOWN;
      }));

    it('longshore proxy repairs a fault on the way to the registry: the registry crashes at every chunk', async () => {
      const restarted = new Set<number>();
      await pushThrough(home, ({ method, number }) => {
        if (method !== 'PATCH' || number % 2 === 0 || restarted.size >= 4) return undefined;
        restarted.add(number);
        return { cutAfter: 300_000, after: () => home.crash() };
      });
    });

    it('longshore proxy repairs a fault on the way to the registry: the start of an upload, a manifest and a pull meet a cut connection', async () => {
      const isFirst = ({ number }: Passing): Fault => (number === 1 ? { cutAfter: 0 } : undefined);
      await using front = await startFront(
        () => home.url,
        (passing) => {
          return passing.total === 1 ? undefined : isFirst(passing);
        },
      );
      await using here = await Proxied.start(front.url);
      const [repository, bytes] = [repositoryName(), blob(1000)];
      assert.equal((await here.putWhole(repository, bytes)).status, 201);
      assert.equal((await here.send('GET', `/v2/${repository}/blobs/${digestOf(bytes)}`)).status, 200);
    });
  });

  describe('an upload that the registry ends', () => {
    for (const { name, status } of [
      { name: 'is refused', status: 403 },
      { name: 'is lost', status: 404 },
    ]) {
      it(`where the registry ends an upload by ${name} in the middle: the client gets the error, and the memory is free`, async () => {
        const body = JSON.stringify({ errors: [{ code: 'DENIED', message: 'a policy forbids this' }] });
        await using front = await startFront(
          () => home.url,
          ({ method, number }) => (method === 'PATCH' && number === 2 ? { status, body } : undefined),
        );
        await using here = await Proxied.start(front.url, MEMORY);
        const location = await here.begin(repositoryName());
        const answer = await here.send('PATCH', location, { body: blob(6 * MIB), chunked: true });
        assert.equal(answer.status, status);
        assert.match(
          answer.body.toString(),
          status === 403 ? /a policy forbids this/ : /BLOB_UPLOAD_UNKNOWN/,
        );
        assert.equal((await here.send('GET', location)).status, 404);
        assert.equal(here.proxy.uploads.memoryBytes, 0);
      });
    }
  });

  it('an upload that the registry does not know, and whose blob it does not have, is an error', async () => {
    await using front = await startFront(
      () => home.url,
      ({ method }) => (method === 'PUT' ? UNKNOWN : undefined),
    );
    await using here = await Proxied.start(front.url, MEMORY);
    const answer = await here.push(repositoryName(), blob(3 * MIB));
    assert.equal(answer.status, 404);
    assert.match(answer.body.toString(), /BLOB_UPLOAD_UNKNOWN/);
  });

  it('an upload whose client is silent for 15 minutes is cancelled, here and in the registry', async (t) => {
    mock.timers.enable({ apis: ['setInterval', 'Date'], now: Date.now() });
    t.after(() => mock.timers.reset());
    await using front = await startFront(() => home.url);
    await using here = await Proxied.start(front.url, MEMORY);
    const location = await here.begin(repositoryName());
    const minutes = (count: number) => mock.timers.tick(count * 60_000);
    assert.equal((await here.send('PATCH', location, { body: blob(1000) })).status, 202);
    minutes(14);
    // Any request of the upload begins the time anew.
    assert.equal((await here.send('GET', location)).headers.range, '0-999');
    minutes(14);
    assert.equal((await here.send('GET', location)).status, 204);
    minutes(16);
    assert.equal((await here.send('GET', location)).status, 404);
    await here.proxy.stop(0);
    assert.equal(front.passed.filter(({ method }) => method === 'DELETE').length, 1);
  });

  describe('a client', () => {
    let here: Proxied;
    before(async () => {
      here = await Proxied.start(home.url, MEMORY);
    });
    after(() => here[Symbol.asyncDispose]());

    /** Resolves when nothing of any client is in memory. */
    const emptied = async () => {
      while (here.proxy.uploads.memoryBytes > 0) await new Promise((resolve) => setImmediate(resolve));
    };

    /** Resolves when the proxy has noticed that a client has gone. */
    const free = async (location: string): Promise<string> => {
      while ((await here.send('PATCH', location)).status === 416);
      return location;
    };

    it('a client of longshore proxy that breaks off continues from where the upload stands', async () => {
      const [repository, bytes] = [repositoryName(), blob(5 * MIB)];
      let location = await here.begin(repository);
      for (const share of [0.1, 0.5, 0.9]) {
        const at = Number(/-(\d+)/.exec(String((await here.send('GET', location)).headers.range))?.[1]);
        const from = at === 0 ? 0 : at + 1;
        const request = here.open('PATCH', location, { 'Content-Range': `${from}-${bytes.length - 1}` });
        const some = bytes.subarray(from, Math.floor(bytes.length * share));
        await new Promise<void>((sent) => request.write(some, () => sent()));
        // What the client has sent may still be on its way, and then it is lost.
        const closed = new Promise((resolve) => request.once('close', resolve));
        request.destroy();
        await closed;
        location = await free(location);
      }
      const status = await here.send('GET', location);
      const from = Number(/-(\d+)/.exec(String(status.headers.range))?.[1]) + 1;
      assert(from > MIB, `the upload stands at ${from}`);
      const rest = await here.send('PUT', `${locationOf(status)}?digest=${digestOf(bytes)}`, {
        body: bytes.subarray(from),
        headers: { 'Content-Range': `${from}-${bytes.length - 1}` },
      });
      assert.equal(rest.status, 201, rest.body.toString());
      await assertStored(home.url, repository, bytes);
    });

    it('a client of longshore proxy that goes away leaves nothing in memory, and no upload in the registry', async () => {
      const repository = repositoryName();
      await using front = await startFront(() => home.url);
      await using proxied = await Proxied.start(front.url, MEMORY);
      const request = proxied.open('PATCH', await proxied.begin(repository));
      await new Promise<void>((sent) => request.write(blob(3 * MIB), () => sent()));
      request.destroy();
      await proxied.proxy.stop(0);
      assert.equal(proxied.proxy.uploads.memoryBytes, 0);
      const cancelled = front.passed.filter(({ method }) => method === 'DELETE');
      assert.equal(cancelled.length, 1);
      assert.equal((await fetch(`${home.url}${cancelled[0]?.path}`)).status, 404);
    });

    it('a client of longshore proxy whose upload is cut by the end of the proxy gets an error, and nothing is printed', async () => {
      await using proxied = await Proxied.start(home.url, MEMORY);
      const location = await proxied.begin(repositoryName());
      const request = proxied.open('PATCH', location);
      await new Promise<void>((sent) => request.write(blob(3 * MIB), () => sent()));
      // The proxy reads the body when it says how much of it arrived.
      while ((await proxied.send('GET', location)).headers.range === '0-0');
      const closed = once(request, 'close');
      await proxied.proxy.stop(0);
      request.end(blob(3 * MIB));
      await closed;
      assert.deepEqual(proxied.lines, []);
    });

    it('a client of longshore proxy that is silent holds no memory, and 60 of them do not stop another', async () => {
      const repository = repositoryName();
      const silent = [];
      for (let count = 0; count < 60; count += 1) {
        const request = here.open('PATCH', await here.begin(repository));
        await new Promise<void>((sent) => request.write(blob(1000), () => sent()));
        silent.push(request);
      }
      const bytes = blob(3 * MB);
      assert.equal((await here.push(repository, bytes)).status, 201);
      await emptied();
      for (const request of silent) request.end(blob(5));
      for (const request of silent) assert.equal((await answerOf(request)).headers.range, '0-1004');
    });

    it('a client of longshore proxy cannot send to an upload while another request does', async () => {
      const [repository, bytes] = [repositoryName(), blob(3000)];
      const location = await here.begin(repository);
      const first = here.open('PATCH', location);
      await new Promise<void>((sent) => first.write(bytes.subarray(0, 1000), () => sent()));
      // The proxy has begun with the first request when it says how much of it arrived.
      while ((await here.send('GET', location)).headers.range !== '0-999');
      for (const [method, target] of [
        ['PATCH', location],
        ['PUT', `${location}?digest=${digestOf(bytes)}`],
        ['DELETE', location],
      ] as const) {
        const second = await here.send(method, target, method === 'DELETE' ? {} : { body: blob(1000) });
        assert.equal(second.status, 416, method);
        assert.equal(second.headers.range, '0-999');
      }
      first.end(bytes.subarray(1000));
      assert.equal((await answerOf(first)).statusCode, 202);
      assert.equal((await here.send('PUT', `${location}?digest=${digestOf(bytes)}`)).status, 201);
      await assertStored(home.url, repository, bytes);
    });

    it('a client of longshore proxy may begin a bounded number of uploads, and the next when others were forgotten', async () => {
      await using proxied = await Proxied.start(home.url, { uploadsMax: 3 });
      const repository = repositoryName();
      const locations = [];
      for (let count = 0; count < 3; count += 1) locations.push(await proxied.begin(repository));
      const refused = await proxied.send('POST', `/v2/${repository}/blobs/uploads/`);
      assert.equal(refused.status, 429);
      assert.match(String(refused.headers['retry-after']), /^\d+$/);
      assert.equal((await proxied.send('DELETE', locations[0] ?? '')).status, 204);
      await proxied.begin(repository);
    });
  });
});
