/**
 * Patterns of repository names and tags: `*` matches any text without a slash, `**` any text, and every other character itself.
 * `team-a/*` matches the names directly below team-a, and `**` matches every name.
 */
import QuickLRU from 'quick-lru';

/** A pattern of names. */
export const PATTERN_MAX_LENGTH = 255;
/** Stars in a pattern, where `**` is one. */
export const PATTERN_STARS_MAX = 8;
/** Compiled patterns that an isolate keeps. The longest take about 2 KB each. */
export const PATTERNS_COMPILED = 500;

declare const brand: unique symbol;
export type Pattern = string & { readonly [brand]: 'Pattern' };

const PATTERN = /^[A-Za-z0-9._/*-]+$/;
const STARS = /\*+/g;

export const EVERYTHING = '**' as Pattern;

export function hasFewStars(text: string): boolean {
  return (text.match(STARS)?.length ?? 0) <= PATTERN_STARS_MAX;
}

/** The number of stars is checked where a pattern is created (`hasFewStars`). Patterns of an earlier release may have more. */
export function isPattern(text: string): text is Pattern {
  return PATTERN.test(text) && text.length <= PATTERN_MAX_LENGTH && !text.includes('***');
}

/** In time that grows with the name: `matching.steps` counts. */
export function matches(pattern: Pattern, name: string): boolean {
  const star = pattern.indexOf('*');
  if (star < 0) return pattern === name;
  if (!name.startsWith(pattern.slice(0, star))) return false;
  return pattern === EVERYTHING || compiled(pattern).test(name);
}

/** The text that every matching name begins with. */
export function literalPrefix(pattern: Pattern): string {
  const star = pattern.indexOf('*');
  return star < 0 ? pattern : pattern.slice(0, star);
}

/** True where of each list a pattern matches: of no lists, always. */
export function matchesEach(lists: Pattern[][], name: string): boolean {
  return lists.every((patterns) => patterns.some((pattern) => matches(pattern, name)));
}

/** What matching has cost in this isolate: words of 32 positions, one for each character that was looked at. */
export const matching = { steps: 0 };

const WORD_BITS = 32;
const SLASH = 47;

/**
 * A pattern as an automaton. Position i means that i literal characters have been matched; a star in front of the next one
 * keeps the position. All positions are followed at once, as bits ("Shift-And", Baeza-Yates and Gonnet 1992), so no input
 * makes it go back.
 */
class Matcher {
  /** Of each character, the positions that it leads on from. */
  readonly #literals = new Map<number, Uint32Array>();
  /** Positions that any text keeps, and those that any text without a slash keeps. */
  readonly #anything: Uint32Array;
  readonly #segment: Uint32Array;
  readonly #words: number;
  readonly #end: number;

  constructor(pattern: string) {
    this.#end = pattern.replace(STARS, '').length;
    this.#words = Math.floor(this.#end / WORD_BITS) + 1;
    this.#anything = new Uint32Array(this.#words);
    this.#segment = new Uint32Array(this.#words);
    let position = 0;
    for (const [part] of pattern.matchAll(/\*+|[^*]/g)) {
      if (part.startsWith('**')) set(this.#anything, position);
      else if (part === '*') set(this.#segment, position);
      else {
        const code = part.charCodeAt(0);
        const from = this.#literals.get(code) ?? new Uint32Array(this.#words);
        set(from, position++);
        this.#literals.set(code, from);
      }
    }
  }

  test(name: string): boolean {
    const at = new Uint32Array(this.#words);
    at[0] = 1;
    for (let i = 0; i < name.length; i++) {
      matching.steps += this.#words;
      const code = name.charCodeAt(i);
      if (!this.#advance(at, code)) return false;
    }
    return has(at, this.#end);
  }

  /** False where no position is left. */
  #advance(at: Uint32Array, code: number): boolean {
    const literal = this.#literals.get(code);
    let carry = 0;
    let left = 0;
    for (let word = 0; word < this.#words; word++) {
      const here = at[word] ?? 0;
      const kept = (this.#anything[word] ?? 0) | (code === SLASH ? 0 : (this.#segment[word] ?? 0));
      const moved = here & (literal?.[word] ?? 0);
      const next = (here & kept) | (moved << 1) | carry;
      carry = moved >>> (WORD_BITS - 1);
      at[word] = next;
      left |= next;
    }
    return left !== 0;
  }
}

function set(bits: Uint32Array, position: number): void {
  const word = Math.floor(position / WORD_BITS);
  bits[word] = (bits[word] ?? 0) | (1 << (position % WORD_BITS));
}

function has(bits: Uint32Array, position: number): boolean {
  return (((bits[Math.floor(position / WORD_BITS)] ?? 0) >>> (position % WORD_BITS)) & 1) === 1;
}

const matchers = new QuickLRU<string, Matcher>({ maxSize: PATTERNS_COMPILED });

function compiled(pattern: string): Matcher {
  const known = matchers.get(pattern);
  if (known !== undefined) return known;
  const made = new Matcher(pattern);
  matchers.set(pattern, made);
  return made;
}
