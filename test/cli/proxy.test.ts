/** `longshore proxy`, in front of a registry behind a wall that refuses bodies over 2 MB. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import {
  blob,
  digest as digestOf,
  imageManifest,
  repositoryName,
  unknownDigest,
} from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { startWall, type Wall } from '../support/wall.ts';
import { answerOf, assertStored, locationOf, MB, Proxied } from './support/proxied.ts';

const WALL_BYTES = 2 * MB;

eachHome((home) => {
  let wall: Wall;
  let here: Proxied;
  before(async () => {
    wall = await startWall(home.url, WALL_BYTES);
    here = await Proxied.start(wall.url);
  });
  after(async () => {
    await here[Symbol.asyncDispose]();
    await wall[Symbol.asyncDispose]();
  });

  describe('a blob of any size passes the wall', () => {
    for (const size of [0, 1, 1000, WALL_BYTES, 6 * MB + 7]) {
      it(`longshore proxy takes a blob through the wall as docker pushes ${size} bytes`, async () => {
        const [repository, bytes] = [repositoryName(), blob(size)];
        if (size > 0) {
          const pushed = await here.push(repository, bytes);
          assert.equal(pushed.status, 201, pushed.body.toString());
          assert.equal(pushed.headers['docker-content-digest'], digestOf(bytes));
          assert.equal(pushed.headers.location, `/v2/${repository}/blobs/${digestOf(bytes)}`);
        } else {
          assert.equal((await here.putWhole(repository, bytes)).status, 201);
        }
        await assertStored(home.url, repository, bytes);
      });

      it(`longshore proxy takes a blob through the wall as containerd pushes ${size} bytes`, async () => {
        const [repository, bytes] = [repositoryName(), blob(size)];
        const pushed = await here.putWhole(repository, bytes);
        assert.equal(pushed.status, 201, pushed.body.toString());
        await assertStored(home.url, repository, bytes);
      });

      it(`longshore proxy takes a blob through the wall with a POST of ${size} bytes that names the digest`, async () => {
        const [repository, bytes] = [repositoryName(), blob(size)];
        const target = `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`;
        const pushed = await here.send('POST', target, { body: bytes });
        assert.equal(pushed.status, 201, pushed.body.toString());
        await assertStored(home.url, repository, bytes);
        assert.equal(here.proxy.uploads.count, 0);
      });
    }

    it('longshore proxy takes a blob through the wall in chunks of the client, whose lengths differ', async () => {
      const [repository, bytes] = [repositoryName(), blob(5 * MB)];
      let location = await here.begin(repository);
      for (const [from, to] of [
        [0, 10],
        [10, 3 * MB],
        [3 * MB, 3 * MB + 1],
        [3 * MB + 1, 5 * MB],
      ] as const) {
        const headers = { 'Content-Range': `${from}-${to - 1}` };
        const answer = await here.send('PATCH', location, { body: bytes.subarray(from, to), headers });
        assert.equal(answer.status, 202);
        assert.equal(answer.headers.range, `0-${to - 1}`);
        location = locationOf(answer);
        const status = await here.send('GET', location);
        assert.equal(status.status, 204);
        assert.equal(status.headers.range, `0-${to - 1}`);
      }
      assert.equal((await here.send('PUT', `${location}?digest=${digestOf(bytes)}`)).status, 201);
      await assertStored(home.url, repository, bytes);
    });

    it('longshore proxy takes a blob through the wall with sha512', async () => {
      const [repository, bytes] = [repositoryName(), blob(3 * MB)];
      const digest = digestOf(bytes, 'sha512');
      const started = await here.send('POST', `/v2/${repository}/blobs/uploads/?digest-algorithm=sha512`);
      const pushed = await here.send('PUT', `${locationOf(started)}?digest=${digest}`, { body: bytes });
      assert.equal(pushed.status, 201, pushed.body.toString());
      const other = `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes.subarray(1), 'sha512')}`;
      assert.equal((await here.send('POST', other, { body: bytes.subarray(1) })).status, 201);
    });
  });

  it('longshore proxy answers 201 only when the registry has the blob, and passes its errors on word for word', async () => {
    for (const bytes of [blob(100), blob(3 * MB)]) {
      const repository = repositoryName();
      const wrong = unknownDigest();
      const location = await here.begin(repository);
      const refused = await here.send('PUT', `${location}?digest=${wrong}`, { body: bytes });
      assert.equal(refused.status, 400);
      assert.equal(JSON.parse(refused.body.toString()).errors[0].code, 'DIGEST_INVALID');
      assert.equal(here.proxy.uploads.memoryBytes, 0, 'refused bytes are not kept');
      assert.equal((await here.send('HEAD', `/v2/${repository}/blobs/${wrong}`)).status, 404);
    }
    const unnamed = await here.send('PUT', await here.begin(repositoryName()));
    assert.equal(JSON.parse(unnamed.body.toString()).errors[0].code, 'DIGEST_INVALID');
  });

  it('longshore proxy mounts, and starts an upload if there is nothing to mount', async () => {
    const [from, to, bytes] = [repositoryName(), repositoryName(), blob(3 * MB)];
    await here.push(from, bytes);
    const path = `/v2/${to}/blobs/uploads/?from=${from}&mount=`;
    const mounted = await here.send('POST', `${path}${digestOf(bytes)}`);
    assert.equal(mounted.status, 201);
    await assertStored(home.url, to, bytes);
    const other = blob(100);
    const started = await here.send('POST', `${path}${digestOf(other)}`);
    assert.equal(started.status, 202);
    const pushed = await here.send('PUT', `${locationOf(started)}?digest=${digestOf(other)}`, {
      body: other,
    });
    assert.equal(pushed.status, 201);
  });

  it('longshore proxy cancels an upload in the registry, and forgets it', async () => {
    // Of other tests, refused bytes may still be there for a second.
    await using own = await Proxied.start(wall.url);
    const repository = repositoryName();
    const location = await own.begin(repository);
    await own.send('PATCH', location, { body: blob(3 * MB), chunked: true });
    assert.equal((await own.send('DELETE', location)).status, 204);
    for (const method of ['GET', 'PATCH', 'DELETE', 'PUT']) {
      const answer = await own.send(method, `${location}?digest=${unknownDigest()}`);
      assert.equal(answer.status, 404, method);
    }
    assert.equal(own.proxy.uploads.memoryBytes, 0);
  });

  // What the proxy does in the same way before any registry.
  if (home.name !== 'disk') return;

  it('longshore proxy passes manifests, tags, lists, ranges and deletions on', async () => {
    const repository = repositoryName();
    const manifest = imageManifest();
    for (const bytes of manifest.blobs) assert.equal((await here.push(repository, bytes)).status, 201);
    const put = await here.send('PUT', `/v2/${repository}/manifests/v1`, {
      body: manifest.bytes,
      headers: { 'Content-Type': manifest.mediaType },
    });
    assert.equal(put.status, 201, put.body.toString());
    assert.equal(put.headers['docker-content-digest'], manifest.digest);
    assert.equal(put.headers.location, `/v2/${repository}/manifests/${manifest.digest}`);
    assert.match(here.lines.at(-1) ?? '', new RegExp(`^pushed ${repository}:v1: \\d+ blobs?, .* in \\d`));
    const direct = await fetch(`${home.url}/v2/${repository}/manifests/v1`);
    assert.equal(digestOf(Buffer.from(await direct.arrayBuffer())), manifest.digest);

    for (const target of [
      `manifests/v1`,
      `tags/list?n=1`,
      `referrers/${manifest.digest}`,
      'manifests/none',
    ]) {
      const [via, own] = await Promise.all([
        here.send('GET', `/v2/${repository}/${target}`),
        fetch(`${home.url}/v2/${repository}/${target}`),
      ]);
      assert.equal(via.status, own.status);
      assert.equal(via.headers['content-type'], own.headers.get('Content-Type'));
      assert.equal(via.headers.etag, own.headers.get('ETag') ?? undefined);
      if (own.status < 400) assert.equal(via.body.toString(), await own.text());
    }
    const [first = Buffer.alloc(0)] = manifest.blobs;
    const path = `/v2/${repository}/blobs/${digestOf(first)}`;
    const part = await here.send('GET', path, { headers: { Range: 'bytes=1-3' } });
    assert.equal(part.status, 206);
    assert.deepEqual(part.body, first.subarray(1, 4));
    const head = await here.send('HEAD', path);
    assert.equal(head.headers['content-length'], String(first.length));
    assert.equal((await here.send('DELETE', `/v2/${repository}/manifests/${manifest.digest}`)).status, 202);
    assert.equal((await here.send('HEAD', `/v2/${repository}/manifests/v1`)).status, 404);
  });

  it('longshore proxy keeps the pages of a list on the proxy', async () => {
    const repository = repositoryName();
    const manifest = imageManifest();
    for (const bytes of manifest.blobs) await here.push(repository, bytes);
    for (const tag of ['a', 'b', 'c']) {
      const headers = { 'Content-Type': manifest.mediaType };
      await here.send('PUT', `/v2/${repository}/manifests/${tag}`, { body: manifest.bytes, headers });
    }
    const page = await here.send('GET', `/v2/${repository}/tags/list?n=2`);
    const next = /<([^>]+)>; *rel="next"/.exec(String(page.headers.link))?.[1] ?? '';
    assert(next.startsWith('/v2/'), `the next page is ${next}`);
    assert.deepEqual(JSON.parse((await here.send('GET', next)).body.toString()).tags, ['c']);
  });

  it('longshore proxy learns from 413 how large a body may be, and tells the client nothing of it', async () => {
    const [repository, bytes] = [repositoryName(), blob(5 * MB)];
    await using strict = await startWall(home.url, 1_200_000);
    await using proxied = await Proxied.start(strict.url);
    assert.equal((await proxied.push(repository, bytes)).status, 201);
    assert(strict.refused.length > 0);
    const before = strict.refused.length;
    assert.equal((await proxied.push(repository, blob(5 * MB))).status, 201);
    assert.equal(strict.refused.length, before, 'the limit is learned once');
    await assertStored(home.url, repository, bytes);
  });

  it('longshore proxy has at most two chunks of a blob in memory, and none between requests', async () => {
    const memoryBytes = 2 * 1024 * 1024;
    await using proxied = await Proxied.start(home.url, { memoryBytes });
    const repository = repositoryName();
    const bytes = blob(12 * MB);
    let most = 0;
    const location = await proxied.begin(repository);
    const request = proxied.open('PATCH', location);
    for (let at = 0; at < bytes.length; at += 64 * 1024) {
      if (!request.write(bytes.subarray(at, at + 64 * 1024))) await once(request, 'drain');
      most = Math.max(most, proxied.proxy.uploads.memoryBytes);
    }
    request.end();
    assert.equal((await answerOf(request)).headers.range, `0-${bytes.length - 1}`);
    assert(most > 0 && most <= memoryBytes, `${most} bytes`);
    const pushed = await proxied.send('PUT', `${location}?digest=${digestOf(bytes)}`);
    assert.equal(pushed.status, 201, pushed.body.toString());
    assert.equal(proxied.proxy.uploads.memoryBytes, 0);
    await assertStored(home.url, repository, bytes);
  });

  it('longshore proxy takes more uploads at once than fit in its memory', async () => {
    await using proxied = await Proxied.start(wall.url, { memoryBytes: 1024 * 1024 });
    const repository = repositoryName();
    const blobs = Array.from({ length: 6 }, () => blob(MB));
    const pushes = Promise.all(blobs.map((bytes) => proxied.push(repository, bytes)));
    let [most, isDone] = [0, false];
    const watch = async () => {
      for (; !isDone; await new Promise((resolve) => setImmediate(resolve))) {
        most = Math.max(most, proxied.proxy.uploads.memoryBytes);
      }
    };
    const watching = watch();
    const pushed = await pushes.finally(() => {
      isDone = true;
    });
    await watching;
    assert(most > 0 && most <= 1024 * 1024, `${most} bytes`);
    for (const answer of pushed) assert.equal(answer.status, 201, answer.body.toString());
    for (const bytes of blobs) await assertStored(home.url, repository, bytes);
    assert.equal(proxied.proxy.uploads.memoryBytes, 0);
  });
});
