/** What is remembered by tokens, which strangers can make long. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Remembered } from '../../worker/auth/tokens/remembered.ts';

const ROWS: { name: string; texts: string[]; kept: string[] }[] = [
  { name: 'all that fits', texts: ['aaaa', 'bbbb'], kept: ['aaaa', 'bbbb'] },
  { name: 'the last alone where there are too many', texts: ['a', 'b', 'c', 'd'], kept: ['d'] },
  { name: 'the last alone where all are too long together', texts: ['aaaaa', 'bbbbb', 'c'], kept: ['c'] },
  { name: 'one that comes again', texts: ['aaaaa', 'aaaaa', 'bbbbb'], kept: ['aaaaa', 'bbbbb'] },
];

for (const { name, texts, kept } of ROWS)
  it(`remembers ${name}`, () => {
    const remembered = new Remembered<string>(3, 10);
    for (const text of texts) remembered.set(text, text);
    assert.deepEqual(
      [...new Set(texts)].filter((text) => remembered.get(text) === text),
      kept,
    );
  });
