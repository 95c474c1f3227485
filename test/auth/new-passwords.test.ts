/** Which new passwords are taken, by the function that the management API, the command and ADMIN_PASSWORD share. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import { weaknessOf } from '../../worker/auth/credentials/new-password.ts';
import { PASSWORD_MIN_LENGTH } from '../../worker/auth/credentials/password.ts';

interface Row {
  name: string;
  passwords: string[];
  of?: string;
  want: RegExp | null;
}

const ROWS: Row[] = [
  {
    name: 'a password below 12 characters is refused',
    passwords: ['a', '12345678', 'Xk4.p-qZw9!'],
    want: /at least 12/,
  },
  { name: 'a password that is too long is refused', passwords: ['ab cd '.repeat(50)], want: /at most 256/ },
  {
    name: 'the name with digits or signs is refused',
    of: 'margarete',
    passwords: ['margarete123', 'Margarete-2024', 'margarete/margarete1'],
    want: /name|one word|repeats/,
  },
  {
    name: 'admin with digits or common words is refused',
    of: 'admin',
    passwords: ['Admin123456!', 'adminadmin12', 'admin-password', '4dm1n!P@ssw0rd'],
    want: /common|one word|name/,
  },
  {
    name: 'a repeated unit is refused',
    passwords: ['aaaaaaaaaaaa', 'abcabcabcabc', 'x7!x7!x7!x7!', 'correctcorrect'],
    want: /repeats/,
  },
  {
    name: 'a sequence is refused',
    passwords: ['abcdefghijkl', 'zyxwvutsrqpo', 'qwertz-asdfgh', 'lkjhgfdsa-mnbvcxz'],
    want: /sequence|lists/,
  },
  {
    name: 'one word with digits and signs is refused',
    passwords: ['Jennifer2024!', '2024jennifer!', '!!summer!!2024', '847261950384'],
    want: /one word/,
  },
  {
    name: 'random characters whose letters happen to stand together are taken',
    passwords: ['530987cbdfe5', '9071dbfc3385', '40718efabd92'],
    want: null,
  },
  {
    name: 'several words are taken',
    passwords: ['correct horse battery', 'quite another password', 'the password of bob'],
    of: 'bob',
    want: null,
  },
];

describe('a new password', () => {
  for (const { name, passwords, of = 'bob', want } of ROWS) {
    it(`new passwords: ${name}`, () => {
      for (const password of passwords) {
        const found = weaknessOf(password, of);
        if (want === null) assert.equal(found, null, password);
        else assert.match(found ?? 'nothing', want, password);
      }
    });
  }

  it('every common password of the list that is long enough is refused', () => {
    const list: string[] = createRequire(import.meta.url)('popular-passwords');
    const long = list.filter((entry) => [...entry.normalize('NFKC')].length >= PASSWORD_MIN_LENGTH);
    assert.ok(long.length > 3000);
    assert.deepEqual(
      long.filter((entry) => weaknessOf(entry.toUpperCase(), 'bob') === null && entry.length <= 20),
      [],
    );
  });

  it('a password that the command makes is taken', () => {
    for (let count = 0; count < 2000; count++) {
      const made = randomBytes(18).toString('base64url');
      assert.equal(weaknessOf(made, 'bob'), null, made);
    }
  });
});
