/** Query parameters: of lists, of mounts, of uploads and of manifests. */
import { digest, mediaTypes } from '../../support/fixtures.ts';
import type { Row } from './row.ts';

const NUMBERS = [
  '',
  '-1',
  '-0',
  '%2b1',
  '1.5',
  '1e3',
  '0x10',
  '1_000',
  '1,000',
  '%201',
  '1%20',
  '1%0a',
  '1%00',
  'all',
  'NaN',
  'Infinity',
  'null',
  '[1]',
  '%d9%a1',
  '%ef%bc%91',
  '%ff',
  '%',
];

const ALGORITHMS = [
  '',
  'md5',
  'sha1',
  'sha384',
  'SHA256',
  'sha-256',
  'sha256:',
  'sha256,sha512',
  'sha256%00',
  '%ff',
];

const SOURCES = ['', 'Upper', '/a', 'a/', 'a//b', '../a', 'a%00', '%ff', 'a'.repeat(256)];

const TAGS = ['', '.hidden', '-tag', 'a/b', 'a%20b', 'a%00', 'a,b', 't'.repeat(129)];

export const lists: Row[] = [
  ...NUMBERS.map(
    (n, at): Row => ({
      name: `a list of "${n}" ${at % 2 === 0 ? 'tags' : 'repositories'}`,
      request: (given) => ({
        method: 'GET',
        path: at % 2 === 0 ? given.path(`/tags/list?n=${n}`) : `/v2/_catalog?n=${n}`,
      }),
      want: { status: 400, code: 'PAGINATION_NUMBER_INVALID' },
    }),
  ),
  {
    name: 'a list of more tags than there are numbers, which is one of as many as there may be',
    request: (given) => ({ method: 'GET', path: given.path(`/tags/list?n=${'9'.repeat(400)}`) }),
    want: { status: 200, code: null },
  },
  ...['%00', '%ff%fe', '%', "'--", 'z'.repeat(10_000), '.hidden'].map(
    (last): Row => ({
      name: `the tags after one that cannot be: ${last.slice(0, 40)}`,
      request: (given) => ({ method: 'GET', path: given.path(`/tags/list?last=${last}`) }),
      want: { status: 200, code: null },
    }),
  ),
  ...['%00', '%ff%fe', '%', "'--"].map(
    (artifactType): Row => ({
      name: `the referrers of a type that cannot be: ${artifactType}`,
      request: (given) => ({
        method: 'GET',
        path: given.path(
          `/referrers/${given.image.digest}?artifactType=${artifactType}&last=${artifactType}`,
        ),
      }),
      want: { status: 200, code: null },
    }),
  ),
  ...ALGORITHMS.map(
    (algorithm): Row => ({
      name: `an upload by the algorithm "${algorithm}"`,
      request: (given) => ({
        method: 'POST',
        path: given.path(`/blobs/uploads/?digest-algorithm=${algorithm}`),
      }),
      want: { status: 400, code: 'DIGEST_INVALID' },
    }),
  ),
  ...SOURCES.map(
    (from): Row => ({
      name: `a mount from "${from.slice(0, 40)}"`,
      request: (given) => ({
        method: 'POST',
        path: given.path(`/blobs/uploads/?mount=${digest(given.blob)}&from=${from}`),
      }),
      want: { status: 400, code: 'NAME_INVALID' },
    }),
  ),
  ...TAGS.map(
    (tag): Row => ({
      name: `a manifest pushed with the tag "${tag.slice(0, 40)}" beside its digest`,
      request: (given) =>
        pushTagged(given.path(`/manifests/${given.image.digest}?tag=good&tag=${tag}`), given.image.bytes),
      want: { status: 400, code: 'TAG_INVALID' },
    }),
  ),
  {
    name: 'a manifest pushed with 101 tags',
    request: (given) => {
      const query = Array.from({ length: 101 }, (_, at) => `tag=t${at}`).join('&');
      return pushTagged(given.path(`/manifests/${given.image.digest}?${query}`), given.image.bytes);
    },
    want: { status: 400, code: 'TAG_INVALID' },
  },
];

function pushTagged(path: string, body: Uint8Array) {
  return { method: 'PUT', path, headers: { 'Content-Type': mediaTypes.imageManifest }, body };
}
