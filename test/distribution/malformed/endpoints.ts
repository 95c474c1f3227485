/** Methods that an endpoint does not have, and paths that are no endpoint. Distribution spec, "Endpoints". */
import { type Row, STRANGER } from './row.ts';

/** Methods that are not there, below a repository unless the path begins with /v2/. */
const METHODS: [method: string, path: string][] = [
  ['POST', '/v2/'],
  ['PUT', '/v2/'],
  ['PATCH', '/v2/'],
  ['DELETE', '/v2/'],
  ['OPTIONS', '/v2/'],
  ['TRACE', '/v2/'],
  ['PROPFIND', '/v2/'],
  ['POST', '/v2/_catalog'],
  ['DELETE', '/v2/_catalog'],
  ['POST', '/tags/list'],
  ['PUT', '/tags/list'],
  ['DELETE', '/tags/list'],
  ['POST', '/manifests/latest'],
  ['PATCH', '/manifests/latest'],
  ['OPTIONS', '/manifests/latest'],
  ['PUT', `/blobs/${STRANGER}`],
  ['POST', `/blobs/${STRANGER}`],
  ['PATCH', `/blobs/${STRANGER}`],
  ['GET', '/blobs/uploads/'],
  ['PUT', '/blobs/uploads/'],
  ['PATCH', '/blobs/uploads/'],
  ['DELETE', '/blobs/uploads/'],
  ['POST', '/blobs/uploads/0f600435-6517-408a-a7cd-630979a6a2d3'],
  ['POST', `/referrers/${STRANGER}`],
  ['DELETE', `/referrers/${STRANGER}`],
];

/** Paths of nothing, whole. */
const PATHS: [what: string, path: string][] = [
  ['another version', '/v3/'],
  ['the first version', '/v1/_ping'],
  ['the version in capitals', '/V2/'],
  ['a folder of the system', '/etc/passwd'],
  ['dots that climb out', '/v2/../../etc/passwd'],
  ['encoded dots that climb out', '/v2/%2e%2e/%2E%2E/etc/passwd'],
  ['dots that climb within', '/v2/a/../../v2/../secret'],
  ['two slashes in front', '//v2/a/tags/list'],
  ['backslashes', '/v2\\a\\tags\\list'],
  ['an encoded slash after the version', '/v2%2fa/tags/list'],
  ['the requests for tests, with an escape in the path', '/%74est/counts'],
];

/** Paths of nothing, below a repository. */
const BELOW: [what: string, path: string][] = [
  ['nothing but a name', ''],
  ['nothing but a name and a slash', '/'],
  ['tags', '/tags'],
  ['tags of no list', '/tags/lists'],
  ['more than a list', '/tags/list/more'],
  ['manifests of no reference', '/manifests/'],
  ['a manifest and more', '/manifests/latest/more'],
  ['blobs of no digest', '/blobs/'],
  ['a blob and more', `/blobs/${STRANGER}/more`],
  ['an upload and more', '/blobs/uploads/0f600435-6517-408a-a7cd-630979a6a2d3/more'],
  ['referrers of nothing', '/referrers/'],
  ['a reference of dots', '/manifests/..'],
  ['a digest of encoded dots', '/blobs/%2e%2e'],
];

export const endpoints: Row[] = [
  ...METHODS.map(
    ([method, path]): Row => ({
      name: `${method} of ${path.slice(0, 40)}`,
      request: (given) => ({ method, path: path.startsWith('/v2/') ? path : given.path(path) }),
      want: { status: 405, code: 'UNSUPPORTED' },
    }),
  ),
  ...PATHS.map(
    ([what, path]): Row => ({
      name: `the path of ${what}`,
      request: () => ({ method: 'GET', path }),
      want: { status: 404, code: 'NAME_UNKNOWN' },
    }),
  ),
  ...BELOW.map(
    ([what, path]): Row => ({
      name: `the path of a repository with ${what}`,
      request: (given) => ({ method: 'GET', path: given.path(path) }),
      want: { status: 404, code: 'NAME_UNKNOWN' },
    }),
  ),
  {
    name: 'a path of 60,000 slashes',
    request: () => ({ raw: `GET /v2/${'/'.repeat(60_000)}a HTTP/1.1\r\nHost: localhost\r\n\r\n` }),
    want: { status: 404, code: 'NAME_UNKNOWN' },
  },
  {
    name: 'a path that names blobs 10,000 times',
    request: () => ({ raw: `GET /v2/${'/blobs'.repeat(10_000)}/a/b HTTP/1.1\r\nHost: localhost\r\n\r\n` }),
    want: { status: 404, code: 'NAME_UNKNOWN' },
  },
];
