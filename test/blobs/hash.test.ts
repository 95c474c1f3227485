/**
 * Running hashes against the one of Node: whatever the pieces, and wherever the hash is saved and goes on. The digest of a
 * stream is workerd's own, and is held by the tests of the registry.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  dropHash,
  leaveHash,
  NativeHash,
  PortableHash,
  type RunningHash,
  resumeHash,
} from '../../worker/blobs/hash.ts';
import { ALGORITHMS } from '../../worker/oci/digest.ts';

const pieces = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 20 });

for (const algorithm of ALGORITHMS) {
  const digestOf = (bytes: Uint8Array) => `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;

  describe(`${algorithm}, natively`, () => {
    it(`the native hash of ${algorithm} gives the digest after every piece, and forks go their own ways`, () => {
      fc.assert(
        fc.property(pieces, fc.uint8Array(), (all, other) => {
          let hash: RunningHash = new NativeHash(algorithm);
          let sofar = Buffer.alloc(0);
          for (const piece of all) {
            const fork: RunningHash | null = hash.fork();
            assert.ok(fork !== null);
            hash.update(other); // What becomes of the one must not be seen by the other.
            hash = fork;
            hash.update(piece);
            sofar = Buffer.concat([sofar, piece]);
            assert.deepEqual(hash.save(), { digest: digestOf(sofar), state: null });
          }
        }),
      );
    });
  });

  describe(`${algorithm}, portably`, () => {
    it(`the portable hash of ${algorithm} gives the digest after every piece, and goes on from its state`, () => {
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 400 }), fc.boolean())), (steps) => {
          let hash = new PortableHash(algorithm, null);
          let sofar = Buffer.alloc(0);
          for (const [piece, moves] of steps) {
            hash.update(piece);
            sofar = Buffer.concat([sofar, piece]);
            const { digest, state } = hash.save();
            assert.equal(digest, digestOf(sofar));
            assert.ok(state !== null && state.length < 4096, 'the state fits a row');
            if (moves) hash = new PortableHash(algorithm, state);
          }
        }),
      );
    });

    for (const size of [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1_000_003]) {
      it(`the portable hash of ${algorithm} saves and goes on around ${size} bytes`, () => {
        const content = randomBytes(size + 77);
        const hash = new PortableHash(algorithm, null);
        hash.update(content.subarray(0, size));
        const saved = hash.save();
        assert.equal(saved.digest, digestOf(content.subarray(0, size)));
        const resumed = new PortableHash(algorithm, saved.state);
        for (const one of [hash, resumed]) {
          one.update(content.subarray(size));
          assert.equal(one.save().digest, digestOf(content));
        }
      });
    }

    it(`the portable hash of ${algorithm} refuses a malformed state`, () => {
      for (const text of ['', '{}', '[]', '{"words":null,"buffer":null}']) {
        assert.throws(() => new PortableHash(algorithm, new TextEncoder().encode(text)), text);
      }
    });
  });

  describe(`${algorithm}, from one request to the next`, () => {
    const at = { algorithm, saved: null, native: true };

    it(`the hash of ${algorithm} between two requests goes on natively where the isolate still has the hash`, () => {
      const first = resumeHash('upload-a', { ...at, offset: 0 });
      assert.ok(first instanceof NativeHash);
      first.update(Buffer.from('one'));
      leaveHash('upload-a', 3, first);
      first.update(Buffer.from('of a request that lost'));
      // Two requests may both go on from here; only one will be kept.
      for (const end of ['two', 'three']) {
        const next = resumeHash('upload-a', { ...at, offset: 3 });
        next?.update(Buffer.from(end));
        assert.equal(next?.save().digest, digestOf(Buffer.from(`one${end}`)));
      }
      dropHash('upload-a');
      assert.equal(resumeHash('upload-a', { ...at, offset: 3 }), null);
    });

    it(`the hash of ${algorithm} between two requests is lost where the upload stands elsewhere, or is of another algorithm`, () => {
      const hash = new NativeHash(algorithm);
      hash.update(Buffer.from('one'));
      leaveHash('upload-b', 3, hash);
      const other = ALGORITHMS.find((known) => known !== algorithm);
      assert.ok(other !== undefined);
      assert.equal(resumeHash('upload-b', { ...at, offset: 4 }), null);
      assert.equal(resumeHash('upload-b', { ...at, algorithm: other, offset: 3 }), null);
      assert.notEqual(resumeHash('upload-b', { ...at, offset: 3 }), null);
      dropHash('upload-b');
    });

    it(`the hash of ${algorithm} between two requests goes on from the saved state where the isolate has nothing`, () => {
      const hash = resumeHash('upload-c', { ...at, native: false, offset: 0 });
      assert.ok(hash instanceof PortableHash);
      hash.update(Buffer.from('one'));
      const saved = hash.save();
      const next = resumeHash('upload-c', { ...at, saved, offset: 3 });
      next?.update(Buffer.from('two'));
      assert.equal(next?.save().digest, digestOf(Buffer.from('onetwo')));
    });

    it(`an isolate keeps the ${algorithm} hashes of the last thousand uploads`, () => {
      const hash = new NativeHash(algorithm);
      for (let n = 0; n <= 1000; n++) leaveHash(`upload-${n}`, 1, hash);
      assert.equal(resumeHash('upload-0', { ...at, offset: 1 }), null);
      assert.notEqual(resumeHash('upload-1', { ...at, offset: 1 }), null);
      for (let n = 0; n <= 1000; n++) dropHash(`upload-${n}`);
    });
  });
}
