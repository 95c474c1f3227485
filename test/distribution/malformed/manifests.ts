/** Manifests that are none, or not what they say. Image spec, "Image Manifest", "Image Index", "Content Descriptors". */
import { gzipSync } from 'node:zlib';
import { mediaTypes } from '../../support/fixtures.ts';
import { type Given, type Request, type Row, STRANGER } from './row.ts';

const INVALID = { status: 400, code: 'MANIFEST_INVALID' } as const;

const NOT_JSON: [what: string, body: string | Uint8Array][] = [
  ['nothing', ''],
  ['white space', ' \n'],
  ['a word', 'manifest'],
  ['half an object', '{"schemaVersion":2,'],
  ['an object and more', '{"schemaVersion":2}{}'],
  ['a trailing comma', '{"schemaVersion":2,}'],
  ['a comment', '{"schemaVersion":2/* two */}'],
  ['single quotes', "{'schemaVersion':2}"],
  ['NaN', '{"schemaVersion":NaN}'],
  ['a number with a leading zero', '{"schemaVersion":02}'],
  ['a bare line break in a string', '{"schemaVersion":2,"a":"\n"}'],
  ['an escape that JSON does not have', '{"schemaVersion":2,"a":"\\x41"}'],
  ['XML', '<?xml version="1.0"?><manifest/>'],
  ['a million open brackets', '['.repeat(1_000_000)],
  ['a million open objects', '{"a":'.repeat(500_000)],
  ['a byte order mark', Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), Buffer.from('{"schemaVersion":2}')])],
  ['UTF-16', Buffer.from('\ufeff{"schemaVersion":2}', 'utf16le')],
  ['a NUL in a string', '{"schemaVersion":2,"a":"\0"}'],
  ['a NUL in the end', '{"schemaVersion":2}\0'],
  ['gzip', gzipSync('{"schemaVersion":2}')],
  ['random bytes', Buffer.from('8f9d02ab77fe00c1', 'hex')],
];

/** Bytes that are not UTF-8, in Latin-1, for a string of a manifest that is good otherwise. */
const NOT_UTF_8: [what: string, bytes: string][] = [
  ['Latin-1', 'caf\xe9'],
  ['an overlong slash', '\xc0\xaf'],
  ['a surrogate in UTF-8', '\xed\xa0\x80'],
  ['a continuation of nothing', '\x80'],
  ['a character past the last', '\xf5\x80\x80\x80'],
];

const NOT_OBJECTS = ['null', 'true', '2', '"manifest"', '[]', '[{"schemaVersion":2}]'];

const descriptor = { mediaType: mediaTypes.layer, digest: STRANGER, size: 5 };

/** No descriptor is like these, wherever one has to be. */
const NOT_DESCRIPTORS: [what: string, value: unknown][] = [
  ['a string', STRANGER],
  ['a list', [descriptor]],
  ['a number', 5],
  ['empty', {}],
  ['without a media type', { ...descriptor, mediaType: undefined }],
  ['of an empty media type', { ...descriptor, mediaType: '' }],
  ['of a media type that is a number', { ...descriptor, mediaType: 5 }],
  ['of a media type of 10,000 characters', { ...descriptor, mediaType: `a/${'b'.repeat(10_000)}` }],
  ['without a digest', { ...descriptor, digest: undefined }],
  ['of a digest that is null', { ...descriptor, digest: null }],
  ['of a short digest', { ...descriptor, digest: 'sha256:abc' }],
  ['of a digest in capitals', { ...descriptor, digest: STRANGER.toUpperCase() }],
  ['of an unknown algorithm', { ...descriptor, digest: `md5:${'0'.repeat(32)}` }],
  ['of a digest in a list', { ...descriptor, digest: [STRANGER] }],
  ['without a size', { ...descriptor, size: undefined }],
  ['of a negative size', { ...descriptor, size: -1 }],
  ['of half a byte', { ...descriptor, size: 0.5 }],
  ['of a size in letters', { ...descriptor, size: '5' }],
  ['of a size that no number holds', { ...descriptor, size: 2 ** 53 }],
];

