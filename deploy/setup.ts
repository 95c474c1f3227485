// The text of `npm run blob-host`: the steps to set up a blob host, or to rotate its secret if two are given. The rules come
// before the domain, so that the bucket is never public.
import type { BlobHost } from './options.ts';
import { BLOB_HEADERS, type Rule, type Ruleset, rulesets } from './response-headers.ts';

const API = 'https://api.cloudflare.com/client/v4/zones/$ZONE_ID/rulesets';
const AUTHORIZATION = '-H "Authorization: Bearer $CLOUDFLARE_API_TOKEN"';

export function blobHostSetup(host: BlobHost): string {
  return host.secrets.length === 1 ? setup(host) : rotation(host);
}

function setup(host: BlobHost): string {
  const [firewall, cache, headers] = rulesets(host);
  if (firewall === undefined || cache === undefined || headers === undefined)
    throw new Error('a rule is missing');
  return `${host.fresh ? `A new secret was made. Keep it, or hand it in next time:\n  --secret ${host.secrets[0]}\n\n` : ''}\
1. The firewall rule, on the zone of ${host.host} (Security, Custom rules; action "Block"; Pro plan or higher):

${firewall.rules[0].expression}

2. The cache rule (Caching, Cache Rules):

${cache.rules[0].expression}

   Cache eligibility: Eligible for cache
   Edge TTL: ignore the cache-control header and use this TTL: 1 year
   Edge TTL, status codes: greater than or equal to 300: no store
   Cache key, query string: Ignore query string

3. The headers (Rules, Response Header Transform Rule; "Set static" for each), so that no browser makes a page of a blob:

${headers.rules[0].expression}

${Object.entries(BLOB_HEADERS)
  .map(([name, value]) => `   ${name}: ${value}`)
  .join('\n')}

   Or all three by the API, with a token that may edit them; the first three commands are for the firewall rule. Where the
   first says that the zone has such a ruleset already, it has changed nothing: the second shows its id, and the third adds
   the rule.

${[firewall, cache, headers].map(byApi).join('\n\n')}

4. The domain, and no other way into the bucket:

npx wrangler r2 bucket domain add ${host.bucket} --domain ${host.host} --zone-id "$ZONE_ID" --min-tls 1.2
npx wrangler r2 bucket dev-url disable ${host.bucket}

5. A request without a signature must get 403. If it gets anything else, the firewall rule does not work: take the domain
   away again (npx wrangler r2 bucket domain remove ${host.bucket} --domain ${host.host}).

curl -s -o /dev/null -w '%{http_code}\\n' https://${host.host}/blobs/nothing

6. The registry. In wrangler.toml:

[vars]
BLOB_HOST = "${host.host}"
BLOB_URL_LIFETIME = "${host.lifetime}"

   and then:

${putSecrets(host.secrets)}
npm run deploy

   If the registry itself has a custom domain, close the other ways to it: workers_dev = false and preview_urls = false in
   wrangler.toml. Rules of the zone do not hold at its workers.dev address.
`;
}

function rotation(host: BlobHost): string {
  const [firewall] = rulesets(host);
  if (firewall === undefined) throw new Error('the rule is missing');
  const [fresh = ''] = host.secrets;
  return `1. The firewall rule on ${host.host} has to accept both secrets:

${firewall.rules[0].expression}

   By the API (the first command shows the ids):

${show(firewall)}
${change(firewall.rules[0])}

2. The registry signs with the new one, and still accepts the other:

${putSecrets(host.secrets)}

3. Wait ${host.validFor} seconds, until the last URL of the old secret has expired, and a minute more, until every isolate
   of the Worker has the new one.

4. The old one goes, first from the registry and then from the rule:

${putSecrets([fresh])}
npm run blob-host -- --host ${host.host} --bucket ${host.bucket} --lifetime ${host.lifetime} --secret ${fresh}
`;
}

function byApi(ruleset: Ruleset): string {
  return [
    `curl ${AUTHORIZATION} "${API}" --json ${json(ruleset)}`,
    show(ruleset),
    `curl ${AUTHORIZATION} "${API}/$RULESET_ID/rules" --json ${json(ruleset.rules[0])}`,
  ].join('\n');
}

function show({ phase }: Ruleset): string {
  return `curl ${AUTHORIZATION} "${API}/phases/${phase}/entrypoint"`;
}

function change(rule: Rule): string {
  return `curl -X PATCH ${AUTHORIZATION} "${API}/$RULESET_ID/rules/$RULE_ID" --json ${json(rule)}`;
}

function putSecrets(secrets: string[]): string {
  return `printf %s '${secrets.join(',')}' | npx wrangler secret put BLOB_URL_SECRETS`;
}

/** JSON in single quotes for a shell. It contains no single quote. */
function json(value: Ruleset | Rule): string {
  return `'${JSON.stringify(value).replaceAll("'", '\\u0027')}'`;
}
