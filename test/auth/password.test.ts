/** The slow hash of passwords. The tests' Worker lowers its cost, so the cost of production is held here. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { hashPassword, verifyPassword } from '../../worker/auth/credentials/password.ts';

const PASSWORD = 'the password of a user';

it('a new password gets the cost that OWASP recommends: scrypt with N 2^14, r 8 and p 5', () => {
  assert.match(hashPassword(PASSWORD), /^scrypt\$16384\$8\$5\$[\w-]{22}\$[\w-]{43}$/);
});

it('a stored hash is checked with the cost that is written in it', async () => {
  // Node's scryptSync with N 2^10, r 8, p 1.
  const stored = 'scrypt$1024$8$1$c2FsdCBvZiBhIHRlc3Q$7P9xZ2zfpsXb7wkkIQOG7wJQQznwXIT_xkooA_2RO7w';
  assert.equal(await verifyPassword(PASSWORD, stored), true);
  assert.equal(await verifyPassword(`${PASSWORD}!`, stored), false);
  assert.equal(await verifyPassword(PASSWORD, stored.replace('$1024$', '$2048$')), false);
});
