/** Ids and tokens of uploads that the registry has not given out, or not for this. Distribution spec, "Pushing a blob in chunks". */
import { expectStatus } from '../../conformance/answer.ts';
import { type Given, pathOf, type Row, STRANGER } from './row.ts';

interface Spelled {
  id: string;
  token: string;
}

/** Changes of the id and token of an upload that stands. */
const FORGERIES: [what: string, change: (upload: Spelled) => Spelled][] = [
  ['an unknown id', ({ token }) => ({ id: '00000000-0000-4000-8000-000000000000', token })],
  ['an id that is no uuid', ({ token }) => ({ id: 'x', token })],
  ['an id in capitals', ({ id, token }) => ({ id: id.toUpperCase(), token })],
  ['an id with SQL behind it', ({ id, token }) => ({ id: `${id}'--`, token })],
  ['an id with a NUL behind it', ({ id, token }) => ({ id: `${id}%00`, token })],
  ['an id that climbs', ({ id, token }) => ({ id: `..%2f${id}`, token })],
  ['an id of bytes that are not UTF-8', ({ token }) => ({ id: '%ff%fe', token })],
  ['an id of 10,000 characters', ({ token }) => ({ id: 'a'.repeat(10_000), token })],
  ['an empty token', ({ id }) => ({ id, token: '' })],
  ['a token of nonsense', ({ id }) => ({ id, token: 'nonsense' })],
  ['a token of 10,000 characters', ({ id, token }) => ({ id, token: token.padEnd(10_000, '0') })],
  ['a token cut short', ({ id, token }) => ({ id, token: bare(token).slice(0, -1) })],
  ['a token with more behind it', ({ id, token }) => ({ id, token: `${token}0` })],
  ['a token that has begun twice', ({ id, token }) => ({ id, token: `${bare(token)}-begun-begun` })],
  ['a token in capitals', ({ id, token }) => ({ id, token: token.toUpperCase() })],
  ['a token of another algorithm', ({ id, token }) => ({ id, token: token.replace('sha256', 'sha512') })],
  ['a token of no algorithm', ({ id, token }) => ({ id, token: token.replace('sha256', 'md5') })],
  [
    'a token that expires later',
    ({ id, token }) => ({ id, token: token.replace(/-[0-9a-z]+-/, '-zzzzzz-') }),
  ],
  [
    'a token that expires on no day',
    ({ id, token }) => ({ id, token: token.replace(/-[0-9a-z]+-/, '-zzzzzzzzz-') }),
  ],
  ['a token without a proof', ({ id, token }) => ({ id, token: token.replace(/-[0-9a-f]{64}/, '-') })],
  [
    'a token whose proof is all zeros',
    ({ id, token }) => ({ id, token: token.replace(/[0-9a-f]{64}/, '0'.repeat(64)) }),
  ],
  [
    'a token whose proof has one other digit',
    ({ id, token }) => ({
      id,
      token: token.replace(/[0-9a-f](-begun)?$/, (end) => (end[0] === '0' ? '1' : '0')),
    }),
  ],
  ['a token with a NUL behind it', ({ id, token }) => ({ id, token: `${token}%00` })],
  ['a token with a line break behind it', ({ id, token }) => ({ id, token: `${token}%0a` })],
];

const METHODS: [method: string, query: string][] = [
  ['PATCH', ''],
  ['PUT', `&digest=${STRANGER}`],
  ['GET', ''],
  ['DELETE', ''],
];

const UNKNOWN = { status: 404, code: 'BLOB_UPLOAD_UNKNOWN' } as const;

export const uploads: Row[] = [
  ...FORGERIES.map(
    ([what, change], at): Row => ({
      name: `an upload by ${what}`,
      request: (given) => {
        const [method = '', query] = METHODS[at % METHODS.length] ?? [];
        const { id, token } = change(spelled(given.upload));
        return { method, path: given.path(`/blobs/uploads/${id}?token=${token}${query}`), ...bodyOf(method) };
      },
      want: UNKNOWN,
    }),
  ),
  ...METHODS.map(
    ([method, query]): Row => ({
      name: `${method} of an upload without its token`,
      request: (given) => ({
        method,
        path: `${given.upload.split('?')[0]}?x=y${query}`,
        ...bodyOf(method),
      }),
      want: UNKNOWN,
    }),
  ),
  ...METHODS.map(
    ([method, query]): Row => ({
      name: `${method} of an upload of another repository`,
      request: ({ upload, repository }) => ({
        method,
        path: `${upload.replace(repository.name, `${repository.name}/other`)}${query}`,
        ...bodyOf(method),
      }),
      want: UNKNOWN,
    }),
  ),
  ...METHODS.map(
    ([method, query]): Row => ({
      name: `${method} of an upload with the token of another`,
      request: async (given) => {
        const { token } = spelled(await given.start());
        const { id } = spelled(given.upload);
        return { method, path: given.path(`/blobs/uploads/${id}?token=${token}${query}`), ...bodyOf(method) };
      },
      want: UNKNOWN,
    }),
  ),
  ...METHODS.map(
    ([method, query]): Row => ({
      name: `${method} of an upload that was cancelled`,
      request: async (given) => ({
        method,
        path: `${await cancelled(given)}${query}`,
        ...bodyOf(method),
      }),
      want: UNKNOWN,
    }),
  ),
];

/** Rows for a time when the tokens have expired. */
export const expired: Row[] = METHODS.map(([method, query]) => ({
  name: `${method} of an upload that has expired`,
  request: ({ upload }) => ({ method, path: `${upload}${query}`, ...bodyOf(method) }),
  want: UNKNOWN,
}));

function spelled(path: string): Spelled {
  const { pathname, searchParams } = new URL(path, 'http://x');
  return { id: pathname.slice(pathname.lastIndexOf('/') + 1), token: searchParams.get('token') ?? '' };
}

function bare(token: string): string {
  return token.replace('-begun', '');
}

function bodyOf(method: string): { body?: Uint8Array } {
  return method === 'PATCH' || method === 'PUT' ? { body: Buffer.from('hello') } : {};
}

async function cancelled({ repository }: Given): Promise<string> {
  const location = await repository.startUpload();
  const chunk = await repository.patchUpload(location, Buffer.from('hello'));
  expectStatus(await repository.registry.send('DELETE', chunk.location()), 204);
  return pathOf(chunk.location());
}
