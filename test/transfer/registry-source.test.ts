// An image in a registry as a source: it keeps its digests, and lost connections are opened again where they ended.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { openDestination } from '../../cli/transfer/destination.ts';
import type { TransferEvent } from '../../cli/transfer/events.ts';
import { openSource } from '../../cli/transfer/open-source.ts';
import { Registry } from '../../cli/transfer/registry.ts';
import { saveImage } from '../../cli/transfer/save-image.ts';
import type { SourceBlob, SourceOptions } from '../../cli/transfer/source.ts';
import { ChunkedUpload, ChunkLimit } from '../../cli/transfer/upload.ts';
import { blobPath, hashFile, type Layout, writeLayout } from '../clients/support/layout.ts';
import { onHome } from '../support/homes.ts';
import { readSource } from './support/images.ts';

async function pushLayout(origin: string, { path }: Layout): Promise<void> {
  const registry = new Registry({ origin, credentials: null });
  const source = await openSource(path, { compression: 'gzip', report: () => {}, env: {} });
  for await (const blob of source.blobs()) {
    const upload = await ChunkedUpload.start(registry, 'team/app', new ChunkLimit());
    await upload.append(blob);
    await upload.commit(blob.descriptor.digest);
  }
  for (const { descriptor, bytes } of await source.manifests()) {
    await registry.putManifest('team/app', descriptor.digest, descriptor.mediaType, bytes);
    await registry.putManifest('team/app', 'latest', descriptor.mediaType, bytes);
  }
}

const CUT_BYTES = 300_000;

