// Pushing manifests: stored to the byte, checked against their digest, refused where they make no sense.

import assert from 'node:assert/strict';
import {
  artifact,
  blob,
  digest,
  imageIndex,
  imageManifest,
  type Manifest,
  manifestFrom,
  mediaTypes,
  unknownDigest,
} from '../../support/fixtures.ts';
import {
  type Answer,
  declineOn,
  expectHeader,
  expectHeaderIfAny,
  expectManifest,
  expectRefused,
  expectStatus,
} from '../answer.ts';
import type { Registry } from '../registry.ts';
import { type Row, section } from '../row.ts';
import { errorCodes } from './errors.ts';

const end7a = { level: 'MUST', end: 'end-7a' } as const;

/** Manifests that are all in order, each with something that a hasty registry trips over. */
const accepted: { name: string; make: () => Manifest }[] = [
  { name: 'with no layers', make: () => imageManifest({ layers: 0 }) },
  { name: 'with twenty layers', make: () => imageManifest({ layers: 20 }) },
  { name: 'without a mediaType field', make: () => imageManifest({ fields: { mediaType: undefined } }) },
  { name: 'with a config that is {}', make: () => artifact() },
  { name: 'with annotations', make: () => imageManifest({ annotations: { 'org.example.key': 'wért' } }) },
  {
    name: 'with unknown fields',
    make: () => imageManifest({ fields: { 'org.example': [1, null] } }),
  },
  { name: 'with a layer that carries its data inline', make: () => withInlineData() },
  { name: 'with a layer of no bytes', make: () => imageManifest({ layers: [Buffer.alloc(0)] }) },
  { name: 'with the same layer twice', make: () => withOneLayerTwice() },
  { name: 'that is an index of nothing', make: () => imageIndex([]) },
];

const missing: { name: string; make: () => Manifest }[] = [
  { name: 'a layer', make: () => ({ ...imageManifest(), blobs: [] }) },
  { name: 'a manifest', make: () => imageIndex([imageManifest()]) },
];

const malformed: { name: string; text: string }[] = [
  { name: 'is no JSON', text: 'not json' },
  { name: 'is empty', text: '' },
  { name: 'is cut short', text: imageManifest().bytes.toString().slice(0, -1) },
  { name: 'is a list', text: '[]' },
  { name: 'is null', text: 'null' },
  { name: 'names a config with a malformed digest', text: withMalformedConfig() },
];

