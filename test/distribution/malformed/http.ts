/**
 * Requests that are bad HTTP, sent over a socket: RFC 9112, and the shapes by which a proxy and a server are made to see two
 * different requests. Where `want` says `server`, workerd answers before the Worker, in plain text.
 */
import { mediaTypes } from '../../support/fixtures.ts';
import { type Given, type Row, STRANGER } from './row.ts';

const BY_SERVER: [what: string, raw: string][] = [
  ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ['a request line without a version', 'GET /v2/\r\n\r\n'],
  ['an unknown method', get('/v2/').replace('GET', 'BREW')],
  ['a method in small letters', get('/v2/').replace('GET', 'get')],
  ['a path with a space', get('/v2/a b/tags/list')],
  ['a path with a NUL', get('/v2/a\0b/tags/list')],
  ['no path', 'GET  HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['a header without a colon', get('/v2/', 'nonsense')],
  ['a header with a space before its colon', get('/v2/', 'X-A : b')],
  ['a header with a NUL', get('/v2/', 'X-A: b\0c')],
  ['2 MB of a header', get('/v2/', `X-A: ${'a'.repeat(2_000_000)}`)],
  ['a path of 1 MB', get(`/v2/${'a'.repeat(1_000_000)}/tags/list`)],
  ['a negative length', put('Content-Length: -5', 'hello')],
  ['a length in letters', put('Content-Length: five', 'hello')],
  ['a length in hexadecimal', put('Content-Length: 0x5', 'hello')],
  ['a length that no number holds', put('Content-Length: 99999999999999999999999', 'hello')],
  ['two lengths that differ', put('Content-Length: 5\r\nContent-Length: 6', 'hello!')],
  ['an unknown transfer encoding', put('Transfer-Encoding: xchunked', '0\r\n\r\n')],
  ['a transfer encoding that does not end', put('Transfer-Encoding: gzip', 'hello')],
];

/** Manifests whose bytes come to an early end, or to none. */
const CUT: [what: string, raw: string][] = [
  ['a body shorter than its length', put('Content-Length: 50', 'hello')],
  ['a chunked body that is cut in a chunk', put('Transfer-Encoding: chunked', '5\r\nhel')],
  ['a chunked body that is cut before its end', put('Transfer-Encoding: chunked', '5\r\nhello\r\n')],
  ['a chunk whose size is no number', put('Transfer-Encoding: chunked', 'zz\r\nhello\r\n0\r\n\r\n')],
  ['a chunk whose size no number holds', put('Transfer-Encoding: chunked', `${'f'.repeat(20)}\r\nhello\r\n`)],
];

/** Not the name of a host: RFC 9112, section 3.2, asks for 400, which workerd does not always give. */
const HOSTS: [what: string, hosts: string][] = [
  ['with a space', 'Host: a b'],
  ['with half a bracket', 'Host: [::1'],
  ['with a port too large', 'Host: x:99999999'],
  ['with a bad encoding', 'Host: %zz'],
  ['twice', 'Host: localhost\r\nHost: y'],
];

export const http: Row[] = [
  ...BY_SERVER.map(
    ([what, raw]): Row => ({ name: what, request: () => ({ raw }), want: { server: [400, 414, 431, 501] } }),
  ),
  {
    name: 'CONNECT, which opens no tunnel',
    request: () => ({ raw: 'CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n' }),
    want: { server: [400, 404, 405, 500, 501] },
  },
  ...HOSTS.map(
    ([what, hosts]): Row => ({
      name: `a host ${what}`,
      request: () => ({ raw: `GET /v2/ HTTP/1.1\r\n${hosts}\r\n\r\n` }),
      want: { server: [400, 500] },
    }),
  ),
  {
    name: 'a host that is a path, which must not be taken for the path of the request',
    request: () => ({ raw: 'GET /v2/ HTTP/1.1\r\nHost: x/v2/other/blobs/uploads/?y=\r\n\r\n' }),
    want: { server: [400] },
  },
  ...CUT.map(
    ([what, raw]): Row => ({
      name: `a manifest with ${what}`,
      request: (given) => ({ raw: raw.replace('NAME', given.repository.name), ends: true }),
      want: { status: 400, code: 'SIZE_INVALID' },
    }),
  ),
  ...CUT.map(
    ([what, raw]): Row => ({
      name: `a chunk of an upload with ${what}`,
      request: async (given) => ({ raw: asChunk(raw, await given.start()), ends: true }),
      want: { status: 400, code: 'SIZE_INVALID' },
    }),
  ),
  {
    name: 'a manifest announced with a petabyte, of which little comes',
    request: (given) => ({ raw: named(given, put('Content-Length: 999999999999999', 'hello')) }),
    want: { status: 413, code: 'SIZE_INVALID' },
  },
  {
    name: 'a manifest announced with 5 MiB by a client that waits to be asked for them',
    request: (given) => ({
      raw: named(given, put(`Expect: 100-continue\r\nContent-Length: ${5 << 20}`, '')),
    }),
    want: { status: 413, code: 'SIZE_INVALID' },
  },
  {
    name: 'a manifest with chunks beside a length, of which the chunks are no JSON',
    request: (given) => ({
      raw: named(given, put('Content-Length: 2\r\nTransfer-Encoding: chunked', '5\r\n{}bad\r\n0\r\n\r\n')),
    }),
    want: { status: 400, code: 'MANIFEST_INVALID' },
  },
  {
    name: 'a manifest of 6 MiB in chunks beside a short length',
    request: (given) => ({
      raw: named(
        given,
        put(
          'Content-Length: 2\r\nTransfer-Encoding: chunked',
          `600000\r\n${' '.repeat(6 << 20)}\r\n0\r\n\r\n`,
        ),
      ),
    }),
    want: { status: 413, code: 'SIZE_INVALID' },
  },
  {
    name: 'a request within the body of another, after a length of nothing',
    request: (given) => ({
      raw: named(
        given,
        `DELETE /v2/NAME/manifests/-none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      ),
    }),
    want: { status: 400, code: 'TAG_INVALID' },
  },
  {
    name: 'a name in raw UTF-8',
    request: () => ({ raw: get('/v2/caf\xc3\xa9/tags/list') }),
    want: { status: 400, code: 'NAME_INVALID' },
  },
  {
    name: 'a digest of raw control characters in a header, which are none of its tags',
    request: (given) => ({
      raw: named(given, get(`/v2/NAME/blobs/${STRANGER}`, 'If-None-Match: "\x01\x02", W/"x')),
    }),
    want: { status: 404, code: 'BLOB_UNKNOWN' },
  },
];

function get(path: string, header = 'X-A: b'): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${header}\r\n\r\n`;
}

/** A push of a manifest to the repository NAME. */
function put(header: string, body: string): string {
  const type = `Content-Type: ${mediaTypes.imageManifest}`;
  return `PUT /v2/NAME/manifests/malformed HTTP/1.1\r\nHost: localhost\r\n${type}\r\n${header}\r\n\r\n${body}`;
}

function named(given: Given, raw: string): string {
  return raw.replace('NAME', given.repository.name);
}

function asChunk(raw: string, path: string): string {
  return raw.replace('PUT /v2/NAME/manifests/malformed', `PATCH ${path}`);
}
