/** What Accounts makes and remembers: its keys and their rotation, and the tokens that were exchanged. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { importJWK, jwtVerify, SignJWT } from 'jose';
import {
  SIGNING_KEY_KEPT_MS,
  SIGNING_KEY_LIFETIME_MS,
  SIGNING_KEY_PUBLISHED_MS,
} from '../../durable-objects/accounts/keys.ts';
import { EXPIRED_ROWS_AT_A_TIME } from '../../durable-objects/rows.ts';
import type { SigningKey } from '../../worker/access/model.ts';
import { CLOCK_SKEW_S } from '../../worker/oci/limits.ts';
import { eachHome } from '../support/homes.ts';
import { Accounts, AHEAD } from './calls.ts';

const DAY_MS = 24 * 3600 * 1000;

eachHome((home) => {
  const accounts = new Accounts(home);
  const now = AHEAD;
  beforeEach(async () => {
    await home.stopClock(now);
    for (const table of ['keys', 'signing_keys', 'consumed']) await accounts.rows(`DELETE FROM ${table}`);
  });

  describe('signing keys', () => {
    it('signing keys begin with one that signs at once, also for those who ask at the same time', async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => accounts.signingKeys()));
      const [keys = []] = answers;
      assert.equal(keys.length, 1);
      assert.equal(keys[0]?.signsFrom, now);
      for (const other of answers) assert.deepEqual(other, keys);
      await accounts.evict();
      assert.deepEqual(await accounts.signingKeys(), keys);
    });

    it('signing keys sign and verify, and what is published holds no secret', async () => {
      const [key] = await accounts.signingKeys();
      assert.ok(key !== undefined);
      assert.deepEqual(Object.keys(key.publicJwk).sort(), ['crv', 'kty', 'x', 'y']);
      const signed = await new SignJWT({ a: 1 })
        .setProtectedHeader({ alg: 'ES256' })
        .sign(await imported(key.privateJwk));
      const { payload } = await jwtVerify(signed, await imported(key.publicJwk));
      assert.equal(payload.a, 1);
    });

    it('signing keys follow one another: published first, then signing, then gone', async () => {
      const [first] = await accounts.signingKeys();
      const dueAt = now + SIGNING_KEY_LIFETIME_MS - SIGNING_KEY_PUBLISHED_MS;
      await home.stopClock(dueAt);
      assert.deepEqual(kids(await accounts.signingKeys()), [first?.kid]);
      await home.stopClock(dueAt + 1);
      const both = await Promise.all(Array.from({ length: 4 }, () => accounts.signingKeys()));
      const [, second] = both[0] ?? [];
      assert.equal(second?.signsFrom, dueAt + 1 + SIGNING_KEY_PUBLISHED_MS);
      for (const keys of both) assert.deepEqual(kids(keys), [first?.kid, second?.kid]);
      await home.stopClock((second?.signsFrom ?? 0) + SIGNING_KEY_KEPT_MS - 1);
      assert.deepEqual(kids(await accounts.signingKeys()), [first?.kid, second?.kid]);
      await home.stopClock((second?.signsFrom ?? 0) + SIGNING_KEY_KEPT_MS);
      assert.deepEqual(kids(await accounts.signingKeys()), [second?.kid]);
    });

    it('signing keys are replaced at once where the clock was far ahead when they were made', async () => {
      await home.stopClock(now + 400 * DAY_MS);
      const [early] = await accounts.signingKeys();
      await home.stopClock(now);
      const keys = await accounts.signingKeys();
      assert.deepEqual([keys.length, keys[0]?.signsFrom], [1, now]);
      assert.notEqual(keys[0]?.kid, early?.kid);
      // They follow one another as if the clock had always been right.
      await home.stopClock(now + SIGNING_KEY_LIFETIME_MS);
      assert.equal((await accounts.signingKeys()).length, 2);
    });

    it('signing keys have one that signs now where the clock was a little ahead', async () => {
      await home.stopClock(now + DAY_MS);
      const [early] = await accounts.signingKeys();
      await home.stopClock(now);
      const keys = await accounts.signingKeys();
      assert.deepEqual(
        keys.map(({ signsFrom }) => signsFrom),
        [now, early?.signsFrom],
      );
    });

    it('signing keys that were not asked for in a year go on until a new one signs', async () => {
      const [first] = await accounts.signingKeys();
      await home.stopClock(now + 365 * DAY_MS);
      const [old, next, ...others] = await accounts.signingKeys();
      assert.deepEqual(
        [old?.kid, next?.signsFrom, others],
        [first?.kid, now + 365 * DAY_MS + SIGNING_KEY_PUBLISHED_MS, []],
      );
    });
  });

  it('secrets of each purpose stay, and differ from each other', async () => {
    const upload = await accounts.call('secret', 'upload');
    assert.equal(Object.keys(upload as object).length, 32);
    assert.notDeepEqual(await accounts.call('secret', 'blob-url'), upload);
    await accounts.evict();
    assert.deepEqual(await accounts.call('secret', 'upload'), upload);
  });

  describe('a token that was exchanged', () => {
    it('a token that was exchanged is taken once, also of those who come at the same time, and after eviction', async () => {
      const consume = () => accounts.call<boolean>('consume', 'issuer 1', now + DAY_MS);
      const answers = await Promise.all([consume(), consume(), consume()]);
      assert.deepEqual(answers.sort(), [false, false, true]);
      await accounts.evict();
      assert.equal(await consume(), false);
      assert.equal(await accounts.call('consume', 'issuer 2', now + DAY_MS), true);
    });

    it('a token that was exchanged is refused after its end, and forgotten in batches', async () => {
      assert.equal(await accounts.call('consume', 'old', now - CLOCK_SKEW_S * 1000), false);
      assert.equal(await accounts.call('consume', 'just', now), true);
      await accounts.rows(`WITH RECURSIVE made (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < ${EXPIRED_ROWS_AT_A_TIME + 5})
        INSERT INTO consumed SELECT 'made ' || n, ${now} FROM made RETURNING 1`);
      await accounts.call('consume', 'later', now + 2 * DAY_MS);
      await home.stopClock(now + DAY_MS);
      assert.ok((await accounts.ringAll()) >= 2);
      assert.deepEqual(await accounts.rows('SELECT id FROM consumed'), [{ id: 'later' }]);
      await home.stopClock(now + 3 * DAY_MS);
      assert.equal(await accounts.ringAll(), 1);
      assert.deepEqual(await accounts.rows('SELECT id FROM consumed'), []);
    });
  });
});

function kids(keys: SigningKey[]): (string | undefined)[] {
  return keys.map(({ kid }) => kid);
}

function imported(jwk: JsonWebKey): ReturnType<typeof importJWK> {
  return importJWK(jwk as Parameters<typeof importJWK>[0], 'ES256');
}
