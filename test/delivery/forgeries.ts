/**
 * What can be done to a signed URL by a client that wants other bytes, or the same for longer: a table of altered URLs. Each
 * row has a genuine one to begin with, and gives a request target.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';

/** A URL that the registry signed, taken apart. */
export interface Genuine {
  path: string;
  time: string;
  /** In base64. */
  mac: string;
  /** Path and query of the URL of a blob in another repository. */
  other: { path: string; query: string };
  /** A token that the registry signed for an upload. */
  uploadToken: string;
  /** What signs on this blob host. */
  secret: string;
}

export interface Forgery {
  name: string;
  forge(genuine: Genuine): string;
  /** It spells the genuine signature differently: a firewall rule that decodes it takes it, and we do not. */
  spelling?: true;
}

export function genuineOf(url: string, others: Pick<Genuine, 'other' | 'uploadToken' | 'secret'>): Genuine {
  const { origin } = new URL(url);
  const [, path, time, mac] = /^([^?]+)\?verify=(\d{10})-(.+)$/.exec(url.slice(origin.length)) ?? [];
  assert.ok(path !== undefined && time !== undefined && mac !== undefined, url);
  return { path, time, mac: decodeURIComponent(mac), ...others };
}

/** The target as the registry would write it, but for what is given. */
export function target(
  genuine: Genuine,
  altered: Partial<Pick<Genuine, 'path' | 'time' | 'mac'>> = {},
): string {
  const { path, time, mac } = { ...genuine, ...altered };
  return `${path}?verify=${time}-${encodeURIComponent(mac)}`;
}

/** Rows that alter one part, and write the rest as it was. */
function altered(
  part: 'path' | 'time' | 'mac',
  rows: [name: string, alter: (text: string, genuine: Genuine) => string][],
): Forgery[] {
  return rows.map(([name, alter]) => ({
    name: `${part}: ${name}`,
    forge: (genuine) => target(genuine, { [part]: alter(genuine[part], genuine) }),
  }));
}

function queries(rows: [name: string, query: (verify: string) => string][]): Forgery[] {
  return rows.map(([name, query]) => ({
    name: `query: ${name}`,
    forge: (genuine) => `${genuine.path}${query(target(genuine).slice(genuine.path.length + 1))}`,
  }));
}

const MAC_BYTES = 32;

const flips: Forgery[] = Array.from({ length: MAC_BYTES }, (_, index) => ({
  name: `mac: bit ${index % 8} of byte ${index} flipped`,
  forge: (genuine) => {
    const bytes = Buffer.from(genuine.mac, 'base64');
    bytes[index] = (bytes[index] ?? 0) ^ (1 << (index % 8));
    return target(genuine, { mac: bytes.toString('base64') });
  },
}));

const macs = altered('mac', [
  ['its first byte cut off', (mac) => Buffer.from(mac, 'base64').subarray(1).toString('base64')],
  ['its last byte cut off', (mac) => Buffer.from(mac, 'base64').subarray(0, -1).toString('base64')],
  ['a byte more', (mac) => Buffer.concat([Buffer.from(mac, 'base64'), Buffer.alloc(1)]).toString('base64')],
  ['zeros', () => Buffer.alloc(MAC_BYTES).toString('base64')],
  ['empty', () => ''],
  ['one character', () => 'A'],
  ['twice', (mac) => mac + mac],
  ['backwards', (mac) => Buffer.from(mac, 'base64').reverse().toString('base64')],
  ['in hexadecimal', (mac) => Buffer.from(mac, 'base64').toString('hex')],
  ['by an empty secret', (_, { path, time }) => macOf('', `${path}${time}`)],
  ['by a secret that was guessed', (_, { path, time }) => macOf('secret', `${path}${time}`)],
  ['by both secrets at once', (_, { path, time, secret }) => macOf(`${secret},${secret}`, `${path}${time}`)],
  ['over the path alone', (_, { path, secret }) => macOf(secret, path)],
  ['over the time before the path', (_, { path, time, secret }) => macOf(secret, `${time}${path}`)],
  ['over the query too', (_, { path, time, secret }) => macOf(secret, `${path}?verify=${time}`)],
  ['by SHA-1', (_, { path, time, secret }) => macOf(secret, `${path}${time}`, 'sha1')],
  ['by SHA-512', (_, { path, time, secret }) => macOf(secret, `${path}${time}`, 'sha512')],
  ['of an upload', (_, { uploadToken }) => uploadToken],
]);

const times = altered('time', [
  ['a second later', (time) => String(Number(time) + 1)],
  ['a second earlier', (time) => String(Number(time) - 1)],
  ['a window later', (time) => String(Number(time) + 300)],
  ['in the far future', () => '9999999999'],
  ['zero', () => '0000000000'],
  ['with a zero before it', (time) => `0${time}`],
  ['a digit short', (time) => time.slice(0, 9)],
  ['in milliseconds', (time) => `${time}000`],
  ['in hexadecimal', (time) => `0x${Number(time).toString(16)}`],
  ['with a sign', (time) => `+${time}`],
  ['with a fraction', (time) => `${time}.0`],
  ['with a space', (time) => `%20${time}`],
  [
    'in other digits',
    (time) => encodeURIComponent(time.replace(/\d/g, (digit) => String.fromCharCode(0x660 + Number(digit)))),
  ],
  ['none', () => ''],
]);

