// The catalog of repositories. It is no part of the specification, which only reserves its name; these
// rows are what the registry that brought it, distribution, promises, and what clients expect.

import assert from 'node:assert/strict';
import { blob, imageManifest } from '../../support/fixtures.ts';
import { type Answer, declineOn, expectEqual, expectStatus } from '../answer.ts';
import type { Registry } from '../registry.ts';
import { type Row, section } from '../row.ts';

export const catalog: Row[] = section('Catalog', [
  {
    level: 'MAY',
    what: 'GET /v2/_catalog answers 200 with a list of repositories',
    run: async (registry) => {
      repositoriesOf(await registry.get('/v2/_catalog'));
    },
  },
  {
    level: 'MAY',
    what: 'a repository that was pushed to is in the catalog',
    run: async (registry) => {
      const names = await withRepositories(registry, ['a']);
      expectEqual(repositoriesOf(await from(registry, names, 1)), names);
    },
  },
  {
    level: 'MAY',
    what: 'a catalog page begins after last and is in lexical order',
    run: async (registry) => {
      const names = await withRepositories(registry, ['c', 'b', 'a']);
      expectEqual(repositoriesOf(await from(registry, names, 3)), [...names].sort());
    },
  },
  {
    level: 'MAY',
    what: 'n limits a catalog page, and the Links lead through the rest, each repository once',
    run: async (registry) => {
      const names = await withRepositories(registry, ['d', 'b', 'a', 'c', 'e']);
      const found: string[] = [];
      let answer = await from(registry, names, 2);
      for (let page = 0; page < 3; page += 1) {
        const some = repositoriesOf(answer);
        assert.ok(some.length <= 2, `${some.length} repositories on a page, n is 2`);
        found.push(...some);
        const next = answer.nextPage();
        if (next === undefined) break;
        answer = await registry.get(next);
      }
      expectEqual(found.slice(0, 5), [...names].sort());
    },
  },
  {
    level: 'MAY',
    what: 'after the last repository the catalog has an empty page without a Link',
    run: async (registry) => {
      await withRepositories(registry, ['a']);
      const answer = await registry.get(`/v2/_catalog?n=5&last=${'z'.repeat(200)}`);
      expectEqual(repositoriesOf(answer), []);
      expectEqual(answer.nextPage(), undefined);
    },
  },
  ...['-1', 'abc'].map(
    (n): Omit<Row, 'section'> => ({
      level: 'MAY',
      what: `a catalog page with n=${n} is refused with 400`,
      run: async (registry) => {
        const answer = await registry.get(`/v2/_catalog?n=${n}`);
        declineOn(answer, [401, 403, 404, 405], 'the catalog');
        expectStatus(answer, 400);
      },
    }),
  ),
  {
    level: 'MAY',
    what: 'an upload that was only begun puts no repository into the catalog',
    run: async (registry) => {
      const names = await withRepositories(registry, ['a']);
      const begun = registry.named(`${prefixOf(registry, names)}b`);
      await begun.patchUpload(await begun.startUpload(), blob());
      expectEqual(repositoriesOf(await from(registry, names, 1)), names);
      expectStatus(await begun.tags(), 404);
    },
  },
]);

let groups = 0;

/** Repositories next to one another in the catalog, with nothing between them. */
async function withRepositories(registry: Registry, suffixes: string[]): Promise<string[]> {
  groups += 1;
  const names = [];
  for (const suffix of suffixes) {
    const repository = registry.named(`catalog-${groups}/${suffix}`);
    await repository.pushManifest(imageManifest(), 'latest');
    names.push(repository.name);
  }
  return names;
}

function prefixOf(registry: Registry, names: string[]): string {
  return (names[0] ?? '').slice(registry.prefix.length + 1, -1);
}

/** The page of n repositories that begins with the first of those names. */
async function from(registry: Registry, names: string[], n: number): Promise<Answer> {
  const last = `${registry.prefix}/${prefixOf(registry, names)}`.slice(0, -1);
  const answer = await registry.get(`/v2/_catalog?n=${n}&last=${encodeURIComponent(last)}`);
  declineOn(answer, [401, 403, 404, 405], 'the catalog');
  return answer;
}

function repositoriesOf(answer: Answer): string[] {
  declineOn(answer, [401, 403, 404, 405], 'the catalog');
  expectStatus(answer, 200);
  const body = answer.json();
  const list =
    typeof body === 'object' && body !== null && 'repositories' in body ? body.repositories : undefined;
  assert.ok(Array.isArray(list), `${answer} has no list of repositories`);
  return list.map(String);
}
