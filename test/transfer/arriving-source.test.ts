// An image that docker sends: its layers are given while the rest is still on its way.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { openSource } from '../../cli/transfer/open-source.ts';
import type { SourceBlob } from '../../cli/transfer/source.ts';
import { noise } from '../clients/support/layout.ts';
import { classicEntries, configOf, layerTar, layoutEntries, ociImage, sha256 } from './support/images.ts';
import { archive } from './support/tar.ts';

const LAYERS = [layerTar(noise(2_000_000)), layerTar(noise(200_000))] as const;

let folder: string;
let docker: Server;
let env: NodeJS.ProcessEnv;
/** The answer to the export. The test writes it. */
let exported: Promise<ServerResponse>;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longshore-arriving-'));
});
beforeEach(async () => {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>();
  exported = promise;
  docker = createServer(({ url }, response) => {
    if (url === '/images/app%3A1/json') {
      const Layers = LAYERS.map((layer) => `sha256:${sha256(layer)}`);
      response.end(JSON.stringify({ Id: `sha256:${sha256(configOf(LAYERS))}`, RootFS: { Layers } }));
    } else {
      response.flushHeaders();
      resolve(response);
    }
  });
  const state = await mkdtemp(join(folder, 'state-'));
  const socket = join(state, 'docker.sock');
  docker.listen(socket);
  await once(docker, 'listening');
  env = { HOME: folder, DOCKER_HOST: `unix://${socket}`, XDG_STATE_HOME: state, TMPDIR: folder };
});
afterEach(() => {
  docker.closeAllConnections();
  docker.close();
});
after(() => rm(folder, { recursive: true, force: true }));

const open = () => openSource('docker:app:1', { compression: 'gzip', report: () => {}, env });

const { blobs, descriptor } = ociImage(LAYERS);
const [config = Buffer.alloc(0), ...others] = blobs;
for (const { name, bytes } of [
  { name: 'of the classic form', bytes: archive(...classicEntries(LAYERS)) },
  { name: 'of Docker 25', bytes: archive(...layoutEntries([...others, config], [descriptor])) },
]) {
  describe(`an image ${name} that arrives`, () => {
    it(`an image ${name} that arrives gives a layer before the rest has come`, async () => {
      const source = await open();
      try {
        const response = await exported;
        response.write(bytes.subarray(0, 2_100_000));
        const digests: string[] = [];
        for await (const blob of source.blobs()) {
          digests.push(blob.descriptor.digest);
          await bytesOf(blob);
          if (digests.length === 1) response.end(bytes.subarray(2_100_000));
        }
        const manifest = JSON.parse(String((await source.manifests())[0]?.bytes)) as {
          config: { digest: string };
          layers: { digest: string }[];
        };
        assert.deepEqual(
          digests.toSorted(),
          [manifest.config, ...manifest.layers].map(({ digest }) => digest).toSorted(),
        );
      } finally {
        await source[Symbol.asyncDispose]();
      }
    });

    it(`an image ${name} that arrives fails where docker ends in the middle, also after a layer was given`, async () => {
      const source = await open();
      try {
        const response = await exported;
        response.write(bytes.subarray(0, 2_100_000));
        await assert.rejects(async () => {
          for await (const _ of source.blobs()) response.destroy();
        }, /The image app:1 of docker ended before it was whole/);
      } finally {
        await source[Symbol.asyncDispose]();
      }
    });

    it(`an image ${name} that arrives can be closed at any time, and leaves no file`, async () => {
      const source = await open();
      (await exported).write(bytes.subarray(0, 1_000_000));
      await source[Symbol.asyncDispose]();
      assert.deepEqual(
        (await readdir(folder)).filter((file) => !file.startsWith('state-')),
        [],
      );
    });
  });
}

async function bytesOf({ size, open }: SourceBlob): Promise<number> {
  let bytes = 0;
  for await (const piece of open(0, size)) bytes += piece.length;
  assert.equal(bytes, size);
  return bytes;
}
