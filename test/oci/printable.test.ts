/** What reaches a terminal of texts that others wrote. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { table } from '../../cli/table.ts';
import { escapedJson, printable, printableLines } from '../../worker/oci/printable.ts';

const ROWS = [
  { name: 'an escape sequence', text: 'a\u001b[2Jb', want: 'a\\u{1b}[2Jb' },
  { name: 'U+009B, which starts one alone', text: 'a\u009b2Jb', want: 'a\\u{9b}2Jb' },
  { name: 'an override of the direction', text: 'a\u202egpj.exe', want: 'a\\u{202e}gpj.exe' },
  { name: 'an isolate', text: '\u2066a\u2069', want: '\\u{2066}a\\u{2069}' },
  { name: 'a space without width', text: 'a\u200bb\ufeff', want: 'a\\u{200b}b\\u{feff}' },
  { name: 'a separator of lines', text: 'a\u2028b', want: 'a\\u{2028}b' },
  { name: 'half of a pair', text: 'a\ud83d', want: 'a\\u{d83d}' },
  { name: 'a tag character', text: 'a\u{e0041}', want: 'a\\u{e0041}' },
  { name: 'other scripts and signs', text: 'żółw 漢字 🐢', want: 'żółw 漢字 🐢' },
];

describe('on a terminal', () => {
  for (const { name, text, want } of ROWS) {
    it(`${name} is ${text === want ? 'printed' : 'escaped'} on a terminal`, () => {
      assert.equal(printable(text), want);
      assert.equal(table([{ name: text }], ['name']), `NAME\n${want}\n`);
    });

    it(`${name} in JSON is ${text === want ? 'printed' : 'escaped'}, and read back as it was`, () => {
      assert.doesNotMatch(escapedJson({ text }), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      assert.deepEqual(JSON.parse(escapedJson({ text })), { text });
    });
  }

  it('lines stay lines on a terminal', () => assert.equal(printableLines('a\nb\r\n'), 'a\nb\\u{d}\n'));
});
