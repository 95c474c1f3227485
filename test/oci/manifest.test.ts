/** Manifests: what is read from good ones, what is refused, and that nothing that a client sends is a fault of ours. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MANIFEST_MAX_REFERENCES, REFERRER_ANNOTATIONS_MAX_BYTES } from '../../worker/oci/limits.ts';
import { parseManifest } from '../../worker/oci/manifest.ts';
import { mediaTypes, unknownDigest } from '../support/fixtures.ts';
import { assertRefused, codeOf } from './refused.ts';

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const layer = () => ({ mediaType: mediaTypes.layer, digest: unknownDigest(), size: 1 });
const config = { mediaType: mediaTypes.imageConfig, digest: unknownDigest(), size: 2 };
const image = { schemaVersion: 2, mediaType: mediaTypes.imageManifest, config, layers: [] };
const read = (fields: object, type: string | null = mediaTypes.imageManifest) =>
  parseManifest(bytesOf({ ...image, ...fields }), type);

describe('parseManifest', () => {
  it('parseManifest reads an image manifest', () => {
    const layers = [layer(), layer()];
    assert.deepEqual(read({ layers, annotations: { a: 'b' } }), {
      mediaType: mediaTypes.imageManifest,
      statesMediaType: true,
      artifactType: mediaTypes.imageConfig,
      annotations: { a: 'b' },
      subject: null,
      blobs: [config.digest, ...layers.map(({ digest }) => digest)],
      manifests: [],
      elsewhere: [],
    });
  });

  it('parseManifest reads an index of manifests', () => {
    const manifest = { ...layer(), mediaType: mediaTypes.imageManifest };
    const index = { schemaVersion: 2, manifests: [manifest], artifactType: 'a/b' };
    assert.deepEqual(parseManifest(bytesOf(index), mediaTypes.imageIndex), {
      mediaType: mediaTypes.imageIndex,
      statesMediaType: false,
      artifactType: 'a/b',
      annotations: null,
      subject: null,
      blobs: [],
      manifests: [manifest.digest],
      elsewhere: [],
    });
  });

  const taken: [what: string, run: () => unknown, want: unknown][] = [
    [
      'a Content-Type with parameters',
      () => read({}, `${image.mediaType}; charset=utf-8`).mediaType,
      image.mediaType,
    ],
    ['a type that only the field says', () => read({}, null).mediaType, image.mediaType],
    ['a type that only the header says', () => read({ mediaType: undefined }).mediaType, image.mediaType],
    ['lists that are null, as Go writes them', () => read({ layers: null }).blobs, [config.digest]],
    ['a layer twice', () => read({ layers: [config, config] }).blobs, [config.digest]],
    ['layers with urls', () => read({ layers: [{ ...layer(), urls: ['http://x'] }] }).blobs, [config.digest]],
    [
      'layers that may not be distributed',
      () =>
        read({
          layers: [{ ...layer(), mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar' }],
        }).blobs,
      [config.digest],
    ],
    ['a subject', () => read({ subject: config }).subject, config.digest],
    ['no subject for null', () => read({ subject: null }).subject, null],
    ['an empty artifactType as none', () => read({ artifactType: '' }).artifactType, config.mediaType],
    ['fields of other names', () => read({ unknown: [1], __proto__: 5 }).blobs, [config.digest]],
  ];
  for (const [what, run, want] of taken)
    it(`parseManifest takes ${what}`, () => assert.deepEqual(run(), want));

  const refused: [what: string, run: () => unknown][] = [
    ['another type in the header than in the field', () => read({}, mediaTypes.imageIndex)],
    ['no type at all', () => read({ mediaType: undefined }, null)],
    ['a type that is no manifest', () => read({ mediaType: undefined }, 'text/plain')],
    [
      'schema 1',
      () => read({ mediaType: undefined }, 'application/vnd.docker.distribution.manifest.v1+json'),
    ],
    ['an image without a config', () => read({ config: undefined })],
    ['an image with manifests', () => read({ manifests: [] })],
    ['annotations that are not strings', () => read({ annotations: { a: 1 } })],
    ['a long artifactType', () => read({ artifactType: 'a/b'.padEnd(256, 'b') })],
    [
      'a descriptor with a long media type',
      () => read({ layers: [{ ...layer(), mediaType: 'a/b'.padEnd(256, 'b') }] }),
    ],
    [
      'too many references',
      () => read({ layers: Array.from({ length: MANIFEST_MAX_REFERENCES }, () => config) }),
    ],
    [
      'a referrer with very large annotations',
      () =>
        read({ subject: config, annotations: { a: '\u00e9'.repeat(REFERRER_ANNOTATIONS_MAX_BYTES / 2) } }),
    ],
  ];
  for (const [what, run] of refused)
    it(`parseManifest refuses ${what}`, () => assertRefused(run, 'MANIFEST_INVALID', what));

  it('parseManifest takes large annotations where there is no subject', () => {
    assert.ok(read({ annotations: { a: 'x'.repeat(2 * REFERRER_ANNOTATIONS_MAX_BYTES) } }).annotations);
  });

  it('parseManifest finds exactly the references that were put in', () => {
    const digest = fc
      .array(fc.constantFrom(...'0123456789abcdef'), { minLength: 64, maxLength: 64 })
      .map((digits) => `sha256:${digits.join('')}`);
    const kind = fc.constantFrom('here', 'urls', 'foreign');
    const list = fc.array(fc.record({ digest, kind, size: fc.maxSafeNat() }), { maxLength: 6 });
    fc.assert(
      fc.property(
        list,
        list,
        list,
        fc.option(digest),
        fc.boolean(),
        (layers, blobs, manifests, subject, isIndex) => {
          const written = (entries: typeof layers) =>
            entries.map(({ kind: of, ...rest }) => ({
              mediaType:
                of === 'foreign'
                  ? 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
                  : mediaTypes.layer,
              ...rest,
              ...(of === 'urls' ? { urls: ['https://example.com/'] } : {}),
            }));
          const wanted = (entries: typeof layers) =>
            new Set(entries.filter(({ kind: of }) => of === 'here').map((entry) => entry.digest));
          const json = {
            schemaVersion: 2,
            ...(isIndex
              ? { manifests: written(manifests), blobs: written(blobs) }
              : { config, layers: written(layers), blobs: written(blobs) }),
            subject: subject === null ? undefined : { ...config, digest: subject },
          };
          const type = isIndex ? mediaTypes.imageIndex : mediaTypes.imageManifest;
          const manifest = parseManifest(bytesOf(json), type);
          const all = isIndex ? wanted(blobs) : new Set([config.digest, ...wanted(layers), ...wanted(blobs)]);
          assert.deepEqual(new Set(manifest.blobs), all);
          assert.deepEqual(new Set(manifest.manifests), isIndex ? wanted(manifests) : new Set());
          assert.equal(manifest.blobs.length, all.size);
          assert.equal(manifest.subject, subject);
        },
      ),
    );
  });

  it('parseManifest throws nothing but MANIFEST_INVALID, whatever the bytes and the type', () => {
    const type = fc.oneof(
      fc.constant(null),
      fc.constantFrom(...Object.values(mediaTypes)),
      fc.string({ unit: 'binary' }),
    );
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => new TextEncoder().encode(text)),
    );
    fc.assert(
      fc.property(bytes, type, (content, contentType) => isTakenOrInvalid(content, contentType)),
      {
        numRuns: 1000,
      },
    );
  });

  it('parseManifest throws nothing but MANIFEST_INVALID, whatever stands in the fields', () => {
    const anything = fc.oneof(fc.jsonValue(), fc.constant(config), fc.array(fc.constant(config)));
    const fields = fc.record(
      {
        schemaVersion: fc.oneof(fc.constant(2), anything),
        mediaType: fc.oneof(fc.constantFrom(...Object.values(mediaTypes)), anything),
        artifactType: anything,
        config: anything,
        layers: anything,
        blobs: anything,
        manifests: anything,
        subject: anything,
        annotations: anything,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fields, (json) => isTakenOrInvalid(bytesOf(json), null)),
      { numRuns: 3000 },
    );
  });
});

function isTakenOrInvalid(bytes: Uint8Array, contentType: string | null): void {
  const code = codeOf(() => parseManifest(bytes, contentType));
  assert.ok(code === null || code === 'MANIFEST_INVALID', String(code));
}
