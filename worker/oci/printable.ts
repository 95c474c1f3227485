/**
 * Texts of others on a terminal. Control characters move the cursor and recolour what stands there, marks of direction turn
 * lines around, and characters without width hide in names: they are shown as escapes.
 */

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** With every such character as `\u{9b}`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** The same for several lines. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** JSON that says the same, in which such characters are escaped, for programs that print what they were sent. */
export function escapedJson(value: unknown): string {
  return JSON.stringify(value).replace(UNPRINTABLE, (characters) =>
    characters.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}
