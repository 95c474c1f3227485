/**
 * Pull secrets: a robot that may pull, as a Kubernetes Secret. Kubernetes docs, "Pull an Image from a Private
 * Registry".
 */
import * as z from 'zod/mini';
import { originOf } from '../oci/origin.ts';
import { type Operation, operation } from './operation.ts';
import { expiry, expiryOf, GRANTS_MAX, grant, name, onlyOneExpiry, pattern } from './schemas.ts';
import { createToken } from './tokens.ts';

/** Labels and subdomains of RFC 1123. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

const reading = z.strictObject({ ...grant.shape, role: z.literal('reader') });

const creation = z
  .strictObject({
    name: name.check(z.describe('The name of the robot.')),
    namespace: z.optional(z.string().check(z.regex(LABEL, 'is not a name of a namespace'))),
    secretName: z.optional(
      z
        .string()
        .check(
          z.regex(SUBDOMAIN, 'is not a name of a Secret'),
          z.describe('By default `longshore-` and the name.'),
        ),
    ),
    repositories: z.optional(z.array(pattern).check(z.minLength(1), z.maxLength(GRANTS_MAX))),
    grants: z.optional(z.array(reading).check(z.minLength(1), z.maxLength(GRANTS_MAX))),
    ...expiry,
  })
  .check(
    onlyOneExpiry,
    z.refine(({ repositories, grants }) => (repositories === undefined) !== (grants === undefined), {
      error: 'says what may be pulled: give it, or grants, and not both',
      path: ['repositories'],
    }),
  );

const manifest = z.object({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: z.object({ name: z.string(), namespace: z.optional(z.string()) }),
  type: z.literal('kubernetes.io/dockerconfigjson'),
  data: z.object({ '.dockerconfigjson': z.string() }),
});

type Manifest = z.output<typeof manifest>;

export const PULL_SECRETS: Operation[] = [
  operation({
    id: 'pull-secret.create',
    method: 'POST',
    path: '/pull-secrets',
    requires: 'admin',
    summary: 'Create a robot that may pull, as a Kubernetes Secret',
    description:
      'The Secret is for the host of this request. It contains the token, which is returned only once.',
    body: creation,
    example: { name: 'cluster', namespace: 'default', repositories: ['team-a/*'] },
    status: 201,
    answer: manifest,
    types: ['application/yaml'],
    errors: { 409: 'There is a token of this name.' },
    run: async ({ body, request, ...input }) => {
      const grants =
        body.grants ??
        (body.repositories ?? []).map((repositories) => ({
          role: 'reader' as const,
          repositories,
          tags: null,
        }));
      const made = await createToken(input, {
        name: body.name,
        owner: null,
        grants,
        expiresAt: expiryOf(body),
      });
      const { host } = new URL(originOf(request));
      const secret: Manifest = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: {
          name: body.secretName ?? secretNameOf(body.name),
          ...(body.namespace === undefined ? {} : { namespace: body.namespace }),
        },
        type: 'kubernetes.io/dockerconfigjson',
        data: { '.dockerconfigjson': dockerConfig(host, made.name, made.token) },
      };
      const changed = `${made.name} (${made.id})`;
      const wantsYaml = /\bapplication\/yaml\b/.test(request.headers.get('Accept') ?? '');
      return wantsYaml
        ? { body: yaml(secret), type: 'application/yaml', changed }
        : { body: secret, changed };
    },
  }),
];

function dockerConfig(host: string, username: string, password: string): string {
  const auth = base64(`${username}:${password}`);
  return base64(JSON.stringify({ auths: { [host]: { username, password, auth } } }));
}

function secretNameOf(name: string): string {
  return `longshore-${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`.replace(/-+$/, '');
}

/** Every JSON string is a YAML string. */
function yaml({ apiVersion, kind, metadata, type, data }: Manifest): string {
  return [
    `apiVersion: ${apiVersion}`,
    `kind: ${kind}`,
    'metadata:',
    ...Object.entries(metadata).map(([key, value]) => `  ${key}: ${JSON.stringify(value)}`),
    `type: ${type}`,
    'data:',
    `  .dockerconfigjson: ${data['.dockerconfigjson']}`,
    '',
  ].join('\n');
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
