/**
 * Ranges and lengths of chunks (distribution spec, "Pushing a blob in chunks") and of downloads (RFC 9110, section 14).
 */
import { digest } from '../../support/fixtures.ts';
import { BLOB_BYTES, RECEIVED, type Request, type Row, STRANGER } from './row.ts';

const CHUNK = Buffer.from('hello');
const GOOD = `${RECEIVED}-${RECEIVED + CHUNK.length - 1}`;

/** Where five bytes at the end of the upload would be `10-14`. */
const MALFORMED = [
  'nonsense',
  '10',
  '10-',
  '-14',
  '14-10',
  '10--14',
  '-10-14',
  '+10-14',
  '10-14-18',
  '10 - 14',
  '10..14',
  '10,14',
  '10.0-14.0',
  '1e1-14',
  '0xa-0xe',
  '10-14,15-19',
  '10-14/x',
  '10-14/',
  '10-14/12',
  'bytes',
  'bytes=10-14',
  'bytes */15',
  'items 10-14/15',
  'NaN-NaN',
  '10-99999999999999999999',
  '99999999999999999999-99999999999999999999',
  `${'0'.repeat(5000)}10-14`,
];

/** Well formed, but not where the upload goes on. */
const ELSEWHERE = ['0-4', '5-9', '9-13', '11-15', '15-19', '1000000-1000004', 'bytes 0-4/5'];

/** Not as long as the body. */
const OTHER_LENGTHS = ['10-10', '10-13', '10-15', '10-999999999999999'];

const CONTENT_RANGES: [what: string, ranges: string[], want: Row['want']][] = [
  ['is malformed', MALFORMED, { status: 400, code: 'BLOB_UPLOAD_INVALID' }],
  ['is elsewhere', ELSEWHERE, { status: 416, code: 'BLOB_UPLOAD_INVALID' }],
  ['is not as long as the body', OTHER_LENGTHS, { status: 400, code: 'SIZE_INVALID' }],
];

const REFUSED_RANGES = [
  'bytes=100-',
  'bytes=100-199',
  'bytes=5000-10000',
  'bytes=500-0',
  'bytes=5-4',
  'bytes=-0',
  'bytes=99999999999999999999-',
];

/** A server may ignore what it does not understand, and must ignore units that it does not know. */
const IGNORED_RANGES = [
  'nonsense',
  'bytes',
  'bytes=',
  'bytes=-',
  'bytes=a-b',
  'bytes=--5',
  'bytes=1.5-3',
  'bytes=0x0-0x5',
  'bytes 0-5',
  'items=0-5',
];

/** More ranges than a registry reads one by one: clients that pull partially fall back from a refusal. */
const TOO_MANY_RANGES = [`bytes=${'0-0,'.repeat(2000)}0-0`, 'bytes=0-,0-'];

/** Larger than any number, but ranges all the same. */
const CLAMPED_RANGES = ['bytes=0-99999999999999999999', 'bytes=-99999999999999999999', 'Bytes=0-5'];

const DOWNLOADS: [what: string, ranges: string[], want: Row['want']][] = [
  ['outside of it', REFUSED_RANGES, { status: 416, code: 'RANGE_INVALID' }],
  ['that is malformed', IGNORED_RANGES, { status: 200, code: null }],
  ['that is very large', CLAMPED_RANGES, { status: 206, code: null }],
  ['of several parts', ['bytes=0-5,10-15'], { status: 206, code: null }],
  ['of too many parts', TOO_MANY_RANGES, { status: 400, code: 'RANGE_INVALID' }],
];

export const ranges: Row[] = [
  ...CONTENT_RANGES.flatMap(([what, list, want]) =>
    list.map(
      (range): Row => ({
        name: `a chunk whose Content-Range ${what}: ${range.slice(0, 40)}`,
        request: ({ upload }) => chunk('PATCH', upload, range),
        want,
      }),
    ),
  ),
  ...[MALFORMED, ELSEWHERE, OTHER_LENGTHS].map(
    ([range = ''], at): Row => ({
      name: `a last chunk whose Content-Range ${CONTENT_RANGES[at]?.[0]}: ${range}`,
      request: ({ upload }) => chunk('PUT', `${upload}&digest=${STRANGER}`, range),
      want: CONTENT_RANGES[at]?.[2] ?? { status: 200, code: null },
    }),
  ),
  {
    name: 'a first chunk that does not begin at 0',
    request: async (given) => chunk('PATCH', await given.start(), GOOD),
    want: { status: 416, code: 'BLOB_UPLOAD_INVALID' },
  },
  {
    name: 'a chunk without a body that has a Content-Range',
    request: ({ upload }) => ({ method: 'PATCH', path: upload, headers: { 'Content-Range': GOOD } }),
    want: { status: 400, code: 'SIZE_INVALID' },
  },
  {
    name: 'a last chunk without a body that has a Content-Range',
    request: ({ upload }) => ({
      method: 'PUT',
      path: `${upload}&digest=${STRANGER}`,
      headers: { 'Content-Range': GOOD },
    }),
    want: { status: 400, code: 'SIZE_INVALID' },
  },
  {
    name: 'a chunk with two headers Content-Range',
    request: ({ upload }) => ({
      method: 'PATCH',
      path: upload,
      headers: { 'Content-Range': [GOOD, GOOD] },
      body: CHUNK,
    }),
    want: { status: 400, code: 'BLOB_UPLOAD_INVALID' },
  },
  {
    name: 'a chunk of unknown length that is shorter than its Content-Range',
    request: async (given) => ({ ...chunk('PATCH', await given.start(), '0-9'), chunked: true }),
    want: { status: 400, code: 'SIZE_INVALID' },
  },
  {
    name: 'a chunk of unknown length that is longer than its Content-Range',
    request: async (given) => ({ ...chunk('PATCH', await given.start(), '0-2'), chunked: true }),
    want: { status: 400, code: 'SIZE_INVALID' },
  },
  {
    name: 'a blob in one POST whose Content-Range is malformed',
    request: (given) => chunk('POST', given.path(`/blobs/uploads/?digest=${STRANGER}`), 'nonsense'),
    want: { status: 400, code: 'BLOB_UPLOAD_INVALID' },
  },
  ...DOWNLOADS.flatMap(([what, list, want]) =>
    list.map(
      (range): Row => ({
        name: `a blob of ${BLOB_BYTES} bytes by a range ${what}: ${range.slice(0, 40)}`,
        request: (given) => ({
          method: 'GET',
          path: given.path(`/blobs/${digest(given.blob)}`),
          headers: { Range: range },
        }),
        want,
      }),
    ),
  ),
  {
    name: 'a manifest by a range outside of it',
    request: (given) => ({
      method: 'GET',
      path: given.path('/manifests/latest'),
      headers: { Range: 'bytes=1000000-' },
    }),
    want: { status: 416, code: 'RANGE_INVALID' },
  },
];

function chunk(method: string, path: string, range: string): Exclude<Request, { raw: unknown }> {
  return { method, path, headers: { 'Content-Range': range }, body: CHUNK };
}
