/**
 * Checks new passwords. Online guessing is slowed down, but a password on a list of common ones would still be found
 * soon. Stored passwords keep working. NIST SP 800-63B, section 5.1.1.2.
 */

import { isIn } from './bloom-filter.ts';
import { COMMON_PASSWORDS } from './common-passwords.ts';
import { PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH } from './password.ts';

/** The minimum length of a password without its guessable parts, and the minimum number of different characters. */
const REST_MIN_LENGTH = 6;
const COMMON_MAX_LENGTH = 20;
const DIFFERENT_MIN = 5;
/** The minimum length of a guessable sequence of neighbours in the alphabet or on a keyboard. */
const RUN_MIN_LENGTH = 4;
/** A single word of this length is guessable, whatever digits and signs surround it. */
const WORD_MIN_LENGTH = 4;
const WORD_MAX_LENGTH = 10;

const FORWARD = [
  'abcdefghijklmnopqrstuvwxyz',
  '01234567890',
  'qwertyuiop',
  'qwertzuiop',
  'azertyuiop',
  'asdfghjkl',
  'zxcvbnm',
  'yxcvbnm',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm',
];
const ORDERS = FORWARD.flatMap((order) => [order, [...order].reverse().join('')]);

/** Words that guesses often contain: common ones, and those of registries. Longer words come first. */
const WORDS = [
  'administrator',
  'kubernetes',
  'container',
  'longshore',
  'changeme',
  'iloveyou',
  'password',
  'passwort',
  'registry',
  'sunshine',
  'trustno1',
  'baseball',
  'football',
  'princess',
  'superman',
  'whatever',
  'default',
  'letmein',
  'welcome',
  'monkey',
  'dragon',
  'docker',
  'harbor',
  'master',
  'secret',
  'access',
  'abc123',
  'qazwsx',
  'admin',
  'guest',
  'hello',
  'login',
  'qwert',
  'summer',
  'winter',
  'spring',
  'autumn',
  'test',
  'user',
  'root',
  'pass',
];

/** Signs that often replace letters. */
const LEET: Record<string, string> = {
  '@': 'a',
  '4': 'a',
  '3': 'e',
  '1': 'i',
  '!': 'i',
  '0': 'o',
  $: 's',
  '5': 's',
  '7': 't',
};

/** Why a password is too weak, as the end of a sentence that begins with "the password". Null if it is not. */
export function weaknessOf(password: string, name: string): string | null {
  const text = password.normalize('NFKC');
  const length = [...text].length;
  if (length < PASSWORD_MIN_LENGTH) return `has at least ${PASSWORD_MIN_LENGTH} characters`;
  if (text.length > PASSWORD_MAX_LENGTH) return `has at most ${PASSWORD_MAX_LENGTH} characters`;
  const lower = text.toLowerCase();
  if (isCommon(lower)) return 'is on the lists that guessers try first: use several words, or a random one';
  if (new Set(lower).size < DIFFERENT_MIN || isRepeated(lower))
    return 'repeats the same characters: use several words, or a random one';
  if (isOneWord(text) || /^\d{1,19}$/.test(text))
    return 'is one word or number: use several words, or a random one';
  const rests = [lower, unleeted(lower)].map((form) => [...withoutGuessable(form, name)]);
  if (rests.some((rest) => rest.length < REST_MIN_LENGTH)) {
    return 'is made of a name, a common word or a sequence: use several words, or a random one';
  }
  return null;
}

/** Longer passwords are not on the list, so a match would be a false one. */
function isCommon(text: string): boolean {
  return text.length <= COMMON_MAX_LENGTH && isIn(Buffer.from(COMMON_PASSWORDS, 'base64'), text);
}

/** Whether a text is one unit repeated, such as `abcabcabcabc`. The last unit may be cut off. */
function isRepeated(text: string): boolean {
  for (let unit = 1; unit <= text.length / 2; unit++) {
    if (text.startsWith(text.slice(unit))) return true;
  }
  return false;
}

/** Whether a text is one word with digits on one side only, such as `Jennifer2024!!`. Random characters rarely are. */
function isOneWord(text: string): boolean {
  const [word = '', ...more] = text.match(/\p{L}+/gu) ?? [];
  const isWord = /^(?:\p{L}\p{Ll}*|\p{Lu}+)$/u.test(word) && !/[bcdfghjklmnpqrstvwxz]{5}/i.test(word);
  const isAmongDigits = /\p{N}.*\p{L}.*\p{N}/u.test(text);
  const hasLength = word.length >= WORD_MIN_LENGTH && word.length <= WORD_MAX_LENGTH;
  return hasLength && isWord && !isAmongDigits && more.length === 0 && !/\s/.test(text);
}

function unleeted(text: string): string {
  return [...text].map((character) => LEET[character] ?? character).join('');
}

/** The rest of a text without sequences, years, the user's name and common words. */
function withoutGuessable(text: string, name: string): string {
  const names = name
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((part) => part.length >= 3);
  let rest = withoutRuns(text).replace(/(?:19|20)\d\d/g, '');
  for (const word of [name.toLowerCase(), ...names, ...WORDS]) {
    if (word !== '') rest = rest.replaceAll(word, '');
  }
  return rest.replace(/(.)\1{2,}/gu, '');
}

function withoutRuns(text: string): string {
  let rest = '';
  for (let at = 0; at < text.length; ) {
    const end = endOfRun(text, at);
    if (end - at < RUN_MIN_LENGTH) rest += text[at++];
    else at = end;
  }
  return rest;
}

function endOfRun(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && ORDERS.some((order) => order.includes(text.slice(start, end + 1)))) end++;
  return end;
}
