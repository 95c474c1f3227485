/** Tags and digests that are none. Distribution spec, "Pulling manifests"; image spec, "Digests". */
import { blob, digest, mediaTypes } from '../../support/fixtures.ts';
import { type Row, STRANGER } from './row.ts';

const TAGS: [what: string, tag: string][] = [
  ['a dot in front', '.hidden'],
  ['a dash in front', '-tag'],
  ['129 characters', 't'.repeat(129)],
  ['10,000 characters', 't'.repeat(10_000)],
  ['a space', 'a%20b'],
  ['a plus', 'v1+build'],
  ['an at sign', 'v1@x'],
  ['an encoded slash', 'a%2fb'],
  ['an encoded NUL', 'a%00'],
  ['a line break in the end', 'latest%0a'],
  ['an accent', 'caf%c3%a9'],
  ['an emoji', '%f0%9f%90%b3'],
  ['bytes that are not UTF-8', '%ff%fe'],
  ['an overlong letter', '%c1%a1'],
  ['a bare percent sign', '100%'],
  ['twice encoded dots', '%252e%252e'],
  ['digits of full width', '%ef%bc%91'],
];

const HEX = STRANGER.slice('sha256:'.length);
const DIGESTS: [what: string, digest: string][] = [
  ['no algorithm and no colon', HEX],
  ['no algorithm', `:${HEX}`],
  ['nothing after the colon', 'sha256:'],
  ['too few digits', `sha256:${HEX.slice(1)}`],
  ['too many digits', `sha256:${HEX}0`],
  ['uppercase digits', `sha256:${HEX.toUpperCase()}`],
  ['an uppercase algorithm', `SHA256:${HEX}`],
  ['a letter that is no digit', `sha256:${HEX.slice(1)}g`],
  ['the digits of the other algorithm', `sha512:${HEX}`],
  ['an algorithm of old', 'md5:d41d8cd98f00b204e9800998ecf8427e'],
  ['another algorithm', `sha384:${HEX}${HEX.slice(0, 32)}`],
  ['an unknown algorithm', `sha257:${HEX}`],
  ['two algorithms', `sha256:sha256:${HEX}`],
  ['two colons', `sha256::${HEX}`],
  ['a dash for the colon', `sha256-${HEX}`],
  ['Base64', 'sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564'],
  ['a line break in the end', `sha256:${HEX}%0a`],
  ['a NUL in the end', `sha256:${HEX}%00`],
  ['a space in front', `%20sha256:${HEX}`],
  ['dots to climb', 'sha256:..%2f..%2f..%2fetc%2fpasswd'],
  ['digits of full width', `sha256:${'%ef%bc%91'.repeat(64)}`],
  ['bytes that are not UTF-8', 'sha256:%ff%fe'],
  ['10,000 digits', `sha256:${'0'.repeat(10_000)}`],
];

const SHORT = 'sha256:abc';
const ELSEWHERE: [what: string, method: string, path: string][] = [
  ['a delete of a blob', 'DELETE', `/blobs/${SHORT}`],
  ['a pull of a manifest', 'GET', `/manifests/${SHORT}`],
  ['a delete of a manifest', 'DELETE', `/manifests/${SHORT}`],
  ['the referrers of a digest', 'GET', `/referrers/${SHORT}`],
  ['the referrers of a tag', 'GET', '/referrers/latest'],
  ['a blob in one POST', 'POST', `/blobs/uploads/?digest=${SHORT}`],
  ['a blob in one POST with an empty digest', 'POST', '/blobs/uploads/?digest='],
  ['a mount', 'POST', `/blobs/uploads/?mount=${SHORT}`],
  ['a mount of nothing', 'POST', '/blobs/uploads/?mount=&from=library/app'],
];

export const references: Row[] = [
  ...TAGS.map(
    ([what, tag]): Row => ({
      name: `a manifest pushed by a tag with ${what}`,
      request: (given) => ({
        method: 'PUT',
        path: given.path(`/manifests/${tag}`),
        headers: { 'Content-Type': mediaTypes.imageManifest },
        body: given.image.bytes,
      }),
      want: { status: 400, code: 'TAG_INVALID' },
    }),
  ),
  ...TAGS.slice(0, 8).map(
    ([what, tag]): Row => ({
      name: `a manifest pulled by a tag with ${what}, which cannot be there`,
      request: (given) => ({ method: 'GET', path: given.path(`/manifests/${tag}`) }),
      want: { status: 404, code: 'MANIFEST_UNKNOWN' },
    }),
  ),
  {
    name: 'a delete of a tag with a dash in front',
    request: (given) => ({ method: 'DELETE', path: given.path('/manifests/-tag') }),
    want: { status: 400, code: 'TAG_INVALID' },
  },
  ...DIGESTS.map(
    ([what, text]): Row => ({
      name: `a blob by a digest with ${what}`,
      request: (given) => ({ method: 'GET', path: given.path(`/blobs/${text}`) }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    }),
  ),
  ...ELSEWHERE.map(
    ([what, method, path]): Row => ({
      name: `${what} by a malformed digest`,
      request: (given) => ({ method, path: given.path(path) }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    }),
  ),
  ...[SHORT, 'sha256:baddigeststring', STRANGER].map(
    (text): Row => ({
      name: `a manifest pushed by ${text}, which is not its own digest`,
      request: (given) => ({
        method: 'PUT',
        path: given.path(`/manifests/${text}`),
        headers: { 'Content-Type': mediaTypes.imageManifest },
        body: given.image.bytes,
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    }),
  ),
  ...[null, '', SHORT, `${STRANGER},${STRANGER}`].map(
    (text): Row => ({
      name: `an upload closed with the digest ${text ?? 'left out'}`,
      request: (given) => ({
        method: 'PUT',
        path: `${given.upload}${text === null ? '' : `&digest=${text}`}`,
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    }),
  ),
  ...(['sha256', 'sha512'] as const).flatMap((algorithm): Row[] => [
    {
      name: `an upload closed with the ${algorithm} digest of other content`,
      request: async (given) => ({
        method: 'PUT',
        path: `${await given.start()}&digest=${digest(blob(), algorithm)}`,
        body: blob(),
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    },
    {
      name: `a blob in one POST with the ${algorithm} digest of other content`,
      request: (given) => ({
        method: 'POST',
        path: given.path(`/blobs/uploads/?digest=${digest(blob(), algorithm)}`),
        body: blob(),
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    },
    {
      name: `an empty upload closed with the ${algorithm} digest of something`,
      request: async (given) => ({
        method: 'PUT',
        path: `${await given.start()}&digest=${digest(blob(), algorithm)}`,
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    },
    {
      name: `chunks without a length closed with the ${algorithm} digest of other content`,
      request: async (given) => ({
        method: 'PUT',
        path: `${await given.start()}&digest=${digest(blob(), algorithm)}`,
        body: blob(),
        chunked: true,
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    },
  ]),
];
