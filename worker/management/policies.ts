/**
 * Policies: conditions that must hold besides a role: networks, client certificates, and which repositories a push may
 * create.
 */
import * as z from 'zod/mini';
import { isNetwork } from '../oci/address.ts';
import { OciError } from '../oci/errors.ts';
import { type Operation, operation } from './operation.ts';
import { GRANTS_MAX, pattern } from './schemas.ts';

const networks = z
  .array(
    z
      .string()
      .check(
        z.maxLength(64),
        z.refine(isNetwork, 'is not a network or an address, such as 10.0.0.0/8 or 2001:db8::1'),
      ),
  )
  .check(z.minLength(1), z.maxLength(GRANTS_MAX));

const subjects = z
  .array(z.string().check(z.minLength(1), z.maxLength(1024)))
  .check(
    z.maxLength(GRANTS_MAX),
    z.describe('Distinguished names. An empty list takes any verified certificate.'),
  );

const KINDS = {
  networks: { kind: z.literal('networks'), repositories: pattern, networks },
  certificate: { kind: z.literal('certificate'), repositories: pattern, subjects: z._default(subjects, []) },
  create: { kind: z.literal('create'), repositories: pattern },
};

const creation = z.discriminatedUnion('kind', [
  z.strictObject(KINDS.networks),
  z.strictObject(KINDS.certificate),
  z.strictObject(KINDS.create),
]);

const id = z.string();

const policy = z.discriminatedUnion('kind', [
  z.object({ id, ...KINDS.networks }),
  z.object({ id, ...KINDS.certificate }),
  z.object({ id, ...KINDS.create }),
]);

export const POLICIES: Operation[] = [
  operation({
    id: 'policy.list',
    method: 'GET',
    path: '/policies',
    requires: 'admin',
    summary: 'List policies, by age',
    status: 200,
    answer: z.object({ policies: z.array(policy) }),
    run: async ({ accounts }) => ({ body: { policies: await accounts.listPolicies() } }),
  }),
  operation({
    id: 'policy.create',
    method: 'POST',
    path: '/policies',
    requires: 'admin',
    summary: 'Add a policy',
    description:
      'All policies of kind `networks` and `certificate` that match a repository must hold. If there are policies of kind `create`, a push creates only repositories that one of them matches.',
    body: creation,
    example: { kind: 'networks', repositories: 'internal/**', networks: ['10.0.0.0/8'] },
    status: 201,
    answer: policy,
    run: async ({ body, accounts }) => {
      const made = await accounts.createPolicy(body);
      return { body: made, changed: `${made.id}: ${made.kind} of ${made.repositories}` };
    },
  }),
  operation({
    id: 'policy.delete',
    method: 'DELETE',
    path: '/policies/{id}',
    requires: 'admin',
    summary: 'Delete a policy',
    status: 204,
    errors: { 404: 'There is no policy of this id.' },
    run: async ({ named, accounts }) => {
      if (await accounts.deletePolicy(named)) return {};
      throw new OciError('NOT_FOUND', { message: 'there is no policy of this id' });
    },
  }),
];
