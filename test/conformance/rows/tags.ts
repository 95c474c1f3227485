// Listing tags: whole, in order, and page by page.

import assert from 'node:assert/strict';
import { imageManifest } from '../../support/fixtures.ts';
import { type Answer, declineOn, expectEqual, expectNoHeader, expectStatus } from '../answer.ts';
import type { Registry } from '../registry.ts';
import { type Row, section } from '../row.ts';

const end8a = { level: 'MUST', end: 'end-8a' } as const;
const end8b = { level: 'MUST', end: 'end-8b' } as const;

/** Both orders that are allowed, ASCII and without regard to case, agree on these. */
const sorted = ['0.9', '1', '1.0', '10', '2', 'a', 'a-b', 'b', 'beta', 'c'];

export const tags: Row[] = section('Listing Tags', [
  {
    ...end8a,
    what: 'GET answers 200 with the name of the repository and its tags',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const answer = await repository.tags();
      expectEqual(await allTags(registry, answer), sorted);
      const body = answer.json();
      assert.ok(typeof body === 'object' && body !== null && 'name' in body, 'there is no name');
      expectEqual(body.name, repository.name);
    },
  },
  {
    ...end8a,
    level: 'SHOULD',
    what: 'the list is sent as JSON',
    run: async (registry) => {
      const answer = await (await withTags(registry)).repository.tags();
      assert.ok(answer.isJson, `${answer} has Content-Type: ${answer.header('Content-Type')}`);
    },
  },
  {
    ...end8a,
    what: 'tags of both cases are in lexical or in ASCII order',
    run: async (registry) => {
      const { repository } = await withTags(registry, ['b', 'A', 'a2', 'B2', '1', '_x']);
      const got = await allTags(registry, await repository.tags());
      const ascii = [...got].sort();
      const lexical = [...got].sort((one, other) => order(one.toLowerCase(), other.toLowerCase()));
      expectEqual(got.length, 6);
      const inOrder = [ascii, lexical].some((wanted) => wanted.join() === got.join());
      assert.ok(inOrder, `the order is ${got.join(' ')}`);
    },
  },
  {
    ...end8a,
    what: 'a repository whose only manifest has no tag has an empty list',
    run: async (registry) => {
      const repository = registry.repository();
      await repository.pushManifest(imageManifest());
      expectEqual(tagsOf(await repository.tags()), []);
    },
  },
  {
    ...end8a,
    what: 'GET for a repository that is not there answers 404',
    run: async (registry) => expectStatus(await registry.repository().tags(), 404),
  },
  {
    ...end8a,
    what: 'a tag that moved is listed once',
    run: async (registry) => {
      const { repository } = await withTags(registry, ['a', 'b']);
      await repository.pushManifest(imageManifest(), 'a');
      expectEqual(tagsOf(await repository.tags()), ['a', 'b']);
    },
  },
  {
    ...end8a,
    what: 'a deleted tag is no longer listed',
    run: async (registry) => {
      const { repository } = await withTags(registry, ['a', 'b']);
      declineOn(await repository.deleteManifest('a'), [400, 405], 'deleting tags');
      expectEqual(tagsOf(await repository.tags()), ['b']);
    },
  },
  {
    ...end8b,
    what: 'n gives the first n tags, or fewer with a Link to the rest',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const answer = await repository.tags('?n=3');
      const got = tagsOf(answer);
      expectEqual(got, sorted.slice(0, got.length));
      assert.ok(got.length <= 3, `${got.length} tags were given, n is 3`);
      assert.ok(got.length === 3 || answer.nextPage(), `only ${got.length} tags and no Link`);
    },
  },
  {
    ...end8b,
    what: 'n beyond the number of tags gives all of them',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      expectEqual(await allTags(registry, await repository.tags('?n=100')), sorted);
    },
  },
  {
    ...end8b,
    what: 'n equal to the number of tags gives all of them',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      expectEqual(await allTags(registry, await repository.tags(`?n=${sorted.length}`)), sorted);
    },
  },
  {
    ...end8b,
    what: 'n=0 gives an empty list',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      expectEqual(tagsOf(await repository.tags('?n=0')), []);
    },
  },
  {
    ...end8b,
    what: 'n=0 gives no Link',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const answer = await repository.tags('?n=0');
      expectStatus(answer, 200);
      expectNoHeader(answer, 'Link');
    },
  },
  ...[1, 3, 4].map(
    (n): Omit<Row, 'section'> => ({
      ...end8b,
      what: `following the Links from n=${n} gives every tag once, in order`,
      run: async (registry) => {
        const { repository } = await withTags(registry);
        const first = await repository.tags(`?n=${n}`);
        declineOn(first, first.header('Link') === undefined ? [200] : [], 'Link on pages of tags');
        expectEqual(await allTags(registry, first), sorted);
      },
    }),
  ),
  {
    ...end8b,
    what: 'asking on with last gives every tag once, in order',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const got: string[] = [];
      for (let page = 0; page < sorted.length; page += 1) {
        const last = got.length > 0 ? `&last=${got.at(-1)}` : '';
        got.push(...tagsOf(await repository.tags(`?n=3${last}`)));
      }
      expectEqual(got, sorted);
    },
  },
  {
    ...end8b,
    what: 'last alone gives the tags after it, and not it',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const answer = await repository.tags('?last=a-b');
      expectEqual(await allTags(registry, answer), ['b', 'beta', 'c']);
    },
  },
  {
    ...end8b,
    what: 'last with n gives up to n tags after it',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      expectEqual(tagsOf(await repository.tags('?n=2&last=2')), ['a', 'a-b']);
    },
  },
  {
    ...end8b,
    level: 'SHOULD',
    what: 'last need not be a tag that is there',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      expectEqual(tagsOf(await repository.tags('?n=2&last=a-bcd')), ['b', 'beta']);
    },
  },
  {
    ...end8b,
    what: 'last is a tag and no position',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      expectEqual(tagsOf(await repository.tags('?n=2&last=2')), ['a', 'a-b']);
      expectEqual(tagsOf(await repository.tags('?n=2&last=1')), ['1.0', '10']);
    },
  },
  {
    ...end8b,
    what: 'after the last tag there is nothing: an empty list without a Link',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const answer = await repository.tags('?n=5&last=c');
      expectEqual(tagsOf(answer), []);
      expectEqual(answer.nextPage(), undefined);
    },
  },
  {
    ...end8b,
    what: 'an empty list is a list, and not null',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      for (const query of ['?n=0', '?n=5&last=c', '?last=zzz']) {
        const answer = await repository.tags(query);
        expectStatus(answer, 200);
        expectEqual(answer.json(), { name: repository.name, tags: [] });
      }
    },
  },
  {
    ...end8b,
    level: 'SHOULD',
    what: 'the page that holds the last tag has no Link, or one to an empty page',
    run: async (registry) => {
      const { repository } = await withTags(registry);
      const next = (await repository.tags(`?n=${sorted.length}`)).nextPage();
      if (next !== undefined) expectEqual(tagsOf(await registry.get(next)), []);
    },
  },
  ...['-1', 'abc', '1.5'].map(
    (n): Omit<Row, 'section'> => ({
      level: 'MAY',
      end: 'end-8b',
      what: `n=${n} is refused with 400`,
      run: async (registry) => {
        const { repository } = await withTags(registry, ['a']);
        expectStatus(await repository.tags(`?n=${n}`), 400);
      },
    }),
  ),
]);

