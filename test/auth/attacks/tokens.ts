/** Authorization headers with tokens that are forged, or are tokens of another kind. */
import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';

/** What an attacker has to work with. */
export interface StolenCredentials {
  /** An access token of mallory's, for own/app. */
  access: string;
  /** An access token of the admin's for the victim's repository. */
  stolen: string;
  /** A login token. */
  login: string;
  /** A named token, and its id. */
  named: { text: string; id: string };
  /** An access token for the same by another registry, to its admin. */
  foreign: string;
  /** One of the same registry under another host. */
  elsewhere: string;
  /** The published key. */
  key: JsonWebKey;
}

type Forgery = [name: string, forge: (stolenCredentials: StolenCredentials) => string | Promise<string>];

const basic = (name: string, password: string) =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const payloadOf = ({ stolen }: StolenCredentials): JWTPayload => decodeJwt(stolen);
const kidOf = ({ stolen }: StolenCredentials) => decodeProtectedHeader(stolen).kid ?? '';
const partsOf = (token: string) => token.split('.') as [string, string, string];

async function signed(
  stolenCredentials: StolenCredentials,
  header: Record<string, unknown>,
  payload = payloadOf(stolenCredentials),
): Promise<string> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = header.jwk === 'own' ? { jwk: await exportJWK(publicKey) } : {};
  const full = { alg: 'ES256', typ: 'JWT', kid: kidOf(stolenCredentials), ...header, ...jwk };
  return new SignJWT(payload).setProtectedHeader(full).sign(privateKey);
}

async function byHmac(stolenCredentials: StolenCredentials, secret: string): Promise<string> {
  const header = { alg: 'HS256', typ: 'JWT', kid: kidOf(stolenCredentials) };
  return new SignJWT(payloadOf(stolenCredentials))
    .setProtectedHeader(header)
    .sign(new TextEncoder().encode(secret));
}

const pem = ({ key }: StolenCredentials) =>
  createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' }).toString();

const BEARERS: Forgery[] = [
  ['a token for another repository', ({ access }) => access],
  ['a login token', ({ login }) => login],
  ['a named token', ({ named }) => named.text],
  ['a password', () => 'the password of the admin'],
  ['a token of another registry', ({ foreign }) => foreign],
  ['a token for another host', ({ elsewhere }) => elsewhere],
  ...['none', 'None', 'NONE', ''].flatMap((alg): Forgery[] => [
    [
      `alg ${alg}, unsigned`,
      (stolenCredentials) =>
        `${part({ alg, typ: 'JWT', kid: kidOf(stolenCredentials) })}.${part(payloadOf(stolenCredentials))}.`,
    ],
    [
      `alg ${alg}, with a signature`,
      (stolenCredentials) =>
        `${part({ alg, typ: 'JWT', kid: kidOf(stolenCredentials) })}.${part(payloadOf(stolenCredentials))}.${partsOf(stolenCredentials.stolen)[2]}`,
    ],
  ]),
  [
    'HS256 by the published key, PEM',
    (stolenCredentials) => byHmac(stolenCredentials, pem(stolenCredentials)),
  ],
  [
    'HS256 by the published key, PEM trimmed',
    (stolenCredentials) => byHmac(stolenCredentials, pem(stolenCredentials).trim()),
  ],
  [
    'HS256 by the published key, JWK',
    (stolenCredentials) => byHmac(stolenCredentials, JSON.stringify(stolenCredentials.key)),
  ],
  [
    'HS256 by a coordinate',
    (stolenCredentials) => byHmac(stolenCredentials, String(stolenCredentials.key.x)),
  ],
  ['another key under our id', (stolenCredentials) => signed(stolenCredentials, {})],
  ['a key that the token brings', (stolenCredentials) => signed(stolenCredentials, { jwk: 'own' })],
  [
    'a key set that the token names',
    (stolenCredentials) => signed(stolenCredentials, { jku: 'http://127.0.0.1:9/jwks.json' }),
  ],
  [
    'a certificate that the token names',
    (stolenCredentials) => signed(stolenCredentials, { x5u: 'http://127.0.0.1:9/x', x5c: ['AA=='] }),
  ],
  ['a key id that is a path', (stolenCredentials) => signed(stolenCredentials, { kid: '../../../dev/null' })],
  ['a key id that is SQL', (stolenCredentials) => signed(stolenCredentials, { kid: "' OR 1=1 --" })],
  ['no key id', (stolenCredentials) => signed(stolenCredentials, { kid: undefined })],
  ['a critical extension', (stolenCredentials) => signed(stolenCredentials, { crit: ['b64'], b64: true })],
  ...['login+jwt', 'at+jwt', undefined].map(
    (typ): Forgery => [
      `typ ${typ}`,
      ({ stolen }) => {
        const [header, payload, signature] = partsOf(stolen);
        const changed = { ...JSON.parse(Buffer.from(header, 'base64url').toString()), typ };
        return `${part(changed)}.${payload}.${signature}`;
      },
    ],
  ),
  [
    'claims that are changed',
    (stolenCredentials) => {
      const [header, , signature] = partsOf(stolenCredentials.access);
      return `${header}.${part({ ...decodeJwt(stolenCredentials.access), access: payloadOf(stolenCredentials).access })}.${signature}`;
    },
  ],
  [
    'a signature of zeros',
    ({ stolen }) => `${partsOf(stolen).slice(0, 2).join('.')}.${Buffer.alloc(64).toString('base64url')}`,
  ],
  ['no signature', ({ stolen }) => `${partsOf(stolen).slice(0, 2).join('.')}.`],
  ['two parts', ({ stolen }) => partsOf(stolen).slice(0, 2).join('.')],
  ['five parts', ({ stolen }) => `${stolen}.${partsOf(stolen).slice(0, 2).join('.')}`],
  ['JSON serialization', ({ stolen }) => part({ payload: partsOf(stolen)[1], signatures: [] })],
  ['nothing', () => ''],
  ['dots', () => '..'],
];

