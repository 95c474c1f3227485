/** The keys that sign tokens. They rotate automatically; this rotates them on demand. */
import * as z from 'zod/mini';
import { type Operation, operation } from './operation.ts';

const rotation = z.strictObject({
  dropOld: z
    ._default(z.boolean(), false)
    .check(z.describe('Revoke all tokens that were issued before, for a key that may have leaked.')),
});

export const KEYS: Operation[] = [
  operation({
    id: 'key.rotate',
    method: 'POST',
    path: '/keys/rotate',
    requires: 'admin',
    summary: 'Rotate the key that signs tokens',
    body: rotation,
    example: { dropOld: true },
    status: 204,
    run: async ({ body, accounts }) => {
      await accounts.rotateSigningKeys(body.dropOld);
      return { changed: body.dropOld ? 'old keys dropped' : 'old keys kept until their tokens end' };
    },
  }),
];
