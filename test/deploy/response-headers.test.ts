/** What the rules of a custom domain say to browsers, and what the text says of the registry's own domain. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseOptions } from '../../deploy/options.ts';
import { rulesets } from '../../deploy/response-headers.ts';
import { blobHostSetup } from '../../deploy/setup.ts';

const { setup } = parseOptions(['--host', 'blobs.example.com', '--bucket', 'longshore-blobs']);

it('a blob of a custom domain has the headers of the registry, and is to be saved', () => {
  const headers = rulesets(setup).find(({ phase }) => phase === 'http_response_headers_transform');
  assert.equal(headers?.rules[0].action, 'rewrite');
  assert.equal(headers?.rules[0].expression, 'starts_with(lower(http.host), "blobs.example.com")');
  const set = (value: string) => ({ operation: 'set', value });
  assert.deepEqual(headers?.rules[0].action_parameters, {
    headers: {
      'X-Content-Type-Options': set('nosniff'),
      'Content-Security-Policy': set("sandbox; default-src 'none'; frame-ancestors 'none'"),
      'Cross-Origin-Resource-Policy': set('same-origin'),
      'Content-Disposition': set('attachment'),
    },
  });
});

it('a registry with a domain of its own is told to close its workers.dev address', () => {
  assert.match(blobHostSetup(setup), /workers_dev = false and preview_urls = false/);
});
