/**
 * Makes cli/api.ts, the types of the management API for the command, from the API's OpenAPI document:
 * `npm run api-types`. test/management/openapi.test.ts fails when the file is out of date.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { OPERATIONS } from '../../worker/management/management.ts';
import { document } from '../../worker/management/openapi.ts';

export const API_TYPES = join(import.meta.dirname, '../../cli/api.ts');

interface Described {
  parameters?: { name: string; in: string; required: boolean; schema: JSONSchema }[];
  requestBody?: { content: Content };
  responses: Record<string, { content?: Content }>;
}
type Content = Record<string, { schema: JSONSchema }>;

/** TypeScript in the shape that `openapi-fetch` reads. Refusals are left out: they all have one shape, which the client knows. */
export async function apiTypes(): Promise<string> {
  const { paths } = document(OPERATIONS, '') as { paths: Record<string, Record<string, Described>> };
  const schema = struct(
    mapped(paths, (methods) =>
      struct(
        mapped(methods, ({ parameters = [], requestBody, responses }) =>
          struct({
            parameters: struct({
              path: parametersIn('path', parameters),
              'query?': parametersIn('query', parameters),
            }),
            ...(requestBody === undefined
              ? {}
              : { requestBody: struct({ content: contentOf(requestBody.content) }) }),
            responses: struct(
              mapped(
                Object.fromEntries(Object.entries(responses).filter(([status]) => Number(status) < 300)),
                ({ content }) => struct(content === undefined ? {} : { content: contentOf(content) }),
              ),
            ),
          }),
        ),
      ),
    ),
  );
  const text = await compile(shapeOf(schema), 'Paths', {
    additionalProperties: false,
    bannerComment: '// The types of the management API. Made by `npm run api-types`: do not edit.',
    style: { singleQuote: true, printWidth: 110 },
  });
  // `openapi-fetch` looks for statuses that are numbers.
  return text.replace(/'(\d{3})':/g, '$1:');
}

/** Without descriptions and limits, so that the file changes only when a type does. */
function shapeOf(schema: JSONSchema): JSONSchema {
  const text = JSON.stringify(schema, (name, value: unknown) => {
    const isNoType = /^(?:description|examples|maxItems|minItems)$/.test(name) && !isSchema(value);
    return isNoType ? undefined : value;
  });
  return JSON.parse(text) as JSONSchema;
}

/** A property of an API can have the same name as a keyword of JSON Schema. */
function isSchema(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parametersIn(place: string, parameters: NonNullable<Described['parameters']>): JSONSchema {
  const wanted = parameters.filter((parameter) => parameter.in === place);
  return struct(
    Object.fromEntries(wanted.map(({ name, required, schema }) => [required ? name : `${name}?`, schema])),
  );
}

function contentOf(content: Content): JSONSchema {
  return struct(mapped(content, ({ schema }) => schema));
}

/** An object with these properties and no others. A name with a question mark at its end is optional. */
function struct(properties: Record<string, JSONSchema>): JSONSchema {
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, schema]) => [name.replace(/\?$/, ''), schema]),
    ),
    required: Object.keys(properties).filter((name) => !name.endsWith('?')),
  };
}

function mapped<T, R>(record: Record<string, T>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

if (import.meta.main) writeFileSync(API_TYPES, await apiTypes());
