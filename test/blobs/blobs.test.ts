/**
 * The contract of the seam of the bytes (worker/blobs/store.ts): one suite over both stores, inside workerd, with the limits
 * of production under them.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { PART_BYTES } from '../../worker/blobs/r2.ts';
import { digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import type { AppendAnswer } from './blobs-worker.ts';
import { content, Store, sha256, sum } from './store.ts';

const MiB = 1024 * 1024;
const PART = PART_BYTES;
const entry = join(import.meta.dirname, 'blobs-worker.ts');

/** How content may come: the sizes of the requests that bring it, in bytes. */
const SHAPES: { name: string; sizes: number[]; parts: number }[] = [
  { name: 'nothing', sizes: [0], parts: 0 },
  { name: 'nothing, twice', sizes: [0, 0], parts: 0 },
  { name: 'one byte', sizes: [1], parts: 0 },
  { name: 'one byte and then nothing', sizes: [1, 0], parts: 0 },
  { name: 'a read', sizes: [MiB], parts: 0 },
  { name: 'a read and a byte', sizes: [MiB + 1], parts: 0 },
  { name: 'one byte less than a part', sizes: [PART - 1], parts: 0 },
  { name: 'exactly a part', sizes: [PART], parts: 1 },
  { name: 'one byte more than a part', sizes: [PART + 1], parts: 1 },
  { name: 'exactly two parts', sizes: [2 * PART], parts: 2 },
  { name: 'one byte more than two parts', sizes: [2 * PART + 1], parts: 2 },
  { name: 'a part and then nothing', sizes: [PART, 0], parts: 1 },
  { name: 'a part and then a byte', sizes: [PART, 1], parts: 1 },
  { name: 'a byte and then a part', sizes: [1, PART], parts: 1 },
  { name: 'two halves that make a part', sizes: [PART / 2, PART / 2], parts: 1 },
  { name: 'a part, a part', sizes: [PART, PART], parts: 2 },
  { name: 'uneven pieces', sizes: [3 * MiB, 5 * MiB + 7, 1, 9 * MiB], parts: 2 },
  { name: 'many small pieces', sizes: Array.from({ length: 20 }, (_, n) => n * 1000 + 1), parts: 0 },
  { name: 'pieces of 32 KiB around a part', sizes: [PART - 32_768, 32_768, 32_768], parts: 1 },
];