onHome('disk', (home) => {
  let folder: string;
  let layout: Layout;
  let front: Server;
  let host: string;
  /** Ranges of the GETs of large blobs; the answers to the first of them are cut. */
  const ranges: (string | undefined)[] = [];
  let cuts = 0;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'longshore-registry-source-'));
    layout = await writeLayout(join(folder, 'layout'), {
      architectures: ['amd64', 'arm64'],
      layerBytes: [2_000_000, 1000],
    });
    await pushLayout(home.url, layout);
    front = createServer((incoming, response) => {
      const { url = '', headers, method = 'GET' } = incoming;
      const outgoing = request(`${home.url}${url}`, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        const isLarge = Number(answer.headers['content-length']) > CUT_BYTES;
        if (isLarge) ranges.push(headers.range);
        let left = isLarge && cuts > 0 ? CUT_BYTES : Number.POSITIVE_INFINITY;
        if (isLarge) cuts -= 1;
        answer.on('data', (piece: Buffer) => {
          response.write(piece.subarray(0, left));
          left -= piece.length;
          if (left <= 0) answer.destroy();
        });
        answer.on('close', () => (left <= 0 ? response.destroy() : response.end()));
      });
      incoming.pipe(outgoing);
    }).listen(0, '127.0.0.1');
    await once(front, 'listening');
    host = `127.0.0.1:${(front.address() as AddressInfo).port}`;
  });
  after(async () => {
    front.closeAllConnections();
    front.close();
    await rm(folder, { recursive: true, force: true });
  });

  const read = async (image: string, options: Partial<SourceOptions> = {}) => {
    const source = await openSource(`registry:${host}/${image}`, {
      compression: 'gzip',
      report: () => {},
      env: { HOME: folder },
      ...options,
    });
    try {
      return await readSource(source);
    } finally {
      await source[Symbol.asyncDispose]();
    }
  };

  it('a registry as source leaves out a layer that clients fetch elsewhere, or says that an archive for docker needs it', async () => {
    const image = await openSource(layout.path, {
      compression: 'gzip',
      report: () => {},
      env: {},
      platform: 'linux/amd64',
    });
    const [manifest] = await image.manifests();
    assert(manifest !== undefined);
    const json = JSON.parse(Buffer.from(manifest.bytes).toString());
    const digest = `sha256:${'0'.repeat(64)}`;
    json.layers.push({
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest,
      size: 1,
      urls: ['https://mcr.example.com/layer'],
    });
    const registry = new Registry({ origin: home.url, credentials: null });
    const bytes = Buffer.from(JSON.stringify(json));
    await registry.putManifest('team/app', 'windows', manifest.descriptor.mediaType, bytes);
    const found = await readSource(
      await openSource(`registry:${home.url}/team/app:windows`, {
        compression: 'gzip',
        report: () => {},
        env: {},
      }),
    );
    assert.equal(found.blobs.size, json.layers.length);
    assert(!found.blobs.has(digest));
    const save = async (to: string) => {
      const events: string[] = [];
      await using source = await openSource(`registry:${home.url}/team/app:windows`, {
        compression: 'gzip',
        report: () => {},
        env: {},
      });
      await using destination = openDestination(to);
      const name = { full: 'registry.example.com/team/app:windows', tag: 'windows' };
      const listen = (event: TransferEvent) => void events.push(JSON.stringify(event));
      await saveImage({ source, destination, image: name, listen });
      return events.join('\n');
    };
    const archive = join(folder, 'windows.tar');
    await assert.rejects(
      save(`docker-archive:${archive}`),
      /0000 is not in the registry, and an archive for docker needs every layer\.\nWrite oci:FILE\.tar/,
    );
    assert(!existsSync(archive), 'nothing was read');
    assert.match(await save(`oci:${archive}`), /0000 is not in the registry, and was left out/);
    assert.equal(
      (await readSource(await openSource(archive, { compression: 'gzip', report: () => {}, env: {} }))).blobs
        .size,
      json.layers.length,
    );
  });

  it('a registry as source gives all manifests and blobs of an index', async () => {
    const found = await read('team/app:latest');
    assert.deepEqual(
      found.manifests.map(({ descriptor }) => descriptor.digest),
      [...layout.manifests, layout.root].map(({ digest }) => digest),
    );
    assert.equal(found.blobs.size, 6);
  });

  it('a registry as source gives one platform, and a manifest by its digest', async () => {
    const [, second] = layout.manifests;
    for (const found of [
      await read('team/app:latest', { platform: 'linux/arm64' }),
      await read(`team/app@${second?.digest}`),
    ]) {
      assert.deepEqual(
        found.manifests.map(({ descriptor }) => descriptor.digest),
        [second?.digest],
      );
    }
  });

  it('a registry as source continues a blob where its connection ended', async () => {
    cuts = 3;
    ranges.length = 0;
    const found = await read('team/app:latest', { platform: 'linux/amd64' });
    assert.equal(found.blobs.size, 3);
    assert.equal(ranges.length, 4);
    assert.deepEqual(
      ranges.map((range) => range?.startsWith('bytes=') ?? false),
      [false, true, true, true],
    );
  });

  it('a registry as source reads a blob in consecutive parts with one request', async () => {
    cuts = 0;
    ranges.length = 0;
    const source = await openSource(`registry:${host}/team/app:latest`, {
      compression: 'gzip',
      report: () => {},
      platform: 'linux/amd64',
      env: { HOME: folder },
    });
    try {
      let large: SourceBlob | undefined;
      for await (const blob of source.blobs()) if (blob.size > 1_000_000) large = blob;
      assert(large);
      let size = 0;
      for (let at = 0; at < large.size; at += 500_000) {
        for await (const piece of large.open(at, Math.min(large.size, at + 500_000))) size += piece.length;
      }
      assert.equal(size, (await hashFile(blobPath(layout.path, large.descriptor.digest))).size);
      assert.equal(ranges.length, 1);
    } finally {
      await source[Symbol.asyncDispose]();
    }
  });

  it('a registry as source says that an image does not exist', async () => {
    await assert.rejects(read('team/app:missing'), /team\/app:missing does not exist.*Check the name/s);
  });
});