export const manifests: Row[] = [
  ...section('Pushing Manifests', [
    {
      ...end7a,
      what: 'PUT by tag answers 201 with a Location that serves the manifest',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        const answer = await repository.pushManifest(manifest, 'latest');
        expectManifest(await registry.get(answer.location(), { Accept: manifest.mediaType }), manifest);
      },
    },
    {
      ...end7a,
      what: 'PUT by digest answers 201 with a Location that serves the manifest',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        const answer = await repository.pushManifest(manifest);
        expectManifest(await registry.get(answer.location(), { Accept: manifest.mediaType }), manifest);
      },
    },
    {
      ...end7a,
      what: 'the Docker-Content-Digest of the 201, where it is sent, is the digest of the manifest',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        for (const reference of ['latest', manifest.digest]) {
          const answer = await repository.pushManifest(manifest, reference);
          expectHeaderIfAny(answer, 'Docker-Content-Digest', manifest.digest);
        }
      },
    },
    {
      ...end7a,
      what: 'a manifest is kept to the byte: white space, order, escapes and the line end after it',
      run: async (registry) => {
        const repository = registry.repository();
        const plain = imageManifest({ annotations: { z: 'ü', a: '\u2028' } });
        const text = `\n${JSON.stringify(JSON.parse(plain.bytes.toString()), null, '\t')}\r\n\n`;
        const escaped = text.replace('ü', '\\u00fc');
        const manifest = manifestFrom(plain.mediaType, Buffer.from(escaped), plain.blobs);
        await repository.pushManifest(manifest, 'latest');
        expectManifest(await repository.getManifest('latest'), manifest);
        expectManifest(await repository.getManifest(manifest.digest), manifest);
      },
    },
    ...accepted.map(
      ({ name, make }): Omit<Row, 'section'> => ({
        ...end7a,
        what: `a manifest ${name} is taken and comes back`,
        run: async (registry) => {
          const repository = registry.repository();
          const manifest = make();
          await repository.pushManifest(manifest, 'latest');
          expectManifest(await repository.getManifest('latest'), manifest);
        },
      }),
    ),
    {
      ...end7a,
      what: 'an index of an image and of another index is taken and comes back',
      run: async (registry) => {
        const repository = registry.repository();
        const image = imageManifest();
        const inner = imageIndex([image]);
        const outer = imageIndex([image, inner]);
        for (const manifest of [image, inner]) await repository.pushManifest(manifest);
        await repository.pushManifest(outer, 'latest');
        expectManifest(await repository.getManifest('latest'), outer);
      },
    },
    {
      ...end7a,
      level: 'SHOULD',
      what: 'parameters on the Content-Type of a push are ignored',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        await repository.pushBlobs(manifest);
        const type = `${manifest.mediaType}; charset=utf-8`;
        expectStatus(await repository.putManifest('latest', manifest, type), 201);
        const answer = await repository.getManifest('latest');
        expectManifest(answer, manifest);
        expectHeader(answer, 'Content-Type', manifest.mediaType);
      },
    },
    {
      ...end7a,
      what: 'a tag moves to the manifest that was pushed to it last, and the first stays under its digest',
      run: async (registry) => {
        const repository = registry.repository();
        const [one, two] = [imageManifest(), imageManifest()];
        await repository.pushManifest(one, 'latest');
        await repository.pushManifest(two, 'latest');
        expectManifest(await repository.getManifest('latest'), two);
        expectManifest(await repository.getManifest(one.digest), one);
      },
    },
    {
      ...end7a,
      what: 'the same manifest can be pushed again, and under a second tag',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        for (const tag of ['one', 'one', 'two']) await repository.pushManifest(manifest, tag);
        for (const tag of ['one', 'two']) expectManifest(await repository.getManifest(tag), manifest);
      },
    },
    {
      ...end7a,
      what: 'a manifest that was pushed under a tag is pulled by its digest, before it has a second tag',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        await repository.pushManifest(manifest, 'latest');
        expectManifest(await repository.getManifest(manifest.digest), manifest);
      },
    },
    {
      ...end7a,
      what: 'a manifest is not stored under a digest that is not its own',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        const of = unknownDigest();
        await repository.pushBlobs(manifest);
        expectRefused(await repository.putManifest(of, manifest));
        expectStatus(await repository.getManifest(of), 404);
        expectStatus(await repository.getManifest(manifest.digest), 404);
      },
    },
    ...['sha256:abc', `nosuch:${'a'.repeat(64)}`, `sha256:${'z'.repeat(64)}`].map(
      (of): Omit<Row, 'section'> => ({
        ...end7a,
        what: `a manifest is not pushed by the malformed digest ${of.slice(0, 12)}`,
        run: async (registry) => {
          const repository = registry.repository();
          const manifest = imageManifest();
          await repository.pushBlobs(manifest);
          expectRefused(await repository.putManifest(of, manifest));
        },
      }),
    ),
    ...malformed.map(
      ({ name, text }): Omit<Row, 'section'> => ({
        level: 'SHOULD',
        end: 'end-7a',
        what: `a manifest that ${name} is refused`,
        run: async (registry) => {
          const repository = registry.repository();
          const manifest = manifestFrom(mediaTypes.imageManifest, Buffer.from(text));
          expectRefused(await repository.putManifest('latest', manifest));
          expectStatus(await repository.getManifest('latest'), 404);
        },
      }),
    ),
    {
      ...end7a,
      level: 'SHOULD',
      what: 'a manifest of 4,000,000 bytes is taken and comes back',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = manifestOf(4_000_000);
        await repository.pushManifest(manifest, 'latest');
        expectManifest(await repository.getManifest('latest'), manifest);
        expectManifest(await repository.getManifest(manifest.digest), manifest);
      },
    },
    {
      ...end7a,
      level: 'SHOULD',
      what: 'there is a limit to the size of a manifest: one of 32 MB is refused',
      run: async (registry) => expectRefused(await pushTooLarge(registry)),
    },
    {
      ...end7a,
      level: 'SHOULD',
      what: 'a manifest over the limit answers 413',
      run: async (registry) => {
        const answer = await pushTooLarge(registry);
        declineOn(answer, [201], 'a limit');
        expectStatus(answer, 413);
      },
    },
  ]),

  ...section('Push', [
    ...missing.map(
      ({ name, make }): Omit<Row, 'section'> => ({
        ...end7a,
        what: `a manifest that refers to ${name} that is not there is taken, or refused with MANIFEST_BLOB_UNKNOWN`,
        run: async (registry) => {
          const repository = registry.repository();
          await repository.pushBlob(blob());
          const answer = await repository.putManifest('latest', make());
          if (answer.status === 201) return;
          expectRefused(answer);
          assert.ok(
            errorCodes(answer).includes('MANIFEST_BLOB_UNKNOWN'),
            `${answer} has the codes [${errorCodes(answer)}], wanted MANIFEST_BLOB_UNKNOWN`,
          );
          expectStatus(await repository.getManifest('latest'), 404);
        },
      }),
    ),
    {
      ...end7a,
      what: 'a manifest whose subject is not there is taken',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = artifact({ subject: imageManifest().descriptor });
        await repository.pushManifest(manifest);
        expectManifest(await repository.getManifest(manifest.digest), manifest);
      },
    },
    {
      ...end7a,
      what: 'an index whose subject is not there is taken',
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageIndex([], { subject: imageManifest().descriptor });
        await repository.pushManifest(manifest);
        expectManifest(await repository.getManifest(manifest.digest), manifest);
      },
    },
  ]),
  ...section('Pulling manifests', [
    {
      ...end7a,
      what: 'a tag that moves is seen to have moved at once, by HEAD and by GET',
      run: async (registry) => {
        const repository = registry.repository();
        for (let round = 0; round < 5; round += 1) {
          const manifest = imageManifest();
          await repository.pushManifest(manifest, 'latest');
          const head = await repository.headManifest('latest');
          expectStatus(head, 200);
          expectHeaderIfAny(head, 'Docker-Content-Digest', manifest.digest);
          expectManifest(await repository.getManifest('latest'), manifest);
        }
      },
    },
  ]),
];

function pushTooLarge(registry: Registry): Promise<Answer> {
  return registry.repository().putManifest('latest', manifestOf(32_000_000));
}

/** A manifest of that many bytes, most of them an annotation. */
function manifestOf(size: number): Manifest {
  const config = Buffer.from(JSON.stringify({ id: unknownDigest() }));
  const padded = (length: number) =>
    imageManifest({ config, layers: [], annotations: { padding: '.'.repeat(length) } });
  return padded(size - padded(0).bytes.byteLength);
}

function withInlineData(): Manifest {
  const layer = blob();
  const data = layer.toString('base64');
  const layers = [{ mediaType: mediaTypes.layer, digest: digest(layer), size: layer.byteLength, data }];
  return imageManifest({ layers: [layer], fields: { layers } });
}

function withOneLayerTwice(): Manifest {
  const layer = blob();
  return imageManifest({ layers: [layer, layer] });
}

function withMalformedConfig(): string {
  const config = { mediaType: mediaTypes.imageConfig, digest: 'sha256:abc', size: 3 };
  return imageManifest({ fields: { config } }).bytes.toString();
}