eachHome(
  (home) => {
    const store = new Store(home);

    afterEach(async () => {
      assert.deepEqual(await home.violations(), [], 'limits of production');
      const { held, peak } = await home.memory();
      assert.equal(held, 0, 'buffers that were not given back');
      assert.ok(peak <= 96 * MiB);
    });

    describe('put', () => {
      for (const algorithm of ['sha256', 'sha512'] as const) {
        for (const size of [0, 1, 1000, MiB, MiB + 1, 9 * MiB + 5]) {
          it(`put keeps ${size} bytes of their ${algorithm}`, async () => {
            const bytes = content.subarray(0, size);
            const key = store.newKey();
            assert.equal(await store.put(key, bytes, digest(bytes, algorithm)), true);
            assert.equal(compare(await store.get(key), bytes), 'equal');
          });

          it(`put keeps nothing of ${size} bytes of another ${algorithm}`, async () => {
            const key = store.newKey();
            const wrong = digest(randomBytes(8), algorithm);
            assert.equal(await store.put(key, content.subarray(0, size), wrong), false);
            assert.equal(await store.get(key), null);
            assert.deepEqual(await store.keysOf(key), []);
          });
        }
      }

      for (const failAfter of [1, MiB, 3 * MiB + 1]) {
        it(`put throws, and keeps nothing, where the stream breaks off after ${failAfter} bytes`, async () => {
          const key = store.newKey();
          const bytes = content.subarray(0, 4 * MiB);
          await assert.rejects(store.put(key, bytes, digest(bytes), failAfter), /500/);
          assert.equal(await store.get(key), null);
          assert.deepEqual(await store.keysOf(key), []);
        });
      }
    });

    describe('append and finish', () => {
      for (const announced of [true, false]) {
        for (const { name, sizes, parts } of SHAPES) {
          it(`append and finish store ${name}, of ${announced ? 'known' : 'unknown'} length`, async () => {
            const { draft, bytes, answers } = await store.draft(sizes, announced);
            const last = answers.at(-1);
            assert.ok(last !== undefined);
            assert.equal(sum(last.parts) + last.tail, bytes.length);
            if (home.name === 'r2') checkParts(last, bytes.length, parts);
            const key = await store.finish(draft);
            assert.equal(compare(await store.get(key), bytes), 'equal');
            await store.discard(draft);
          });
        }
      }

      for (const sizes of [[0], [5], [PART], [PART + 5], [2 * PART], [2 * MiB, 2 * MiB, 10]]) {
        it(`append and finish store ${sizes.join(' + ')} bytes, finished again and again`, async () => {
          const { draft, bytes } = await store.draft(sizes, true);
          const key = await store.finish(draft);
          assert.equal(await store.finish(draft, true), key);
          assert.equal(await store.finish(draft, true), key);
          assert.equal(compare(await store.get(key), bytes), 'equal');
        });

        it(`discard ends ${sizes.join(' + ')} bytes, again and again before their end`, async () => {
          const { draft } = await store.draft(sizes, false);
          const before = await home.storedKeys();
          await store.discard(draft);
          await store.discard(draft);
          // Nor did they belong to another upload.
          const after = await home.storedKeys();
          assert.deepEqual(
            after.filter((key) => !before.includes(key)),
            [],
          );
        });

        it(`discard ends ${sizes.join(' + ')} bytes, again and again after their end`, async () => {
          const { draft } = await store.draft(sizes, false);
          const key = await store.finish(draft);
          assert.notDeepEqual(await store.keysOf(key), []);
          await store.discard(draft);
          await store.discard(draft);
          assert.deepEqual(await store.keysOf(key), []);
          assert.equal(await store.get(key), null);
        });
      }

      it('discard ends a draft that never had a byte', () => store.discard('never'));
    });

    describe('a stream that breaks off', () => {
      for (const failAfter of [1, MiB + 1, PART - 1, PART + 1, 2 * PART + 3 * MiB]) {
        it(`a stream that breaks off after ${failAfter} bytes keeps what came before, and can be gone on from`, async () => {
          const name = store.newName();
          const bytes = content.subarray(0, failAfter + 2 * MiB);
          const broken = await store.append(name, bytes, { failAfter });
          assert.match(broken.error ?? '', /went away|disconnect|premature|abort/i);
          assert.equal(broken.intact, true);
          const kept = sum(broken.parts) + broken.tail;
          assert.ok(kept <= failAfter && kept > failAfter - MiB, `${kept} of ${failAfter} are kept`);
          assert.equal(broken.tappedBytes, kept);
          assert.equal(broken.tapped, sha256(bytes.subarray(0, kept)), 'what is kept is what was hashed');
          const rest = await store.append(name, bytes.subarray(kept), { announced: true });
          assert.equal(rest.error, null);
          assert.equal(compare(await store.get(await store.finish(name)), bytes), 'equal');
        });
      }
    });

    describe('get', () => {
      const sizes = [2 * MiB, 1 * MiB + 1, 2 * PART, 500];
      const total = sum(sizes);
      const ranges: [name: string, offset: number, length: number][] = [
        ['the first byte', 0, 1],
        ['the last byte', total - 1, 1],
        ['all', 0, total],
        ['all but the first and the last byte', 1, total - 2],
        ['the last byte of a piece and the first of the next', 2 * MiB - 1, 2],
        ['exactly a piece', 2 * MiB, MiB + 1],
        ['across a whole piece', 2 * MiB - 1, MiB + 3],
        ['across every seam', 2 * MiB - 1, total - 2 * MiB - 400],
        ['the tail', total - 500, 500],
      ];
      for (const shape of ['in pieces', 'in one piece']) {
        it(`get gives ranges of content ${shape}`, async () => {
          const { draft, bytes } = await store.draft(shape === 'in pieces' ? sizes : [total], false);
          const key = await store.finish(draft);
          for (const [name, offset, length] of ranges) {
            const found = await store.get(key, { offset, length });
            assert.equal(compare(found, bytes.subarray(offset, offset + length)), 'equal', name);
          }
        });
      }

      it('get is null where there is nothing', async () => {
        assert.equal(await store.get(store.newKey()), null);
        assert.equal(await store.get(store.newKey(), { offset: 0, length: 1 }), null);
      });
    });

    describe('delete', () => {
      it('delete takes more than 1,000 keys, of which some are missing', async () => {
        const bytes = content.subarray(0, 10);
        const kept = store.newKey();
        await store.put(kept, bytes, digest(bytes));
        const there = Array.from({ length: 5 }, () => store.newKey());
        for (const key of there) await store.put(key, bytes, digest(bytes));
        const { draft } = await store.draft([2 * MiB, 2 * MiB], false);
        there.push(await store.finish(draft));
        const missing = Array.from({ length: 2100 }, () => store.newKey());
        assert.deepEqual(await store.delete([...there, ...missing, ...there]), []);
        for (const key of there) assert.deepEqual(await store.keysOf(key), []);
        assert.equal(compare(await store.get(kept), bytes), 'equal');
      });

      it('delete takes a list of no keys', async () => assert.deepEqual(await store.delete([]), []));
    });
  },
  { entry },
);

/** What R2 asks of parts, but for what the layer under the store checks when they are put together. */
function checkParts({ parts, tail, multipart }: AppendAnswer, total: number, whole: number): void {
  assert.deepEqual(parts, Array(whole).fill(PART), 'every part is whole');
  assert.equal(multipart, whole > 0);
  if (total < PART) assert.equal(multipart, false, 'what is smaller than one part is no multipart upload');
  assert.ok(tail <= PART);
}

/** In words, for a difference of megabytes is nothing to print. */
function compare(found: Uint8Array | null, wanted: Uint8Array): string {
  if (found === null) return 'missing';
  if (found.length !== wanted.length) return `${found.length} bytes instead of ${wanted.length}`;
  return Buffer.compare(found, wanted) === 0 ? 'equal' : 'different';
}
