/** The OpenAPI document: complete, sound in its structure, and true to what the API takes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { OPERATIONS } from '../../worker/management/management.ts';
import { API_TYPES, apiTypes } from '../support/api-types.ts';
import { onHome } from '../support/homes.ts';
import { Api, GUARDED, type Json } from './api.ts';

interface Described {
  operationId: string;
  summary: string;
  description: string;
  tags: string[];
  security?: unknown[];
  parameters?: { name: string; in: string; required: boolean; schema: Json }[];
  requestBody?: { content: Record<string, { schema: Json; example: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>;
}

interface Document {
  openapi: string;
  info: Json;
  servers: { url: string }[];
  tags: { name: string }[];
  paths: Record<string, Record<string, Described>>;
  components: { securitySchemes: Record<string, Json>; schemas: Record<string, Json> };
}

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    let document: Document;
    let described: (Described & { method: string; path: string })[] = [];

    before(async () => {
      const { status, json } = await api.call('GET', '/openapi.json', undefined, null);
      assert.equal(status, 200);
      document = json as unknown as Document;
      described = Object.entries(document.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, row]) => ({ ...row, method: method.toUpperCase(), path })),
      );
    });

    describe('the OpenAPI document', () => {
      it('the OpenAPI document has every operation, and no other', () => {
        const names = (rows: { method: string; path: string }[]) =>
          rows.map((row) => `${row.method} ${row.path}`).sort();
        assert.deepEqual(names(described), names(OPERATIONS));
      });

      it('the OpenAPI document is OpenAPI 3.1, and says where the API is', () => {
        assert.match(document.openapi, /^3\.1\.\d+$/);
        assert.deepEqual(document.servers, [{ url: `${home.url}/api/v1` }]);
        assert.deepEqual(Object.keys(document.components.securitySchemes), ['basic', 'token']);
      });

      it('the OpenAPI document passes the recommended rules of Redocly', async () => {
        const config = await createConfig({
          extends: ['recommended'],
          // The document names the address of this test's server, and reading the document needs no credentials.
          rules: { 'no-server-example.com': 'off', 'operation-4xx-response': 'off' },
        });
        const problems = await lintFromString({ source: JSON.stringify(document), config });
        assert.deepEqual(
          problems.map(({ ruleId, message, location }) => `${ruleId} ${location[0]?.pointer}: ${message}`),
          [],
        );
      });

      it('the OpenAPI document has the types that the command is written against', async () => {
        const committed = readFileSync(API_TYPES, 'utf8');
        assert.equal(committed, await apiTypes(), 'cli/api.ts is out of date: run "npm run api-types"');
      });

      it('the OpenAPI document names every operation once, and tells what it is for', () => {
        const ids = described.map(({ operationId }) => operationId);
        assert.equal(new Set(ids).size, ids.length);
        const tags = document.tags.map(({ name }) => name);
        for (const { summary, description, tags: own } of described) {
          assert.ok(summary.length > 0 && description.length > 0);
          assert.ok(
            own.every((tag) => tags.includes(tag)),
            own.join(),
          );
        }
      });

      it('the OpenAPI document describes every parameter of a path', () => {
        for (const { path, parameters = [] } of described) {
          const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
          const told = parameters.filter((one) => one.in === 'path');
          assert.deepEqual(
            told.map(({ name }) => name),
            names,
          );
          assert.ok(told.every(({ required }) => required));
        }
      });

      it('the OpenAPI document has a schema and a description for every answer, and the refusals of each', () => {
        for (const { operationId, responses, security, requestBody } of described) {
          const statuses = Object.keys(responses);
          assert.ok(
            statuses.some((status) => /^20[014]$/.test(status)),
            operationId,
          );
          if (security === undefined)
            assert.ok(statuses.includes('401') && statuses.includes('403'), operationId);
          if (requestBody)
            assert.ok(
              ['400', '413', '415'].every((status) => statuses.includes(status)),
              operationId,
            );
          for (const [status, { description, content }] of Object.entries(responses)) {
            assert.ok(description.length > 0);
            assert.equal(content === undefined, status === '204', `${operationId} ${status}`);
          }
        }
      });

      it('the OpenAPI document refers to nothing that is not there', () => {
        for (const [, name = ''] of JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)) {
          assert.match(name, /^#\/components\/schemas\/\w+$/);
          assert.ok(Object.hasOwn(document.components.schemas, name.split('/')[3] ?? ''), name);
        }
      });

      it('the OpenAPI document has examples that the API takes', async () => {
        for (const { operationId, method, path, requestBody } of described) {
          if (requestBody === undefined) continue;
          const { schema, example } = requestBody.content['application/json'] ?? {};
          assert.ok(schema?.type === 'object' || schema?.oneOf !== undefined, operationId);
          assert.ok(example !== undefined, `${operationId} has no example`);
          const at = path.replace(/\{\w+\}/, 'nothing');
          const { status, text } = await api.call(method, at, example);
          assert.ok([200, 201, 204, 404, 409].includes(status), `${operationId}: ${status} ${text}`);
        }
      });

      it('the OpenAPI document has answers as they come', async () => {
        for (const { operationId, method, path, parameters = [], responses } of described) {
          if (method !== 'GET' || parameters.some(({ required }) => required)) continue;
          const { status, json } = await api.call('GET', path);
          if (status === 409) continue;
          const schema = responses[String(status)]?.content?.['application/json']?.schema;
          for (const name of (schema?.required ?? []) as string[])
            assert.ok(name in json, `${operationId} ${name}`);
        }
      });
    });
  },
  GUARDED,
);
