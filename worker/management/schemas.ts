/** Schemas that several operations use: names, patterns, grants, times, pages. */
import * as z from 'zod/mini';
import { ACTIONS, type Grant, ROLES, type Role } from '../access/model.ts';
import { PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH } from '../auth/credentials/password.ts';
import {
  hasFewStars,
  isPattern,
  PATTERN_MAX_LENGTH,
  PATTERN_STARS_MAX,
  type Pattern,
} from '../oci/pattern.ts';

const MANAGEMENT_PAGE_DEFAULT = 100;
const MANAGEMENT_PAGE_MAX = 1000;
/** The farthest end that a token may be given. */
const TOKEN_EXPIRY_MAX_S = 10 * 366 * 24 * 3600;
/** Grants of one token or trust, groups of one user, networks of one policy, conditions of one trust. */
export const GRANTS_MAX = 100;

/** The names of users and tokens, also in the subjects of rules. */
export const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._@+-]{0,127}$/;
/** Groups may come from issuers, whose names contain other characters: `/team/leads`, `Acme Developers`. */
export const GROUP = /^(?! )[^\x00-\x1f\x7f,]{1,128}(?<! )$/;
const NAME_MESSAGE = 'is 1 to 128 of a-z A-Z 0-9 . _ @ + -, and begins with a letter or a digit';

export const name = z.string().check(z.regex(NAME, NAME_MESSAGE), z.meta({ examples: ['bob'] }));

export const password = z
  .string()
  .check(
    z.minLength(PASSWORD_MIN_LENGTH, `has at least ${PASSWORD_MIN_LENGTH} characters`),
    z.maxLength(PASSWORD_MAX_LENGTH, `has at most ${PASSWORD_MAX_LENGTH} characters`),
    z.meta({ format: 'password' }),
  );

export const role = z
  .enum(Object.keys(ROLES) as [Role, ...Role[]])
  .check(
    z.describe(
      'A reader pulls, a writer also pushes, a maintainer also deletes, an admin of ** also manages.',
    ),
  );

export const action = z.enum(ACTIONS);

export const fewStars = z.refine<string>(hasFewStars, `has more than ${PATTERN_STARS_MAX} stars`);

export const pattern = z
  .string()
  .check(
    z.maxLength(PATTERN_MAX_LENGTH),
    z.refine(
      isPattern,
      'is a pattern: a name in which * matches anything except a slash, and ** matches anything',
    ),
    fewStars,
    z.describe('`*` matches anything except a slash, `**` matches anything.'),
    z.meta({ examples: ['team-a/*'] }),
  ) as z.ZodMiniType<string, string> as z.ZodMiniType<Pattern, string>;

/** Limits a role to some tags; null for all tags. */
const tags = z
  ._default(z.nullable(pattern), null)
  .check(z.describe('The role then covers only tags that match the pattern. null for all tags.'));

export const grant = z.strictObject({ role, repositories: pattern, tags }) satisfies z.ZodMiniType<Grant>;

export const grants = z.array(grant).check(z.maxLength(GRANTS_MAX));

/** Times in responses. */
export const time = z.string().check(z.meta({ format: 'date-time', examples: ['2026-01-31T12:00:00.000Z'] }));

export function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

export const expiry = {
  expiresIn: z.optional(
    z
      .int()
      .check(
        z.gte(1),
        z.lte(TOKEN_EXPIRY_MAX_S),
        z.describe('Seconds from now. Without an expiry, the token works until it is deleted.'),
      ),
  ),
  expiresAt: z.optional(
    z.iso.datetime({ offset: true }).check(
      z.refine((text) => Date.parse(text) > Date.now(), 'lies in the past'),
      z.refine((text) => Date.parse(text) < Date.now() + TOKEN_EXPIRY_MAX_S * 1000, 'is too far away'),
    ),
  ),
};

/** Unix time, ms; null for never. */
export function expiryOf({
  expiresIn,
  expiresAt,
}: {
  expiresIn?: number | undefined;
  expiresAt?: string | undefined;
}): number | null {
  if (expiresIn !== undefined) return Date.now() + expiresIn * 1000;
  return expiresAt === undefined ? null : Date.parse(expiresAt);
}

export const onlyOneExpiry = z.refine<{ expiresIn?: unknown; expiresAt?: unknown }>(
  ({ expiresIn, expiresAt }) => expiresIn === undefined || expiresAt === undefined,
  { error: 'cannot be used together with expiresIn', path: ['expiresAt'] },
);

const count = z
  ._default(
    z.pipe(
      z.string().check(z.regex(/^\d{1,6}$/, 'is a whole number')),
      z.transform((text: string) => Math.min(Math.max(Number(text), 1), MANAGEMENT_PAGE_MAX)),
    ),
    MANAGEMENT_PAGE_DEFAULT,
  )
  .check(
    z.describe(
      `The maximum number of entries. Default ${MANAGEMENT_PAGE_DEFAULT}, at most ${MANAGEMENT_PAGE_MAX}.`,
    ),
  );

/** A name, or the name of a token behind that of its owner. */
export const KEY_MAX_LENGTH = 257;

/** Query parameters of a list. */
export const paged = {
  n: count,
  last: z.optional(
    z
      .string()
      .check(
        z.maxLength(KEY_MAX_LENGTH),
        z.describe('Only entries after this one. The Link header of the previous page contains it.'),
      ),
  ),
};

export function pageOf({ n, last }: { n: number; last?: string | undefined }): {
  count: number;
  last: string | null;
} {
  return { count: n, last: last ?? null };
}
