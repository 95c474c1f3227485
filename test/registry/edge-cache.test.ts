/**
 * The edge cache over HTTP, with the data centre's cache and with the isolate's memory in its place: what was deleted here is
 * gone at once, what was deleted elsewhere within the lifetime, and an entry is reached only through the registry.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { blob, digest, imageManifest, repositoryName } from '../support/fixtures.ts';
import { Home, onHome } from '../support/homes.ts';
import * as http from '../support/http.ts';
import { client, configOf, type Pushed, pushed } from './edge-client.ts';

const LIFETIME_MS = 60_000;
const DAY_MS = 24 * 3600 * 1000;

const STORES = [
  { store: "in the data centre's cache", options: {} },
  { store: "in the isolate's memory", options: { cache: false } },
];

for (const { store, options } of STORES) {
  describe(`what is kept at the edge, ${store}`, () => {
    onHome('r2', define, options);
  });
}

function define(home: Home): void {
  beforeEach(() => home.setClockAhead(0));

  it('what is kept at the edge is what was asked for by its digest', async () => {
    const { send, image, layer } = await pushed(home);
    const reads = [
      { method: 'GET', path: `manifests/${image.digest}`, status: 200 },
      { method: 'HEAD', path: `manifests/${image.digest}`, status: 200 },
      { method: 'GET', path: `blobs/${digest(layer)}`, status: 307 },
      { method: 'HEAD', path: `blobs/${digest(layer)}`, status: 200 },
      { method: 'GET', path: `blobs/${digest(configOf(image))}`, status: 200 },
    ];
    const cold = [];
    for (const { method, path, status } of reads) cold.push(await send(method, path, status));
    await home.cached();
    await home.reset();
    for (const [index, { method, path, status }] of reads.entries()) {
      assert.deepEqual(await send(method, path, status), cold[index], `${method} ${path}`);
    }
    assert.deepEqual((await home.counts()).calls, []);
  });

  it('what is kept at the edge is a manifest that was asked for by its tag, under its digest', async () => {
    const { send, image } = await pushed(home);
    await send('GET', 'manifests/latest', 200);
    await home.cached();
    await home.reset();
    for (let time = 0; time < 2; time++) {
      const { bytes } = await send('GET', `manifests/${image.digest}`, 200);
      assert.deepEqual(bytes, image.bytes);
    }
    await home.settled();
    // After the answer, and once in an hour, the repository hears of the pull.
    assert.deepEqual((await home.counts()).calls, ['REPOSITORY.pulled']);
  });

  it('what is kept at the edge is nothing of a HEAD of a manifest, which has no bytes', async () => {
    const { send, image } = await pushed(home);
    for (const reference of ['latest', image.digest]) await send('HEAD', `manifests/${reference}`, 200);
    await home.cached();
    const { bytes } = await send('GET', `manifests/${image.digest}`, 200);
    assert.deepEqual(bytes, image.bytes);
  });

  it('what is kept at the edge is no tag, no list, and not that something is not there', async () => {
    const { send } = await pushed(home);
    const unknown = digest(blob());
    const reads = [
      { path: 'manifests/latest', status: 200 },
      { path: 'tags/list', status: 200 },
      { path: `manifests/${unknown}`, status: 404 },
      { path: `blobs/${unknown}`, status: 404 },
    ];
    for (const { path, status } of reads) await send('GET', path, status);
    await home.cached();
    await home.reset();
    for (const { path, status } of reads) await send('GET', path, status);
    assert.equal((await home.counts()).calls.length, reads.length);
  });

  it('what is kept at the edge is of one repository: another does not have it', async () => {
    const { send, image, layer } = await pushed(home);
    await send('GET', `manifests/${image.digest}`, 200);
    await send('GET', `blobs/${digest(layer)}`, 307);
    await home.cached();
    const other = await pushed(home);
    await other.send('GET', `manifests/${image.digest}`, 404);
    await other.send('GET', `blobs/${digest(layer)}`, 404);
  });

  it('what is kept at the edge lives from when the repository was asked, for its lifetime', async () => {
    const { send, image } = await pushed(home);
    const path = `manifests/${image.digest}`;
    await send('GET', path, 200);
    await home.cached();
    await home.setClockAhead(LIFETIME_MS);
    await home.reset();
    await send('GET', path, 200);
    assert.deepEqual((await home.counts()).calls, ['REPOSITORY.manifestByDigest']);
  });

  for (const { what, path, status, ask, method } of [
    {
      what: 'manifest',
      path: ({ image }: Pushed) => `manifests/${image.digest}`,
      status: 200,
      ask: 'REPOSITORY.manifestByDigest',
      method: 'deleteManifest',
    },
    {
      what: 'blob',
      path: ({ loose }: Pushed) => `blobs/${digest(loose)}`,
      status: 307,
      ask: 'REPOSITORY.look',
      method: 'deleteBlob',
    },
  ]) {
    it(`a ${what} kept at the edge is gone at once after a delete that is made here`, async () => {
      const repository = await pushed(home);
      const { send } = repository;
      await send('GET', path(repository), status);
      await home.cached();
      await send('DELETE', path(repository), 202);
      await send('GET', path(repository), 404);
      await send('HEAD', path(repository), 404);
    });

    it(`a ${what} kept at the edge is gone after a delete whose answer is lost`, async () => {
      const repository = await pushed(home);
      const { send } = repository;
      await send('GET', path(repository), status);
      await home.cached();
      await home.reset({ at: `REPOSITORY.${method}`, how: 'after' });
      await send('DELETE', path(repository), 500);
      await send('GET', path(repository), 404);
    });

    it(`a ${what} kept at the edge outlives a delete that is made elsewhere, for its lifetime`, async () => {
      const repository = await pushed(home);
      const { send, name } = repository;
      await send('GET', path(repository), status);
      await home.cached();
      const wanted = path(repository).split('/')[1];
      assert.equal(await home.call('REPOSITORY', name, method, wanted), 'deleted');
      await send('GET', path(repository), status);
      await home.setClockAhead(LIFETIME_MS);
      await send('GET', path(repository), 404);
    });

    it(`a ${what} that was read during a delete is not kept at the edge`, async () => {
      const repository = await pushed(home);
      const { send } = repository;
      await home.reset({ at: ask, how: 'wait' });
      const read = send('GET', path(repository), status);
      await home.reached();
      await send('DELETE', path(repository), 202);
      await home.goOn();
      await read;
      await home.cached();
      await send('GET', path(repository), 404);
    });
  }

  it('what is kept at the edge leads to the new bytes of a blob that was deleted and pushed again', async () => {
    const { send, name, loose } = await pushed(home);
    const path = `blobs/${digest(loose)}`;
    const old = await send('GET', path, 307);
    await home.cached();
    await send('DELETE', path, 202);
    // The shard would find the old bytes for a day: these are told to go first.
    await home.setClockAhead(DAY_MS + 1000);
    await home.ring('REPOSITORY', name);
    await home.ring('BLOB_SHARD', digest(loose).slice('sha256:'.length, 'sha256:'.length + 2));
    await home.setClockAhead(0);
    await send('POST', `blobs/uploads/?digest=${digest(loose)}`, 201, loose);
    const { headers } = await send('GET', path, 307);
    assert.notEqual(keyOf(headers.location), keyOf(old.headers.location));
    assert.deepEqual(Buffer.from((await home.storedBytes(keyOf(headers.location))) ?? []), loose);
    await home.cached();
    const again = await send('GET', path, 307);
    assert.equal(keyOf(again.headers.location), keyOf(headers.location));
  });

  it('what is kept at the edge has the media type of the last push, where the manifest itself says none', async () => {
    const { send } = await pushed(home);
    const image = imageManifest({
      layers: [],
      fields: { config: undefined, layers: [], mediaType: undefined },
    });
    const path = `manifests/${image.digest}`;
    for (const type of ['application/vnd.example.a+json', 'application/vnd.example.b+json']) {
      await send('PUT', path, 201, image.bytes, { 'Content-Type': type });
      const { headers } = await send('GET', path, 200);
      assert.equal(headers['content-type'], type);
      await home.cached();
    }
  });

  it('what is kept at the edge opens no mount: the repository itself is asked', async () => {
    const { send, name, loose } = await pushed(home);
    await send('HEAD', `blobs/${digest(loose)}`, 200);
    await home.cached();
    await home.call('REPOSITORY', name, 'deleteBlob', digest(loose));
    const other = client(home, repositoryName());
    await other('POST', `blobs/uploads/?mount=${digest(loose)}&from=${name}`, 202);
  });

  it('what is kept at the edge is nowhere that a client could ask', async () => {
    const { send, name, image } = await pushed(home);
    await send('GET', `manifests/${image.digest}`, 200);
    await home.cached();
    const key = `/${encodeURIComponent(name)}/manifests/${encodeURIComponent(image.digest)}`;
    for (const host of ['cache.invalid', new URL(home.url).host]) {
      assert.equal((await http.send(home.url, 'GET', key, { headers: { Host: host } })).status, 404, host);
    }
  });
}

describe('the lifetime of what is kept at the edge', () => {
  const homes = [
    { value: '0', calls: 2 },
    { value: '3600', calls: 1 },
  ];
  for (const { value, calls } of homes) {
    it(`with CACHE_LIFETIME=${value} the repository is asked ${calls} of 2 times`, async () => {
      const home = new Home('r2', { vars: { CACHE_LIFETIME: value } });
      await home.start();
      try {
        const { send, image } = await pushed(home);
        await home.reset();
        await send('GET', `manifests/${image.digest}`, 200);
        await home.cached();
        await home.setClockAhead(LIFETIME_MS + 1000);
        await send('GET', `manifests/${image.digest}`, 200);
        assert.equal((await home.counts()).calls.length, calls);
      } finally {
        await home.stop();
      }
    });
  }

  describe('where the setting is wrong', () => {
    const home = new Home('r2', { vars: { CACHE_LIFETIME: '1.5' } });
    before(() => home.start());
    after(() => home.stop());

    it('a wrong CACHE_LIFETIME is named in the error that every request gets', async () => {
      const send = client(home, repositoryName());
      for (let n = 0; n < 2; n++) {
        const { bytes } = await send('GET', 'manifests/latest', 503);
        const [error] = (JSON.parse(bytes.toString()) as { errors: { code: string; message: string }[] })
          .errors;
        assert.equal(error?.code, 'UNAVAILABLE');
        assert.match(error?.message ?? '', /CACHE_LIFETIME/);
      }
    });
  });
});

/** The store's key in a URL of the registry's own blob host. */
function keyOf(location: string | undefined): string {
  const [key] = /blobs\/[^?]+/.exec(new URL(location ?? '').pathname) ?? [];
  assert.ok(key !== undefined, location);
  return key;
}
