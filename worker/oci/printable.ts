/**
 * Untrusted text on a terminal. Control characters move the cursor and change colours, marks of direction reverse lines, and
 * characters without width are invisible in names. All are shown as escapes.
 */

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text with every such character as an escape: `\u{9b}`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** The same for several lines. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** JSON with such characters escaped, for programs that print it. */
export function escapedJson(value: unknown): string {
  return JSON.stringify(value).replace(UNPRINTABLE, (characters) =>
    characters.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}
