// The rules of a blob host, in the format of Cloudflare's Rulesets API: the firewall rule that verifies signed URLs, the cache
// rule, and the headers that stop browsers from showing a blob as a page.
import { AS_DATA } from '../worker/delivery/as-data.ts';
import type { BlobHost } from './options.ts';

export interface Rule {
  description: string;
  expression: string;
  action: string;
  action_parameters?: unknown;
}

export interface Ruleset {
  name: string;
  kind: 'zone';
  phase: string;
  rules: [Rule];
}

/** The text between the path and the time in a signed URL. */
const SEPARATOR = '?verify=';
/** The content of a key never changes. */
const EDGE_TTL_S = 365 * 24 * 3600;
/** Objects of earlier releases have no Content-Disposition of their own. */
export const BLOB_HEADERS = { ...AS_DATA, 'Content-Disposition': 'attachment' };
/** Cloudflare's value for "no-store". */
const NO_STORE = -1;

export function rulesets(host: BlobHost): Ruleset[] {
  return [
    ruleset('http_request_firewall_custom', {
      description: `Longshore: only signed URLs on ${host.host}`,
      expression: firewallExpression(host),
      action: 'block',
    }),
    ruleset('http_request_cache_settings', {
      description: `Longshore: cache the blobs on ${host.host}`,
      expression: onHost(host),
      action: 'set_cache_settings',
      action_parameters: {
        cache: true,
        cache_key: { custom_key: { query_string: { exclude: { all: true } } } },
        edge_ttl: {
          mode: 'override_origin',
          default: EDGE_TTL_S,
          status_code_ttl: [{ status_code_range: { from: 300 }, value: NO_STORE }],
        },
      },
    }),
    ruleset('http_response_headers_transform', {
      description: `Longshore: blobs on ${host.host} are data`,
      expression: onHost(host),
      action: 'rewrite',
      action_parameters: {
        headers: Object.fromEntries(
          Object.entries(BLOB_HEADERS).map(([name, value]) => [name, { operation: 'set', value }]),
        ),
      },
    }),
  ];
}

/** Matches requests to block: those without a valid signature, and expired ones. */
function firewallExpression(host: BlobHost): string {
  const unsigned = host.secrets.map(
    (secret) =>
      `not is_timed_hmac_valid_v0("${secret}", http.request.uri, ${host.validFor}, http.request.timestamp.sec, ${SEPARATOR.length})`,
  );
  return [onHost(host), ...unsigned].join(' and ');
}

/** `http.host` is the Host header as sent. A port or a dot after the name must not bypass the rule. */
function onHost({ host }: BlobHost): string {
  return `starts_with(lower(http.host), "${host}")`;
}

function ruleset(phase: string, rule: Rule): Ruleset {
  return { name: 'default', kind: 'zone', phase, rules: [rule] };
}
