/** Explains what the trusts of an issuer make of the claims of a token, and what the token may then do. */
import * as z from 'zod/mini';
import type { Identity } from '../access/decide.ts';
import type { Rule, Trust } from '../access/model.ts';
import { NO_CREDENTIALS } from '../auth/credentials/authenticator.ts';
import { claimProblems } from '../auth/openid/assertion.ts';
import {
  type Claims,
  conditionsOf,
  type FilledGrant,
  filledGrants,
  unmet,
} from '../auth/openid/trust-claims.ts';
import { givesNothing, subjectOf } from '../auth/openid/trusts.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Stub } from '../stubs.ts';
import { decision, decisionOf, repository } from './explain-decision.ts';
import { type Operation, operation } from './operation.ts';
import { action, role } from './schemas.ts';

/** The issuers of other trusts that a message names, and the values of a claim that an answer has. */
const TOLD_MAX = 10;
const TOLD_MAX_LENGTH = 200;

const filledPatterns = z.object({ repositories: z.string(), tags: z.nullable(z.string()) });

const explainedTrust = z.object({
  id: z.string(),
  name: z.string(),
  isUsed: z.boolean().check(z.describe('It accepts the claims, so its grants apply.')),
  why: z.nullable(z.string()).check(z.describe('Why it does not accept the claims.')),
  conditions: z.array(
    z.object({
      claim: z.string(),
      wanted: z.string().check(z.describe('The value or the pattern that the claim must match.')),
      values: z.array(z.string()).check(z.describe('The values of the claim. Empty if the token lacks it.')),
      isMet: z.boolean(),
      why: z.nullable(z.string()),
    }),
  ),
  grants: z.array(
    z.object({
      role,
      repositories: z.string(),
      tags: z.nullable(z.string()),
      filled: z.nullable(filledPatterns).check(z.describe('The grant with the values of the claims.')),
      why: z.nullable(z.string()).check(z.describe('Why it cannot be filled, so that it gives nothing.')),
    }),
  ),
});

export const EXPLAIN_CLAIMS: Operation = operation({
  id: 'explain.claims',
  method: 'POST',
  path: '/explain',
  requires: 'admin',
  isRead: true,
  summary: 'Explain what the trusts make of the claims of a token, and what it may do',
  description:
    'Send the claims (the payload) of the token and not the token itself: nothing is verified. The claims are explained for the time when the token was issued.',
  body: z.strictObject({ claims: z.record(z.string(), z.unknown()), repository, action }),
  example: {
    claims: {
      iss: 'https://token.actions.githubusercontent.com',
      aud: 'registry.example.com',
      sub: 'repo:acme/api:ref:refs/heads/main',
      repository: 'acme/api',
      iat: 1_790_000_000,
      exp: 1_790_000_300,
    },
    repository: 'acme/api',
    action: 'push',
  },
  status: 200,
  answer: z.object({
    issuer: z.nullable(z.string()),
    subject: z
      .nullable(z.string())
      .check(z.describe('The identity that the token gives. null if no trust accepts it.')),
    ...decision.shape,
    problems: z.array(z.string()).check(z.describe('Why the token is refused, whatever the trusts say.')),
    notes: z.array(z.string()).check(z.describe('What the explanation does not cover.')),
    trusts: z.array(explainedTrust).check(z.describe('The trusts in the issuer of the token.')),
  }),
  run: async ({ body, accounts, services }) => {
    const { claims, action: wanted } = body;
    const name = parseRepositoryName(body.repository);
    const issuer = typeof claims.iss === 'string' ? claims.iss : null;
    const lookup = await accounts.lookup({ ...NO_CREDENTIALS, issuer });
    const outcomes = lookup.trusts.map((trust) => outcomeOf(trust, claims));
    const problems = claimProblems(claims, issuedAt(claims));
    const [used] = problems.length > 0 ? [] : outcomes.filter(({ why }) => why === null);
    const subject = used === undefined ? null : subjectOf(used.trust, String(claims.sub));
    const result =
      subject === null
        ? refusal(problems.length > 0 ? problems.map(ofToken) : await whyNone(outcomes, issuer, accounts))
        : await decisionOf(
            identityOf(subject, outcomes, lookup.rules, lookup),
            name,
            wanted,
            services.registry,
          );
    return {
      body: {
        issuer,
        subject,
        repository: name,
        action: wanted,
        ...result,
        problems,
        notes: notesOf(claims, problems),
        trusts: outcomes.map((outcome) => explained(outcome, claims, problems)),
      },
    };
  },
});

interface Outcome {
  trust: Trust;
  grants: FilledGrant[];
  /** Why the trust does not accept the claims; null if it does. */
  why: string | null;
}

function outcomeOf(trust: Trust, claims: Claims): Outcome {
  const grants = filledGrants(trust, claims);
  const nothing = grants.some((one) => 'rule' in one) ? null : givesNothing(trust, grants);
  return { trust, grants, why: unmet(trust, claims) ?? nothing };
}

/** The identity that the login of the token would have: all trusts that accept it give their rules together. */
function identityOf(
  subject: string,
  outcomes: Outcome[],
  rulesForAll: Rule[],
  { policies, revision }: Pick<Identity, 'policies' | 'revision'>,
): Identity {
  const own = outcomes
    .filter(({ why }) => why === null)
    .flatMap(({ grants }) => grants.flatMap((one) => ('rule' in one ? [one.rule] : [])));
  return { subject, rules: [...own, ...rulesForAll], limits: null, policies, revision };
}

function refusal(reasons: string[]) {
  const why = [...new Set(reasons)].slice(0, TOLD_MAX).join('; ');
  return { allowed: false, why, tags: null, networks: null, certificates: null };
}

function ofToken(problem: string): string {
  return `the token is refused: ${problem}`;
}

async function whyNone(
  outcomes: Outcome[],
  issuer: string | null,
  accounts: Stub<AccountsObject>,
): Promise<string[]> {
  if (outcomes.length > 0) return outcomes.map(({ trust, why }) => `${why} (trust ${trust.name})`);
  const others = [...new Set((await accounts.listTrusts()).map((trust) => trust.issuer))];
  const told = others.slice(0, TOLD_MAX).join(', ');
  return [`no trust has the issuer ${issuer}${told === '' ? '' : `. There are trusts in ${told}`}`];
}

/** When the token was issued. A token that failed in a CI job has expired when an admin looks at it. */
function issuedAt({ iat }: Claims): Date {
  return new Date(typeof iat === 'number' ? iat * 1000 : Date.now());
}

function notesOf(claims: Claims, problems: string[]): string[] {
  const now = problems.length > 0 ? [] : claimProblems(claims, new Date(Date.now()));
  return [
    ...now.map((problem) => `${problem}: the registry refuses it now. This explains the time of its issue`),
    'the signature, its algorithm and its key were not checked',
  ];
}

function explained({ trust, grants, why }: Outcome, claims: Claims, problems: string[]) {
  return {
    id: trust.id,
    name: trust.name,
    isUsed: why === null && problems.length === 0,
    why,
    conditions: conditionsOf(trust, claims).map(({ values, why: reason, ...same }) => ({
      ...same,
      values: values.slice(0, TOLD_MAX).map((value) => value.slice(0, TOLD_MAX_LENGTH)),
      isMet: reason === null,
      why: reason,
    })),
    grants: grants.map((one) => ({
      ...one.grant,
      filled: 'rule' in one ? { repositories: one.rule.repositories, tags: one.rule.tags } : null,
      why: 'why' in one ? one.why : null,
    })),
  };
}
