/** The OpenAPI 3.1 document, made from the table of operations. Its JSON Schemas are those that check the requests. */

import * as z from 'zod/mini';
import { ERRORS } from '../oci/errors.ts';
import { MANAGEMENT_BODY_MAX_BYTES } from './input.ts';
import type { Operation, Requirement } from './operation.ts';

type Json = Record<string, unknown>;

const TAGS: Record<string, string> = {
  me: 'Your own account and tokens.',
  users: 'Users and their groups.',
  tokens: 'Named tokens, of robots and of users.',
  'pull-secrets': 'Secrets for Kubernetes.',
  repositories: 'Repositories: what is kept, and for how long.',
  rules: 'Rules that give roles on repositories.',
  policies: 'Conditions that must hold besides a role.',
  trusts: 'Issuers of OpenID Connect tokens.',
  lifecycle:
    'Lifecycle policies: how long tags are kept, which tags may move, and how much repositories may hold.',
  usage: 'What repositories hold.',
  running: 'Images that clusters and hosts run.',
  keys: 'Keys that tokens are signed with.',
  audit: 'The audit log: who did what.',
  explain: 'Why an action is allowed or refused.',
  'direct-uploads': 'Uploads past the Worker, and probes of what the bucket enforces.',
  'openapi.json': 'This document.',
  'abandoned-uploads': 'What is left of layers that Cloudflare refused.',
  check: 'The consistency check: what the registry knows, and what is stored.',
};

const REQUIREMENTS: Record<Extract<Requirement, string>, string> = {
  admin: 'Needs the role `admin` on `**`.',
  credentials: 'Needs valid credentials of a user or a robot.',
  password: 'Needs the password of a user. Tokens are refused.',
  own: 'Needs the password of a user, or the token of a sign-in. A token may also revoke itself.',
  nothing: 'Needs no credentials.',
};

/** `server` is the URL of the API. */
export function document(operations: Operation[], server: string): Json {
  const paths: Record<string, Json> = {};
  for (const row of operations) {
    paths[row.path] ??= {};
    Object.assign(paths[row.path] ?? {}, { [row.method.toLowerCase()]: described(row) });
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Longshore management API',
      version: '1',
      description:
        'Manages who may do what with the registry. A secret is returned once, when it is created, and never listed.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: server }],
    security: [{ basic: [] }, { token: [] }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: {
        basic: {
          type: 'http',
          scheme: 'basic',
          description: 'User and password, or a named token as password.',
        },
        token: { type: 'http', scheme: 'bearer', description: 'A named token: `lsr_...`.' },
      },
      schemas: { Errors: errorSchema() },
    },
  };
}

function needs({ requires }: Operation): string {
  return typeof requires === 'string'
    ? REQUIREMENTS[requires]
    : `Needs ${requires.repository} on the repository.`;
}

function described(row: Operation): Json {
  const parameters = [...pathParameters(row.path), ...queryParameters(row.query)];
  return {
    operationId: row.id,
    tags: [row.path.split('/')[1]],
    summary: row.summary,
    description: [row.description, needs(row)].filter(Boolean).join(' '),
    ...(row.requires === 'nothing' ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(row.body === undefined ? {} : { requestBody: requestBody(row.body, row.example) }),
    responses: responses(row),
  };
}

function pathParameters(path: string): Json[] {
  const [, name] = /\{(\w+)\}/.exec(path) ?? [];
  return name === undefined ? [] : [{ name, in: 'path', required: true, schema: { type: 'string' } }];
}

function queryParameters(query: z.ZodMiniType | undefined): Json[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(query, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => {
    const { description, ...rest } = schema;
    const isRequired = required.includes(name);
    return { name, in: 'query', required: isRequired, ...(description ? { description } : {}), schema: rest };
  });
}

function requestBody(body: z.ZodMiniType, example: unknown): Json {
  return { required: true, content: { 'application/json': { schema: schemaOf(body, 'input'), example } } };
}

function responses(row: Operation): Json {
  const types = (row.types ?? []).map((type) => [type, { schema: { type: 'string' } }]);
  const json = row.answer === undefined ? { type: 'object' } : schemaOf(row.answer, 'output');
  const content = { 'application/json': { schema: json }, ...Object.fromEntries(types) };
  const errors: Record<number, string> = {
    ...(row.requires === 'nothing'
      ? {}
      : { 401: 'No credentials, or wrong credentials.', 429: 'Too many failed logins.' }),
    ...(row.requires === 'nothing' ? {} : { 403: needs(row) }),
    ...(typeof row.requires === 'string' ? {} : { 404: 'There is no such repository for the caller.' }),
    ...(row.query === undefined && row.body === undefined
      ? {}
      : { 400: 'The input is not valid; `detail` names the fields.' }),
    ...(row.body === undefined
      ? {}
      : {
          413: `The body has more than ${MANAGEMENT_BODY_MAX_BYTES} bytes.`,
          415: 'The body is not application/json.',
        }),
    ...row.errors,
  };
  return {
    [row.status]: row.status === 204 ? { description: 'Done.' } : { description: row.summary, content },
    ...Object.fromEntries(
      Object.entries(errors).map(([status, description]) => [
        status,
        { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Errors' } } } },
      ]),
    ),
  };
}

function errorSchema(): Json {
  const error = {
    type: 'object',
    properties: {
      code: { type: 'string', enum: Object.keys(ERRORS) },
      message: { type: 'string' },
      detail: {},
    },
    required: ['code', 'message'],
  };
  return { type: 'object', properties: { errors: { type: 'array', items: error } }, required: ['errors'] };
}

function schemaOf(schema: z.ZodMiniType, io: 'input' | 'output'): Json {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  return rest;
}
