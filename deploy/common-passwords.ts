// `node deploy/common-passwords.ts`: generates worker/auth/credentials/common-passwords.ts from the package popular-passwords.
// It keeps only passwords that are long enough to be allowed, as a Bloom filter, because the bundle must be small.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { BITS_PER_ENTRY, bitsOf } from '../worker/auth/credentials/bloom-filter.ts';
import { PASSWORD_MIN_LENGTH } from '../worker/auth/credentials/password.ts';

const require = createRequire(import.meta.url);
const list: string[] = require('popular-passwords');
const long = [...new Set(list.map((entry) => entry.normalize('NFKC').toLowerCase()))].filter(
  (entry) => entry.length >= PASSWORD_MIN_LENGTH,
);
const filter = Buffer.alloc(Math.ceil((long.length * BITS_PER_ENTRY) / 8));
for (const bit of long.flatMap((entry) => bitsOf(entry, filter.length))) {
  filter[bit >> 3] = (filter[bit >> 3] ?? 0) | (1 << (bit & 7));
}
const text = `/** Common passwords of ${PASSWORD_MIN_LENGTH} or more characters, as a Bloom filter. Made by deploy/common-passwords.ts: do not edit. */
export const COMMON_PASSWORDS =
  '${filter.toString('base64')}';
`;
writeFileSync(join(import.meta.dirname, '../worker/auth/credentials/common-passwords.ts'), text);