const paths = altered('path', [
  ['the blob of another repository', (_, { other }) => other.path],
  ['another last digit', (path) => path.slice(0, -1) + (path.endsWith('0') ? '1' : '0')],
  ['its last character cut off', (path) => path.slice(0, -1)],
  ['a character more', (path) => `${path}0`],
  ['a digit of the time moved into it', (path, { time }) => `${path}${time[0]}`],
  ['in capitals', (path) => path.toUpperCase()],
  ['a slash more at its end', (path) => `${path}/`],
  ['two slashes before it', (path) => `/${path}`],
  ['two slashes in it', (path) => path.replace(/\/(?=[^/]+$)/, '//')],
  ['the folder of the blob', (path) => path.slice(0, path.lastIndexOf('/'))],
  ['a folder up', (path) => `${path}/..`],
  ['a folder that is gone up from, but not far enough', (path) => `${path}/x/y/..`],
  ['a folder up, encoded', (path) => `${path}/%2e%2e/x`],
  ['a slash encoded', (path) => path.replace(/\/(?=[^/]+$)/, '%2F')],
  ['a letter encoded', (path) => path.replace(/s\/(?=[^/]+$)/, '%73/')],
  ['a NUL at its end', (path) => `${path}%00`],
  ['a space at its end', (path) => `${path}%20`],
  ['a dot at its end', (path) => `${path}.`],
  ['a parameter of the path', (path) => `${path};x=1`],
  ['an encoded question mark', (path) => `${path}%3Fx`],
  ['an encoded fragment', (path) => `${path}%23x`],
]);

const parameters = queries([
  ['none', () => ''],
  ['a question mark alone', () => '?'],
  ['an empty signature', () => '?verify='],
  ['a signature without a value', () => '?verify'],
  ['two question marks', (verify) => `??${verify}`],
  ['an ampersand for the question mark', (verify) => `&${verify}`],
  ['a parameter before it', (verify) => `?x=1&${verify}`],
  ['a parameter after it', (verify) => `?${verify}&x=1`],
  ['an ampersand after it', (verify) => `?${verify}&`],
  ['an ampersand before it', (verify) => `?&${verify}`],
  ['a semicolon after it', (verify) => `?${verify};x=1`],
  ['what would be a fragment, encoded', (verify) => `?${verify}%23x`],
  ['the signature twice', (verify) => `?${verify}&${verify}`],
  ['another signature after it', (verify) => `?${verify}&verify=1700000000-AAAA`],
  ['another signature before it', (verify) => `?verify=1700000000-AAAA&${verify}`],
  ['no name', (verify) => `?${verify.replace('verify=', '')}`],
  ['a name with brackets', (verify) => `?${verify.replace('verify', 'verify[]')}`],
  ['no dash', (verify) => `?${verify.replace('-', '')}`],
  ['two dashes', (verify) => `?${verify.replace('-', '--')}`],
  ['a line break after it', (verify) => `?${verify}%0A`],
  ['a space after it', (verify) => `?${verify}%20`],
  ['a NUL after it', (verify) => `?${verify}%00`],
  ['half of an encoding after it', (verify) => `?${verify}%`],
  ['what no encoding is after it', (verify) => `?${verify}%zz`],
  ['encoded twice', (verify) => `?${verify.replaceAll('%', '%25')}`],
]);

/** The same signature in other words: nothing is gained by them, but caches would keep each apart. */
const encodings = [
  ...altered('mac', [
    ['for URLs', (mac) => Buffer.from(mac, 'base64').toString('base64url')],
    ['without its padding', (mac) => mac.replace('=', '')],
    ['with more padding', (mac) => `${mac}=`],
    [
      'with bits in the padding that mean nothing',
      (mac) => mac.replace(/.=$/, (end) => `${next(end.charAt(0))}=`),
    ],
  ]),
  ...queries([
    ['another name of the same length', (verify) => `?${verify.replace('verify', 'verifx')}`],
    ['the name in capitals', (verify) => `?${verify.replace('verify', 'VERIFY')}`],
    ['a letter of the name encoded', (verify) => `?${verify.replace('verify', '%76erify')}`],
    ['a padding that is not encoded', (verify) => `?${verify.replace(/%3D$/, '=')}`],
    ['hexadecimal digits in lower case', (verify) => `?${verify.replace(/%3D$/, '%3d')}`],
    ['a dash that is encoded', (verify) => `?${verify.replace('-', '%2D')}`],
    ['a digit that is encoded', (verify) => `?${verify.replace('=1', '=%31')}`],
    [
      'a letter of the mac that is encoded',
      (verify) =>
        `?${verify.replace(/[A-Za-z](?=%3D$)|\d(?=%3D$)/, (letter) => `%${letter.charCodeAt(0).toString(16)}`)}`,
    ],
  ]),
].map((row): Forgery => ({ ...row, spelling: true }));

/** What RFC 3986 and every URL parser take for the genuine path, so that nothing is altered. */
export const equivalents: Forgery[] = [
  ...altered('path', [
    ['a dot before it', (path) => `/.${path}`],
    ['a folder before it, that is gone up from', (path) => `/x/..${path}`],
    ['a dot in it', (path) => path.replace(/^\/[^/]+/, (folder) => `${folder}/.`)],
    ['an encoded dot in it', (path) => path.replace(/^\/[^/]+/, (folder) => `${folder}/%2e`)],
    [
      'a folder in it, that is gone up from',
      (path) => path.replace(/^\/[^/]+/, (folder) => `${folder}/x/%2E.`),
    ],
    ['backslashes', (path) => path.replaceAll('/', '\\')],
  ]),
  ...queries([['a fragment, which is no part of a request', (verify) => `?${verify}#x`]]),
];

export const forgeries: Forgery[] = [...flips, ...macs, ...times, ...paths, ...parameters, ...encodings];

/** Of four characters of base64 that stand for the same last bits, the next. */
function next(character: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  return alphabet.charAt(alphabet.indexOf(character) ^ 1);
}

function macOf(secret: string, message: string, algorithm = 'sha256'): string {
  return createHmac(algorithm, secret).update(message).digest('base64');
}
