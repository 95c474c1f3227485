/**
 * What an isolate remembers: exact in the face of changes, and bounded. Then over HTTP, on both homes: no read may show what
 * a repository held before its last change.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { changed, remembered } from '../../worker/memory/answers.ts';
import { memory } from '../../worker/memory/budget.ts';
import { blob, digest, repositoryName } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';

const MiB = 1024 * 1024;
const DAY_MS = 24 * 3600 * 1000;
const one = () => 1;

/** Asks for a key, and says whether the repository had to be asked. */
async function asks(name: string, key: string, size: number | null = 1): Promise<boolean> {
  let asked = false;
  await remembered(
    name,
    key,
    async () => (asked = true),
    () => size,
  );
  return asked;
}

describe('what is remembered', () => {
  it('what an isolate remembers is asked once, by repository and key', async () => {
    const name = repositoryName();
    assert.equal(await remembered(name, 'a', async () => 'first', one), 'first');
    assert.equal(await remembered(name, 'a', async () => 'second', one), 'first');
    assert.equal(await remembered(name, 'b', async () => 'third', one), 'third');
    assert.equal(await remembered(repositoryName(), 'a', async () => 'fourth', one), 'fourth');
  });

  it('what an isolate remembers is not an answer that is not to be kept', async () => {
    const name = repositoryName();
    assert.equal(await asks(name, 'a', null), true);
    assert.equal(await asks(name, 'a'), true);
    assert.equal(await asks(name, 'a'), false);
  });

  it('what an isolate remembers is not what was thrown', async () => {
    const name = repositoryName();
    await assert.rejects(
      remembered(name, 'a', () => Promise.reject(new Error('no')), one),
      /no/,
    );
    assert.equal(await asks(name, 'a'), true);
  });

  it('what an isolate remembers is forgotten with a change of its repository, and of no other', async () => {
    const [name, other] = [repositoryName(), repositoryName()];
    await asks(name, 'a');
    await asks(other, 'a');
    changed(name);
    assert.equal(await asks(name, 'a'), true);
    assert.equal(await asks(other, 'a'), false);
  });

  it('what an isolate remembers is not an answer that was under way during a change', async () => {
    const name = repositoryName();
    const old = Promise.withResolvers<string>();
    const first = remembered(name, 'a', () => old.promise, one);
    changed(name);
    // A second request starts before the old answer arrives: it must not get that answer.
    const second = remembered(name, 'b', async () => 'of after the change', one);
    old.resolve('from before the change');
    assert.equal(await first, 'from before the change');
    assert.equal(await second, 'of after the change');
    assert.equal(await remembered(name, 'a', async () => 'new', one), 'new');
    assert.equal(await remembered(name, 'b', async () => 'newer', one), 'of after the change');
  });

  it('what an isolate remembers never is older than the last change, in any order of reads, answers and changes', async () => {
    type Step = { what: 'ask' | 'change' } | { what: 'answer'; at: number };
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.constant({ what: 'ask' as const }),
      fc.constant({ what: 'change' as const }),
      fc.record({ what: fc.constant('answer' as const), at: fc.nat() }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const name = repositoryName();
        let version = 0;
        const open: (() => void)[] = [];
        const reads: Promise<void>[] = [];
        const ask = () => {
          const since = version;
          const read = remembered(
            name,
            'key',
            () => {
              const found = version;
              return new Promise<number>((resolve) => open.push(() => resolve(found)));
            },
            one,
          );
          reads.push(read.then((found) => assert.ok(found >= since, `${found} was read after ${since}`)));
        };
        for (const next of steps) {
          if (next.what === 'ask') ask();
          else if (next.what === 'answer') open.splice(next.at % (open.length || 1), 1)[0]?.();
          else {
            version++;
            changed(name);
          }
          await new Promise(setImmediate); // Lets the answers arrive.
        }
        ask();
        for (const answer of open) answer();
        await Promise.all(reads);
      }),
    );
  });
});

describe('what is remembered is bounded', () => {
  it('what an isolate remembers is bounded at 64 MiB, whatever the repositories', async () => {
    const names = Array.from({ length: 7 }, () => repositoryName());
    for (const name of names) await asks(name, 'a', 10 * MiB);
    assert.equal(await asks(names[0] ?? '', 'a'), true, 'what came first is gone');
  });

  it('what has changed does not count to what an isolate remembers', async () => {
    const [kept, busy] = [repositoryName(), repositoryName()];
    await asks(kept, 'a');
    for (let n = 0; n < 20; n++) {
      await asks(busy, 'a', 10 * MiB);
      changed(busy);
    }
    assert.equal(await asks(kept, 'a'), false);
  });

  it('names that hold nothing leave nothing in what an isolate remembers', async () => {
    const kept = repositoryName();
    await asks(kept, 'a');
    const before = memory.cached;
    for (let n = 0; n < 10_000; n++) await asks(`unknown/${n}`, 'a', null);
    assert.equal(memory.cached, before);
    assert.equal(await asks(kept, 'a'), false);
  });

  it('the keys of one repository count with their length to what an isolate remembers', async () => {
    const name = repositoryName();
    const before = memory.cached;
    await asks(name, 'k'.repeat(10_000), 0);
    assert.ok(memory.cached - before >= 20_000);
    for (let n = 0; n < 10_000; n++) await asks(name, `${'k'.repeat(1000)}${n}`, 0);
    assert.ok(memory.cached - before < 4 * MiB, `${memory.cached - before} bytes`);
  });
});

eachHome((home) => {
  it('a blob that expired is gone for those who had read it', async () => {
    const name = repositoryName();
    const bytes = blob();
    const url = `${home.url}/v2/${name}/blobs/${digest(bytes)}`;
    const upload = `${home.url}/v2/${name}/blobs/uploads/?digest=${digest(bytes)}`;
    assert.equal((await fetch(upload, { method: 'POST', body: bytes })).status, 201);
    assert.equal((await fetch(url, { method: 'HEAD' })).status, 200);
    await home.setClockAhead(DAY_MS + 1000);
    await home.ring('REPOSITORY', name);
    assert.equal((await fetch(url, { method: 'HEAD' })).status, 404);
  });
});