/** Fields that overrule those of an image manifest that is there. */
const FIELDS: [what: string, fields: Record<string, unknown>][] = [
  ['without a schema version', { schemaVersion: undefined }],
  ['of schema version 1', { schemaVersion: 1 }],
  ['of schema version 3', { schemaVersion: 3 }],
  ['of a schema version in letters', { schemaVersion: '2' }],
  ['without a config', { config: undefined }],
  ['whose config is null', { config: null }],
  ['whose layers are an object', { layers: {} }],
  ['whose layers are a string', { layers: 'layer' }],
  ['with a layer that is null', { layers: [null] }],
  ['with a list for a layer', { layers: [[]] }],
  ['with manifests', { manifests: [] }],
  ['whose blobs are a number', { blobs: 3 }],
  ['whose mediaType is a number', { mediaType: 5 }],
  ['whose mediaType is a list', { mediaType: [mediaTypes.imageManifest] }],
  ['whose mediaType is that of an index', { mediaType: mediaTypes.imageIndex }],
  ['whose artifactType is a number', { artifactType: 5 }],
  ['whose artifactType has 10,000 characters', { artifactType: `a/${'b'.repeat(10_000)}` }],
  ['whose annotations are a list', { annotations: ['a'] }],
  ['whose annotations are a string', { annotations: 'a' }],
  ['with an annotation that is a number', { annotations: { a: 1 } }],
  ['with an annotation that is an object', { annotations: { a: {} } }],
  ['with an annotation that is null', { annotations: { a: null } }],
  ['whose subject is a string', { subject: STRANGER }],
  ['whose subject is false', { subject: false }],
  [
    'with a subject and 3 MiB of annotations',
    { subject: descriptor, annotations: { a: 'x'.repeat(3 << 20) } },
  ],
  ['with 10,001 layers', { layers: Array.from({ length: 10_001 }, () => descriptor) }],
];

const INDEX_FIELDS: [what: string, fields: Record<string, unknown>][] = [
  ['with a config', { config: descriptor }],
  ['with layers', { layers: [] }],
  ['whose manifests are an object', { manifests: {} }],
  ['with a string for a manifest', { manifests: [STRANGER] }],
  ['of schema version 1', { schemaVersion: 1 }],
];

const TYPES = [
  'nonsense',
  '/',
  'application/',
  '/json',
  'application/x json',
  'text/plain',
  'text/html',
  'application/octet-stream',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  '*/*',
  `${mediaTypes.imageManifest}, text/plain`,
  `${mediaTypes.imageManifest}/more`,
  mediaTypes.layer,
  mediaTypes.imageIndex,
  mediaTypes.dockerManifest,
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  `application/${'x'.repeat(200)}+json`,
  'application/\xe9+json',
];

export const manifests: Row[] = [
  ...NOT_JSON.map(([what, body]) => row(`of ${what} for JSON`, (given) => put(given, Buffer.from(body)))),
  ...NOT_UTF_8.map(([what, bytes]) =>
    row(`with ${what} in a string`, (given) => {
      const good = given.manifest({ annotations: { a: 'HERE' } }).toString('latin1');
      return put(given, Buffer.from(good.replace('HERE', bytes), 'latin1'));
    }),
  ),
  ...NOT_OBJECTS.map((body) =>
    row(`that is ${body} for an object`, (given) => put(given, Buffer.from(body))),
  ),
  ...FIELDS.map(([what, fields]) => row(what, (given) => put(given, given.manifest(fields)))),
  ...NOT_DESCRIPTORS.map(([what, value], at) => {
    const field = ['config', 'layers', 'subject'][at % 3] ?? '';
    const fields = { [field]: field === 'layers' ? [value] : value };
    return row(`with a descriptor (${field}) ${what}`, (given) => put(given, given.manifest(fields)));
  }),
  ...INDEX_FIELDS.map(([what, fields]) =>
    row(`that is an index ${what}`, (given) =>
      put(given, json({ schemaVersion: 2, manifests: [], ...fields }), mediaTypes.imageIndex),
    ),
  ),
  ...TYPES.map((type) =>
    row(`sent as "${type.slice(0, 60)}"`, (given) => put(given, given.image.bytes, type)),
  ),
  row('that nothing says the type of', (given) => put(given, given.manifest({ mediaType: undefined }), null)),
  row('with a layer that is nowhere', (given) => put(given, given.manifest({ layers: [descriptor] })), {
    status: 400,
    code: 'MANIFEST_BLOB_UNKNOWN',
  }),
  row('with a config that is nowhere', (given) => put(given, given.manifest({ config: descriptor })), {
    status: 400,
    code: 'MANIFEST_BLOB_UNKNOWN',
  }),
  row(
    'that is an index with a manifest that is nowhere',
    (given) => put(given, json({ schemaVersion: 2, manifests: [descriptor] }), mediaTypes.imageIndex),
    { status: 400, code: 'MANIFEST_BLOB_UNKNOWN' },
  ),
  ...[false, true].map((chunked) =>
    row(
      `of more than 4 MiB ${chunked ? 'and unknown length' : ''}`,
      (given) => ({ ...put(given, given.manifest({ filling: 'x'.repeat(4 << 20) })), chunked }),
      { status: 413, code: 'SIZE_INVALID' },
    ),
  ),
  row('of 20 MiB', (given) => ({ ...put(given, Buffer.alloc(20 << 20, ' ')), chunked: true }), {
    status: 413,
    code: 'SIZE_INVALID',
  }),
];

function row(what: string, request: (given: Given) => Request, want: Row['want'] = INVALID): Row {
  return { name: `a manifest ${what}`, request, want };
}

function put(given: Given, body: Uint8Array, type: string | null = mediaTypes.imageManifest) {
  return {
    method: 'PUT',
    path: given.path('/manifests/malformed'),
    headers: type === null ? {} : { 'Content-Type': type },
    body,
  };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
