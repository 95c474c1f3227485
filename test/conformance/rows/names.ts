// The grammar: which repository names and tags a registry must take, and which it must not.

import { imageManifest } from '../../support/fixtures.ts';
import { expectBody, expectRefused, expectStatus } from '../answer.ts';
import { type Row, section } from '../row.ts';

/** Components that are words of the paths are legal in names too, which has surprised many a router. */
const names = [
  'a',
  '0',
  'a.b',
  'a_b',
  'a__b',
  'a-b',
  'a---b',
  'a1.b2_c3-d4',
  'one/two/three/four/five',
  'v2/manifests/latest',
  'blobs/uploads',
  'tags/list',
  'referrers/x',
  'x/blobs',
  'manifests',
];

const malformedNames = [
  'Upper',
  '-first',
  'last-',
  '_first',
  'last_',
  '.first',
  'a..b',
  'a___b',
  'a._b',
  'a/-b',
  'a/B',
  'a//b',
  'a%20b',
  'a+b',
];

const tags = ['a', '_', '0', 'A.b-C_d', 'v1.2.3', 'latest', 'sha256-abc', 'x'.repeat(128)];

const malformedTags = ['.a', '-a', 'a%20b', 'a+b', 'a@b', 'a%C3%A9', 'x'.repeat(129)];

export const grammar: Row[] = section('Pulling manifests', [
  ...names.map(
    (name): Omit<Row, 'section'> => ({
      level: 'MUST',
      end: 'end-3',
      what: `a repository may be named ${name}`,
      run: async (registry) => {
        const repository = registry.named(name);
        const manifest = imageManifest();
        await repository.pushManifest(manifest, 'latest');
        for (const reference of ['latest', manifest.digest]) {
          const answer = await repository.getManifest(reference);
          expectStatus(answer, 200);
          expectBody(answer, manifest.bytes);
        }
        for (const bytes of manifest.blobs) await repository.pushBlob(bytes);
        expectStatus(await repository.tags(), 200);
      },
    }),
  ),
  ...malformedNames.map(
    (name): Omit<Row, 'section'> => ({
      level: 'MUST',
      end: 'end-4a',
      what: `nothing is pushed to a repository named ${name}`,
      run: async (registry) => expectRefused(await registry.named(name).postUpload()),
    }),
  ),
  ...tags.map(
    (tag): Omit<Row, 'section'> => ({
      level: 'MUST',
      end: 'end-7a',
      what: `a tag may be named ${shortened(tag)}`,
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        await repository.pushManifest(manifest, tag);
        const answer = await repository.getManifest(tag);
        expectStatus(answer, 200);
        expectBody(answer, manifest.bytes);
      },
    }),
  ),
  ...malformedTags.map(
    (tag): Omit<Row, 'section'> => ({
      level: 'MUST',
      end: 'end-7a',
      what: `no manifest is tagged ${shortened(tag)}`,
      run: async (registry) => {
        const repository = registry.repository();
        const manifest = imageManifest();
        await repository.pushManifest(manifest);
        expectRefused(await repository.putManifest(tag, manifest));
      },
    }),
  ),
  {
    level: 'MUST',
    end: 'end-3',
    what: 'GET of a malformed tag is refused with 400 or 404',
    run: async (registry) => {
      const repository = registry.repository();
      await repository.pushManifest(imageManifest(), 'latest');
      expectStatus(await repository.getManifest('.malformed'), 400, 404);
    },
  },
]);

function shortened(text: string): string {
  return text.length > 20 ? `${text.slice(0, 3)}… (${text.length} characters)` : text;
}
