/** The OpenAPI 3.1 document, made of the table of operations: its JSON Schemas are those that requests are checked by. */
import * as z from 'zod/mini';
import { ERRORS } from '../oci/errors.ts';
import { MANAGEMENT_BODY_MAX_BYTES } from '../oci/limits.ts';
import type { Operation } from './operation.ts';

type Json = Record<string, unknown>;

const TAGS: Record<string, string> = {
  me: 'What anybody can see and change about themselves.',
  users: 'People.',
  tokens: 'Named tokens, of robots and of users.',
  'pull-secrets': 'Kubernetes.',
  rules: 'Roles on repositories.',
  policies: 'What must hold besides a role.',
  trusts: 'Issuers of OpenID Connect tokens.',
  keys: 'Keys that tokens are signed with.',
  audit: 'Who did what.',
  explain: 'Why somebody may do something.',
  'openapi.json': 'This document.',
};

const WHO: Record<Operation['who'], string> = {
  admin: 'Needs the role `admin` on `**`.',
  user: 'For whoever has credentials.',
  password: 'For users who show their password, and not a token.',
  own: 'For users who show their password or the token of a sign-in; a token may revoke itself.',
  anybody: 'Needs no credentials.',
};

/** `server` is where the API is reached. */
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
        'Who may do what with the registry. A secret is told once, when it is made, and never listed.',
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
      schemas: { Errors: errors() },
    },
  };
}

function described(row: Operation): Json {
  const parameters = [...pathParameters(row.path), ...queryParameters(row.query)];
  return {
    operationId: row.id,
    tags: [row.path.split('/')[1]],
    summary: row.summary,
    description: [row.description, WHO[row.who]].filter(Boolean).join(' '),
    ...(row.who === 'anybody' ? { security: [] } : {}),
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
  const refusals: Record<number, string> = {
    ...(row.who === 'anybody'
      ? {}
      : { 401: 'No credentials, or wrong ones.', 429: 'Too many failed logins.' }),
    ...(row.who === 'anybody' ? {} : { 403: WHO[row.who] }),
    ...(row.query === undefined && row.body === undefined
      ? {}
      : { 400: 'What was sent is not valid; `detail` names the fields.' }),
    ...(row.body === undefined
      ? {}
      : {
          413: `The body has more than ${MANAGEMENT_BODY_MAX_BYTES} bytes.`,
          415: 'The body is not application/json.',
        }),
    ...row.refusals,
  };
  return {
    [row.status]: row.status === 204 ? { description: 'Done.' } : { description: row.summary, content },
    ...Object.fromEntries(
      Object.entries(refusals).map(([status, description]) => [
        status,
        { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Errors' } } } },
      ]),
    ),
  };
}

function errors(): Json {
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