const PASSWORDS: [name: string, make: (stolenCredentials: StolenCredentials) => string][] = [
  ['an access token as password', ({ stolen }) => basic('admin', stolen)],
  ['an access token as name', ({ stolen }) => basic(stolen, '')],
  ['a named token as name', ({ named }) => basic(named.text, '')],
  ['a named token as name and password half', ({ named }) => basic(named.text, named.id)],
  ["a named token's id as name", ({ named }) => basic(named.id, named.id)],
  ["a named token's id as password", ({ named }) => basic('robot', named.id)],
  [
    "a named token's id with another secret",
    ({ named }) => basic('robot', `lsr_${named.id}_${'A'.repeat(43)}`),
  ],
  ['a named token in capitals', ({ named }) => basic('robot', named.text.toUpperCase())],
  ['a named token with more', ({ named }) => basic('robot', `${named.text}A`)],
  ['a named token with a line', ({ named }) => basic('robot', `${named.text}\n`)],
  ['the subject as name', () => basic('user:admin', 'the password of the admin')],
  ['the name in capitals', () => basic('ADMIN', 'the password of the admin')],
  ['the name with a space', () => basic('admin ', 'the password of the admin')],
  ['the name with a NUL', () => basic('admin\0', 'the password of the admin')],
  ['the password with a NUL', () => basic('admin', 'the password of the admin\0')],
  ['the password twice', () => basic('admin', 'the password of the adminthe password of the admin')],
  ['no password', () => basic('admin', '')],
  ['undefined', () => basic('admin', 'undefined')],
  ['no name', () => basic('', 'the password of the admin')],
];

export const FORGERIES: Forgery[] = [
  ...BEARERS.map(
    ([name, forge]): Forgery => [
      `Bearer: ${name}`,
      async (stolenCredentials) => `Bearer ${await forge(stolenCredentials)}`,
    ],
  ),
  ...PASSWORDS.map(([name, make]): Forgery => [`Basic: ${name}`, make]),
];
