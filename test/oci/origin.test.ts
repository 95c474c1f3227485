/** What the registry is called in its answers: a table of requests and of what is set. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OciError } from '../../worker/oci/errors.ts';
import { decideOrigin, isSecure, type Naming, originOf } from '../../worker/oci/origin.ts';

interface Row {
  name: string;
  /** Of the request as it reached the registry. */
  url?: string;
  headers?: Record<string, string>;
  naming?: Partial<Naming>;
  want: string;
}

const URL_OF_REQUEST = 'http://registry.test:5000/v2/a/blobs/b?c';
const BY_PROXY: Partial<Naming> = { isProxied: () => true };
const EVIL = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.example' };
const NAMED: Partial<Naming> = {
  publicOrigins: ['https://one.example', 'https://two.example:8443', 'http://three.example'],
  boundNames: [],
};

const unnamed: Row[] = [
  { name: 'the host of the request, with its port', want: 'http://registry.test:5000' },
  {
    name: 'no port where it is that of the scheme',
    url: 'https://registry.test:443/v2/',
    want: 'https://registry.test',
  },
  { name: 'an address of IPv6', url: 'http://[::1]:5000/v2/', want: 'http://[::1]:5000' },
  { name: 'nothing that a client forwards itself', headers: EVIL, want: 'http://registry.test:5000' },
];

const proxied: Row[] = [
  {
    name: 'X-Forwarded-Proto alone: the proxy ends TLS and leaves the Host',
    headers: { 'X-Forwarded-Proto': 'https' },
    want: 'https://registry.test:5000',
  },
  {
    name: 'X-Forwarded-Host alone',
    headers: { 'X-Forwarded-Host': 'example.com' },
    want: 'http://example.com',
  },
  {
    name: 'both, with a port',
    headers: { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'example.com:8443' },
    want: 'https://example.com:8443',
  },
  {
    name: 'of several proxies the outermost, which writes first',
    headers: { 'X-Forwarded-Proto': 'https, http', 'X-Forwarded-Host': 'example.com , inner' },
    want: 'https://example.com',
  },
  {
    name: 'whatever the case',
    headers: { 'X-Forwarded-Proto': 'HTTPS', 'X-Forwarded-Host': 'Example.COM' },
    want: 'https://example.com',
  },
  {
    name: 'a forwarded address of IPv6',
    headers: { 'X-Forwarded-Host': '[2001:db8::1]:8443' },
    want: 'http://[2001:db8::1]:8443',
  },
  ...['ftp', 'javascript', '', 'https://example.com'].map((proto) => ({
    name: `no scheme but http and https: ${JSON.stringify(proto)}`,
    headers: { 'X-Forwarded-Proto': proto },
    want: 'http://registry.test:5000',
  })),
  ...[
    'example.com/path',
    'user@example.com',
    'a b',
    '',
    'example.com?x',
    'example.com#x',
    'a\\b',
    'a:b',
    'a:123456',
    'a:99999',
  ].map((host) => ({
    name: `nothing but a host: ${JSON.stringify(host)}`,
    headers: { 'X-Forwarded-Host': host },
    want: 'http://registry.test:5000',
  })),
  {
    name: 'no other header: what it says is not what the client was asked for',
    headers: { Forwarded: 'host=example.com;proto=https', 'X-Original-Host': 'example.com' },
    want: 'http://registry.test:5000',
  },
].map((row) => ({ ...row, naming: BY_PROXY }));

const named: Row[] = [
  { name: 'the first name for another host', want: 'https://one.example' },
  { name: 'the name that Host has', url: 'http://two.example:8443/v2/', want: 'https://two.example:8443' },
  {
    name: 'the name that Host has without its port',
    url: 'http://one.example:443/',
    want: 'https://one.example',
  },
  {
    name: 'the first name for a port that is not set',
    url: 'http://two.example/',
    want: 'https://one.example',
  },
  { name: 'the scheme that is set', url: 'https://three.example/', want: 'http://three.example' },
  { name: 'the first name whatever a client forwards', headers: EVIL, want: 'https://one.example' },
  {
    name: 'the first name whatever a trusted proxy forwards',
    headers: EVIL,
    naming: BY_PROXY,
    want: 'https://one.example',
  },
  {
    name: 'the name that a trusted proxy forwards',
    headers: { 'X-Forwarded-Host': 'two.example:8443' },
    naming: BY_PROXY,
    want: 'https://two.example:8443',
  },
].map((row) => ({ ...row, naming: { ...NAMED, ...row.naming } }));

describe('the registry is called by', () => {
  for (const { name, url = URL_OF_REQUEST, headers = {}, naming, want } of [...unnamed, ...proxied, ...named])
    it(`the registry takes its name from ${name}`, () => {
      const request = new Request(url, { headers });
      assert.equal(decideOrigin(request, { ...namingOf(naming) }), want);
      assert.equal(originOf(request), want);
      assert.equal(isSecure(request), want.startsWith('https:'));
    });

  it('the registry has no name before it was decided', () => {
    assert.throws(() => originOf(new Request(URL_OF_REQUEST)), /has not been decided/);
  });
});

describe('on one machine', () => {
  const rows: [bound: string[], taken: string[], refused: string[]][] = [
    [
      ['127.0.0.1'],
      ['localhost', 'LOCALHOST:99', '127.0.0.1:8787', '127.8.8.8', '[::1]:5000'],
      ['evil.example', '192.0.2.7', 'localhost.evil.example', '127.0.0.1.evil.example', '[2001:db8::1]'],
    ],
    [['192.0.2.7'], ['192.0.2.7:80', 'localhost'], ['192.0.2.8', 'evil.example']],
    [
      ['*', 'box'],
      ['192.0.2.8', '[2001:db8::1]', 'box:5000'],
      ['evil.example', 'box.evil.example', '1.2.3.4.evil.example'],
    ],
    [
      ['registry.example', '*.wild.example'],
      ['registry.example', 'a.wild.example'],
      ['wild.example', 'a.b.wild.example', 'evilregistry.example', 'a.registry.example', '192.0.2.7'],
    ],
  ];
  for (const [boundNames, taken, refused] of rows) {
    it(`a registry bound to ${boundNames.join(', ')} is called ${taken.join(', ')} and not ${refused.join(', ')}`, () => {
      for (const host of taken) decideOrigin(new Request(`http://${host}/v2/`), namingOf({ boundNames }));
      for (const host of refused) {
        assert.throws(
          () => decideOrigin(new Request(`http://${host}/v2/`), namingOf({ boundNames })),
          (fault) =>
            fault instanceof OciError && fault.status === 421 && /set PUBLIC_URL/.test(fault.message),
          host,
        );
      }
    });
  }
});

function namingOf(naming: Partial<Naming> = {}): Naming {
  return { publicOrigins: [], boundNames: null, isProxied: () => false, ...naming };
}