async function withTags(registry: Registry, wanted = sorted) {
  const repository = registry.repository();
  const manifest = imageManifest();
  await repository.pushBlobs(manifest);
  // Pushed from the last to the first, so that no registry is in order by accident.
  for (const tag of [...wanted].reverse()) expectStatus(await repository.putManifest(tag, manifest), 201);
  return { repository, manifest };
}

/** The tags of this page and of all pages that its Link leads to. */
async function allTags(registry: Registry, first: Answer): Promise<string[]> {
  const got = tagsOf(first);
  let next = first.nextPage();
  for (let page = 0; next !== undefined; page += 1) {
    assert.ok(page < 100, 'the Links never end');
    const answer = await registry.get(next);
    got.push(...tagsOf(answer));
    next = answer.nextPage();
  }
  return got;
}

function tagsOf(answer: Answer): string[] {
  expectStatus(answer, 200);
  const body = answer.json();
  const list = typeof body === 'object' && body !== null && 'tags' in body ? body.tags : undefined;
  // One row says what is to be thought of a null; the others are about something else.
  if (list === null) return [];
  assert.ok(Array.isArray(list), `${answer} has no list of tags: ${answer.body.toString().slice(0, 100)}`);
  return list.map(String);
}

function order(one: string, other: string): number {
  return one < other ? -1 : Number(one > other);
}
