/**
 * What a client was told is there stays long enough for its manifest, and what a manifest names stays for as long as the
 * manifest does.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GRACE_MS } from '../../durable-objects/graces.ts';
import { blob, digest as digestOf, imageManifest, mediaTypes, repositoryName } from '../support/fixtures.ts';
import { Client } from './client.ts';
import { eachHome } from './homes.ts';
import { letTimePass } from './remains.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
/** How much later a client may push its manifest. */
const HOURS = 10;

const ELSEWHERE = [
  { what: 'with urls', fields: { urls: ['https://layers.example/1'] } },
  {
    what: 'of a type that may not be distributed',
    fields: { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' },
  },
  {
    what: 'of a foreign type of Docker',
    fields: { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' },
  },
];

eachHome((home) => {
  for (const { what, fields } of ELSEWHERE) {
    test(`a layer ${what} that was pushed stays for as long as its manifest`, async () => {
      const [client, repository] = [new Client(home), repositoryName('elsewhere')];
      const [config, layer] = [blob(), blob()];
      const descriptor = (bytes: Buffer, mediaType: string) => ({
        mediaType,
        digest: digestOf(bytes),
        size: bytes.length,
      });
      for (const bytes of [config, layer]) await client.pushBlob(repository, bytes);
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.imageManifest,
          config: descriptor(config, mediaTypes.imageConfig),
          layers: [{ ...descriptor(layer, mediaTypes.layer), ...fields }],
        }),
      );
      const digest = digestOf(manifest);
      await client.want(201, 'PUT', `/v2/${repository}/manifests/v1`, {
        body: manifest,
        headers: { 'Content-Type': mediaTypes.imageManifest },
      });
      await letTimePass(client);
      assert.ok((await client.pullBlob(repository, digestOf(layer)))?.equals(layer));
      const refused = await client.send('DELETE', `/v2/${repository}/blobs/${digestOf(layer)}`);
      assert.equal(refused.status, 405, 'the manifest still names it');
      await client.want(202, 'DELETE', `/v2/${repository}/manifests/${digest}`);
      await letTimePass(client);
      assert.equal(await client.pullBlob(repository, digestOf(layer)), null);
    });
  }

  const told = [
    {
      how: 'by HEAD',
      tell: (client: Client, name: string, bytes: Buffer) =>
        client.want(200, 'HEAD', `/v2/${name}/blobs/${digestOf(bytes)}`),
    },
    {
      how: 'by a mount',
      tell: async (client: Client, name: string, bytes: Buffer) => {
        const source = repositoryName('source');
        await client.pushBlob(source, bytes);
        await client.want(201, 'POST', `/v2/${name}/blobs/uploads/?mount=${digestOf(bytes)}&from=${source}`);
      },
    },
    {
      how: 'by a push of the same',
      tell: (client: Client, name: string, bytes: Buffer) => client.pushBlob(name, bytes),
    },
  ];
  for (const { how, tell } of told) {
    test(`a blob that a client is told of ${how}, a second before its link ends, is there for a manifest hours later`, async () => {
      const [client, repository, image] = [new Client(home), repositoryName('told'), imageManifest()];
      for (const bytes of image.blobs) await client.pushBlob(repository, bytes);
      // Read before, so that it is remembered where answers are.
      for (const bytes of image.blobs)
        await client.want(200, 'HEAD', `/v2/${repository}/blobs/${digestOf(bytes)}`);
      const ends = GRACE_MS - SECOND_MS;
      await home.setClockAhead(ends);
      for (const bytes of image.blobs) await tell(client, repository, bytes);
      for (let hours = 1; hours <= HOURS; hours++) {
        await home.setClockAhead(ends + hours * HOUR_MS);
        await home.ringDue('REPOSITORY', repository);
      }
      assert.equal((await client.putManifest(repository, 'v1', image)).status, 201);
      await home.setClockAhead(0);
      await letTimePass(client);
      assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
    });
  }

  test('a blob that clients ask for again and again is let go a day after the last, and its rows with it', async () => {
    const [client, repository, bytes] = [new Client(home), repositoryName('asked'), blob()];
    const digest = await client.pushBlob(repository, bytes);
    // A repository that is emptied loses its tables. This one holds an index of nothing.
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    await client.want(201, 'PUT', `/v2/${repository}/manifests/latest`, {
      body: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [] })),
      headers: { 'Content-Type': mediaType },
    });
    for (let halves = 1; halves <= 5; halves++) {
      await home.setClockAhead((halves * GRACE_MS * 2) / 3);
      await home.ringDue('REPOSITORY', repository);
      await client.want(200, 'HEAD', `/v2/${repository}/blobs/${digest}`);
    }
    for (const days of [5, 6]) {
      await home.setClockAhead(days * GRACE_MS);
      await home.ringDue('REPOSITORY', repository);
    }
    assert.equal((await client.send('HEAD', `/v2/${repository}/blobs/${digest}`)).status, 404);
    for (const table of ['blobs', 'expiries', 'released_links']) {
      const rows = await home.rows('REPOSITORY', repository, `SELECT COUNT(*) AS count FROM ${table}`);
      assert.deepEqual(rows, [{ count: 0 }], table);
    }
    await home.setClockAhead(0);
  });

  test('a read of a blob writes nothing while half of its time is left', async () => {
    const [client, repository] = [new Client(home), repositoryName('read')];
    const digest = await client.pushBlob(repository, blob());
    const rows = () => home.rows('REPOSITORY', repository, 'SELECT digest, expires_at FROM blobs');
    const before = await rows();
    await home.setClockAhead(GRACE_MS / 3);
    await client.want(200, 'HEAD', `/v2/${repository}/blobs/${digest}`);
    assert.deepEqual(await rows(), before);
    await home.setClockAhead(0);
  });
});
