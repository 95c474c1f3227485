/** Trusts: issuers of OpenID Connect tokens, such as CI systems. Tokens that meet the conditions get the grants. */
import * as z from 'zod/mini';
import { isIssuer } from '../access/issuer-url.ts';
import type { Trust } from '../access/model.ts';
import { isPrivate, PRIVATE } from '../auth/openid/issuer.ts';
import { OciError } from '../oci/errors.ts';
import { isPattern, PATTERN_MAX_LENGTH } from '../oci/pattern.ts';
import { type Operation, operation } from './operation.ts';
import { fewStars, GRANTS_MAX, KEY_MAX_LENGTH, name, role } from './schemas.ts';

const template = z
  .string()
  .check(
    z.maxLength(PATTERN_MAX_LENGTH),
    z.refine(isTemplate, 'is a pattern, which may contain {claim} or {claim_name}'),
    fewStars,
    z.describe(
      'A pattern. `{claim}` is replaced by the value of a claim, `{claim_name}` by the part after its last slash.',
    ),
    z.meta({ examples: ['acme/{repository_name}'] }),
  );

const grants = z
  .array(z.strictObject({ role, repositories: template, tags: z._default(z.nullable(template), null) }))
  .check(z.minLength(1, 'is empty: add at least one grant'), z.maxLength(GRANTS_MAX));

const conditions = z
  .record(
    z.string().check(z.regex(/^[\w./:-]{1,128}$/, 'is not a name of a claim')),
    z
      .string()
      .check(
        z.minLength(1),
        z.maxLength(PATTERN_MAX_LENGTH),
        z.regex(/^\P{Cc}+$/u, 'is not a pattern'),
        fewStars,
      ),
  )
  .check(
    z.refine(
      (all) => Object.values(all).some((wanted) => !/^\**$/.test(wanted)),
      'an issuer such as GitHub signs for everybody: name a claim that tells yours from theirs, such as {"repository": "acme/*"}',
    ),
    z.refine((all) => Object.keys(all).length <= GRANTS_MAX, `has at most ${GRANTS_MAX} claims`),
    z.describe('Claim -> pattern that its value must match. All conditions must hold.'),
    z.meta({ examples: [{ repository: 'acme/*' }] }),
  );

/** A key set with private or symmetric keys would not be public. */
const jwks = z
  .object({ keys: z.array(z.record(z.string(), z.unknown())).check(z.minLength(1), z.maxLength(GRANTS_MAX)) })
  .check(
    z.refine(
      ({ keys }) =>
        keys.every((key) => (key.kty === 'RSA' || key.kty === 'EC' || key.kty === 'OKP') && !('d' in key)),
      'must be a set of public keys (RSA, EC, OKP) without private members',
    ),
    z.describe('The key set of an issuer that the registry cannot reach. By default it is fetched.'),
  );

const trust = z.object({
  id: z.string(),
  name,
  issuer: z.string(),
  audience: z.string(),
  conditions: z.record(z.string(), z.string()),
  grants,
  jwks: z.nullable(jwks),
});

const creation = z.strictObject({
  name,
  issuer: z
    .string()
    .check(
      z.maxLength(1024),
      z.refine(isIssuer, 'is an https URL without query (http only on loopback)'),
      z.meta({ examples: ['https://token.actions.githubusercontent.com'] }),
    ),
  audience: z
    .string()
    .check(z.minLength(1, 'is empty: a token for any audience would be accepted'), z.maxLength(1024)),
  conditions,
  grants,
  jwks: z.optional(jwks),
});

export const TRUSTS: Operation[] = [
  operation({
    id: 'trust.list',
    method: 'GET',
    path: '/trusts',
    requires: 'admin',
    summary: 'List trusts, by age',
    query: z.object({
      name: z.optional(
        z
          .string()
          .check(
            z.maxLength(KEY_MAX_LENGTH),
            z.describe('Only the trusts of which this is the name or the id.'),
          ),
      ),
    }),
    status: 200,
    answer: z.object({ trusts: z.array(trust) }),
    run: async ({ accounts, query }) => {
      const found = await (query.name === undefined
        ? accounts.listTrusts()
        : accounts.listTrustsNamed(query.name));
      return { body: { trusts: found.map(trustResponse) } };
    },
  }),
  operation({
    id: 'trust.create',
    method: 'POST',
    path: '/trusts',
    requires: 'admin',
    summary: 'Trust an issuer of OpenID Connect tokens, under conditions',
    body: creation,
    example: {
      name: 'github',
      issuer: 'https://token.actions.githubusercontent.com',
      audience: 'registry.example.com',
      conditions: { repository: 'acme/*' },
      grants: [{ role: 'writer', repositories: 'acme/{repository_name}' }],
    },
    status: 201,
    answer: trust,
    errors: { 409: 'There is a trust of this name.' },
    run: async ({ body, accounts, services }) => {
      const mayFetch = services.settings.allowsPrivateIssuers || !isPrivate(body.issuer);
      if (!mayFetch && body.jwks === undefined) {
        throw new OciError('INPUT_INVALID', {
          message: `issuer: ${PRIVATE}, or give its key set`,
          detail: [{ field: 'issuer', message: PRIVATE }],
        });
      }
      const made = await accounts.createTrust({
        ...body,
        jwks: body.jwks === undefined ? null : JSON.stringify(body.jwks),
      });
      if (made !== 'name taken')
        return { body: trustResponse(made), changed: `${made.name}: ${made.issuer}` };
      throw new OciError('CONFLICT', { message: `there is a trust ${body.name} already` });
    },
  }),
  operation({
    id: 'trust.delete',
    method: 'DELETE',
    path: '/trusts/{id}',
    requires: 'admin',
    summary: 'Delete a trust',
    status: 204,
    errors: { 404: 'There is no trust of this id.' },
    run: async ({ named, accounts }) => {
      if (await accounts.deleteTrust(named)) return {};
      throw new OciError('NOT_FOUND', { message: 'there is no trust of this id' });
    },
  }),
];

function trustResponse({ jwks: keys, ...same }: Trust) {
  return { ...same, jwks: keys === null ? null : JSON.parse(keys) };
}

function isTemplate(text: string): boolean {
  return isPattern(text.replace(/\{[\w.:-]+\}/g, 'x'));
}
