/** The text of a named token: `lsr_<id>_<secret>`. The prefix lets people and secret scanners recognise it. */
import { randomBytes } from 'node:crypto';
import { sha256 } from '../../oci/secret.ts';

const PREFIX = 'lsr';
const ID_BYTES = 8;
const SECRET_BYTES = 32;
const TOKEN = /^lsr_([0-9a-f]{16})_([\w-]{43})$/;

export function newToken(): { id: string; hash: string; text: string } {
  const id = randomBytes(ID_BYTES).toString('hex');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { id, hash: sha256(secret), text: `${PREFIX}_${id}_${secret}` };
}

/** Null for any other text. A fast hash is enough, because the secret has 256 random bits. */
export function parseToken(text: string): { id: string; hash: string } | null {
  const [, id, secret] = TOKEN.exec(text) ?? [];
  return id === undefined || secret === undefined ? null : { id, hash: sha256(secret) };
}

/** A typed name that is safe to log: of a token only its id is left. */
export function withoutSecrets(text: string): string {
  return text.replace(/lsr_([0-9a-f]{16})_[\w-]*/g, 'lsr_$1_...').replace(/eyJ[\w-]*\.[\w.-]*/g, '(a token)');
}
