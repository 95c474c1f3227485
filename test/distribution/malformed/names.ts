/** Names of repositories that are none. Distribution spec, "Pulling manifests". */
import { mediaTypes } from '../../support/fixtures.ts';
import { type Row, STRANGER } from './row.ts';

const NAMES: [what: string, name: string][] = [
  ['an uppercase letter', 'Library/app'],
  ['an uppercase letter in the end', 'library/apP'],
  ['a dash in front', '-app'],
  ['a dash in the end', 'app-'],
  ['a dash at the end of a component', 'app-/x'],
  ['a dot in front', '.app'],
  ['a dot in the end', 'app.'],
  ['two dots', 'a..b'],
  ['an underscore in front', '_app'],
  ['three underscores', 'a___b'],
  ['a dot and an underscore', 'a._b'],
  ['a dot and a dash', 'a.-b'],
  ['an empty component', 'a//b'],
  ['an empty component in front', '/a'],
  ['a component of three dots', 'a/.../b'],
  ['a colon', 'host:5000/app'],
  ['an at sign', 'a@b'],
  ['a plus', 'a+b'],
  ['a tilde', 'a~b'],
  ['a comma', 'a,b'],
  ['a semicolon', 'a;b'],
  ['an asterisk', 'a*'],
  ['an equals sign', 'a=b'],
  ['a quotation mark, for SQL', "a'--"],
  ['brackets', 'a[0]'],
  ['256 characters', 'a'.repeat(256)],
  ['50,000 characters', 'a'.repeat(50_000)],
  ['20,000 components', 'a/'.repeat(20_000).slice(0, -1)],
  ['20,000 dashes, for a regular expression that backtracks', `a${'-'.repeat(200)}!`],
  ['an encoded space', 'a%20b'],
  ['an encoded slash', 'a%2fb'],
  ['an encoded slash in capitals', 'a%2Fb'],
  ['an encoded backslash', 'a%5cb'],
  ['an encoded letter', '%61pp'],
  ['an encoded percent sign', 'a%25b'],
  ['an encoded question mark', 'a%3fb'],
  ['an encoded number sign', 'a%23b'],
  ['an encoded NUL', 'a%00b'],
  ['an encoded line break', 'a%0d%0ab'],
  ['a bare percent sign', 'a%'],
  ['half an encoding', 'a%2'],
  ['an encoding that is not hexadecimal', 'a%zz'],
  ['an accent', 'caf%c3%a9'],
  ['a Cyrillic letter that looks Latin', '%d0%b0pp'],
  ['a letter of full width', '%ef%bd%81pp'],
  ['an emoji', '%f0%9f%90%b3'],
  ['an overlong slash', 'a%c0%afb'],
  ['overlong dots', 'a/%c0%ae%c0%ae/b'],
  ['bytes that are not UTF-8', 'a%ff%feb'],
  ['a lone surrogate', 'a%ed%a0%80b'],
  ['twice encoded dots', 'a/%252e%252e/b'],
  ['the name of the catalog', '_catalog'],
];

/** Every endpoint that has a name. */
const ENDPOINTS: [what: string, method: string, path: string][] = [
  ['a push of a blob', 'POST', '/blobs/uploads/'],
  ['a chunk', 'PATCH', '/blobs/uploads/0f600435-6517-408a-a7cd-630979a6a2d3?token=x'],
  [
    'the end of an upload',
    'PUT',
    `/blobs/uploads/0f600435-6517-408a-a7cd-630979a6a2d3?token=x&digest=${STRANGER}`,
  ],
  ['the status of an upload', 'GET', '/blobs/uploads/0f600435-6517-408a-a7cd-630979a6a2d3?token=x'],
  ['the end without content', 'DELETE', '/blobs/uploads/0f600435-6517-408a-a7cd-630979a6a2d3?token=x'],
  ['a pull of a blob', 'GET', `/blobs/${STRANGER}`],
  ['a delete of a blob', 'DELETE', `/blobs/${STRANGER}`],
  ['a pull of a manifest', 'GET', '/manifests/latest'],
  ['a delete of a manifest', 'DELETE', '/manifests/latest'],
  ['the referrers', 'GET', `/referrers/${STRANGER}`],
];

export const names: Row[] = [
  ...NAMES.map(
    ([what, name]): Row => ({
      name: `a name with ${what}`,
      request: () => ({ method: 'GET', path: `/v2/${name}/tags/list` }),
      want: { status: 400, code: 'NAME_INVALID' },
    }),
  ),
  ...ENDPOINTS.map(
    ([what, method, path]): Row => ({
      name: `${what} in a name with an uppercase letter`,
      request: () => ({ method, path: `/v2/Upper${path}` }),
      want: { status: 400, code: 'NAME_INVALID' },
    }),
  ),
  {
    name: 'a push of a manifest in a name with an uppercase letter',
    request: ({ image }) => ({
      method: 'PUT',
      path: '/v2/Upper/manifests/latest',
      headers: { 'Content-Type': mediaTypes.imageManifest },
      body: image.bytes,
    }),
    want: { status: 400, code: 'NAME_INVALID' },
  },
];
