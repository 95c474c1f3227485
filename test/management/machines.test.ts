/** Trusts and pull secrets over the management API: how machines get in. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { onHome } from '../support/homes.ts';
import { Api, GUARDED, type Json } from './api.ts';

type Posted = ['POST', string, Json];

const TRUST = {
  name: 'github',
  issuer: 'https://token.actions.example',
  audience: 'registry.example',
  conditions: { repository: 'acme/*' },
  grants: [{ role: 'writer', repositories: 'acme/{repository_name}' }],
};
const PUBLIC_KEY = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: '1' };

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    const trust = (body: Json): Posted => ['POST', '/trusts', { ...TRUST, name: 'other', ...body }];
    const secret = (body: Json): Posted => [
      'POST',
      '/pull-secrets',
      { name: 'x', repositories: ['a/*'], ...body },
    ];

    describe('trusts', () => {
      api.table([
        { name: 'trusts', request: ['POST', '/trusts', TRUST], want: 201, says: /"jwks":null/ },
        { name: 'trusts one of a name', request: ['POST', '/trusts', TRUST], want: 409 },
        {
          name: 'refuses no condition',
          request: trust({ conditions: {} }),
          want: 400,
          says: /conditions: an issuer such as GitHub signs for everybody/,
        },
        {
          name: 'refuses conditions that say nothing',
          request: trust({ conditions: { sub: '**' } }),
          want: 400,
          says: /signs for everybody/,
        },
        {
          name: 'refuses http',
          request: trust({ issuer: 'http://issuer.example' }),
          want: 400,
          says: /issuer: is an https URL/,
        },
        {
          name: 'refuses hosts that only begin as loopback',
          request: trust({ issuer: 'http://127.0.0.1.example' }),
          want: 400,
        },
        {
          name: 'refuses issuers on this machine unless a setting allows them',
          request: trust({ name: 'here', issuer: 'http://127.0.0.1:1234' }),
          want: 400,
          says: /ALLOW_PRIVATE_ISSUERS=true/,
        },
        {
          name: 'refuses no audience',
          request: trust({ audience: '' }),
          want: 400,
          says: /audience: is empty/,
        },
        {
          name: 'refuses no grants',
          request: trust({ grants: [] }),
          want: 400,
          says: /grants: is empty/,
        },
        {
          name: 'refuses templates',
          request: trust({ grants: [{ role: 'reader', repositories: 'a/{b c}' }] }),
          want: 400,
        },
        {
          name: 'takes public keys',
          request: trust({ name: 'offline', jwks: { keys: [PUBLIC_KEY] } }),
          want: 201,
          says: /"kty":"EC"/,
        },
        {
          name: 'refuses private keys',
          request: trust({ jwks: { keys: [{ ...PUBLIC_KEY, d: 'secret' }] } }),
          want: 400,
          says: /jwks: must be a set of public keys/,
        },
        {
          name: 'refuses symmetric keys',
          request: trust({ jwks: { keys: [{ kty: 'oct', k: 'secret' }] } }),
          want: 400,
          says: /jwks: must be a set of public keys/,
        },
        { name: 'lists them', request: ['GET', '/trusts'], want: 200, says: /acme\/\{repository_name\}/ },
        { name: 'trusts no more', request: ['DELETE', '/trusts/1'], want: 204 },
        { name: 'removes once', request: ['DELETE', '/trusts/1'], want: 404 },
      ]);
    });

    describe('pull secrets', () => {
      api.table([
        {
          name: 'refuses nothing to pull',
          request: ['POST', '/pull-secrets', { name: 'x' }],
          want: 400,
          says: /repositories: says what/,
        },
        {
          name: 'refuses both',
          request: secret({ grants: [{ role: 'reader', repositories: 'a' }] }),
          want: 400,
        },
        {
          name: 'refuses other roles',
          request: ['POST', '/pull-secrets', { name: 'x', grants: [{ role: 'writer', repositories: 'a' }] }],
          want: 400,
          says: /grants\.0\.role/,
        },
        { name: 'refuses namespaces', request: secret({ namespace: 'A_b' }), want: 400, says: /namespace: / },
        {
          name: 'refuses names of Secrets',
          request: secret({ secretName: 'a: b' }),
          want: 400,
          says: /secretName: /,
        },
      ]);

      it('pull secrets are manifests with credentials of a robot that reads', async () => {
        const made = await api.made('POST', '/pull-secrets', {
          name: 'Cluster_1',
          namespace: 'prod',
          repositories: ['team/*'],
        });
        const { data, ...rest } = made as { data: Record<string, string> } & Json;
        assert.deepEqual(rest, {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: 'longshore-cluster-1', namespace: 'prod' },
          type: 'kubernetes.io/dockerconfigjson',
        });
        const { auths } = JSON.parse(decoded(data['.dockerconfigjson'])) as {
          auths: Record<string, Record<string, string>>;
        };
        const { username = '', password = '', auth = '' } = auths[new URL(home.url).host] ?? {};
        assert.equal(decoded(auth), `${username}:${password}`);
        const me = await api.made('GET', '/me', undefined, `${username}:${password}`);
        assert.equal(me.subject, 'token:Cluster_1');
        assert.match(JSON.stringify(me.rules), /"role":"reader","repositories":"team\/\*"/);
      });

      it('pull secrets come as YAML for kubectl', async () => {
        const body = { name: 'yaml', repositories: ['a/*'] };
        const answered = await api.call('POST', '/pull-secrets', body, undefined, {
          Accept: 'application/yaml',
        });
        assert.equal(answered.headers.get('Content-Type'), 'application/yaml');
        assert.match(
          answered.text,
          /^apiVersion: v1\nkind: Secret\nmetadata:\n {2}name: "longshore-yaml"\ntype: kubernetes\.io\/dockerconfigjson\ndata:\n {2}\.dockerconfigjson: [\w+/=]+\n$/,
        );
      });
    });
  },
  GUARDED,
);

function decoded(text = ''): string {
  return Buffer.from(text, 'base64').toString();
}
