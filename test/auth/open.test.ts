/** AUTH=off: programs on this machine may do everything, and what comes through a proxy or from a page of the web nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkLocal } from '../../worker/access/local.ts';
import { eachHome, type Home } from '../support/homes.ts';
import * as http from '../support/http.ts';

const ELSEWHERE: { name: string; headers: Record<string, string>; want: RegExp }[] = [
  ...[
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded-Proto',
    'X-Real-IP',
    'X-Client-IP',
    'X-Cluster-Client-IP',
    'True-Client-IP',
    'Via',
    'CF-Ray',
  ].map((header) => ({
    name: `that a proxy has passed on, as ${header} says`,
    headers: { [header]: 'for=192.0.2.1' },
    want: new RegExp(`the header ${header.toLowerCase()} says that a proxy`),
  })),
  { name: 'for another host', headers: { Host: 'registry.example' }, want: /is for registry\.example/ },
  ...['cross-site', 'same-site'].map((site) => ({
    name: `that a ${site} page has made a browser send`,
    headers: { 'Sec-Fetch-Site': site },
    want: /a page of another site/,
  })),
];

eachHome((home) => {
  for (const { name, headers, want } of ELSEWHERE) {
    it(`a request ${name} is refused, with what to do`, async () => {
      for (const [method, path] of [
        ['GET', '/v2/'],
        ['POST', '/v2/a/blobs/uploads/'],
        ['GET', '/api/v1/users'],
      ] as const) {
        const { status, body } = await send(home, method, path, headers);
        // A host that the registry does not know is not even asked what it wants.
        assert.ok(status === 403 || (status === 421 && 'Host' in headers), `${path}: ${status}`);
        if (status !== 403) continue;
        assert.match(body, /"code":"DENIED"/);
        // What changes something and comes from a page is refused in any case, before AUTH is looked at.
        if (method === 'POST' && 'Sec-Fetch-Site' in headers) continue;
        assert.match(body, want);
        assert.match(body, /unset AUTH and log in, or ask http:\/\/localhost directly/);
      }
    });
  }

  for (const headers of [{}, { Host: 'localhost' }, { Host: '[::1]:8787' }, { 'Sec-Fetch-Site': 'none' }]) {
    it(`a request of this machine with ${JSON.stringify(headers)} is answered`, async () => {
      assert.equal((await send(home, 'GET', '/v2/', headers)).status, 200);
      assert.equal((await send(home, 'POST', '/v2/a/blobs/uploads/', headers)).status, 202);
    });
  }
});

describe('the address of a client', () => {
  for (const { clientIp, setsCfHeaders = false, isHere } of [
    { clientIp: '127.0.0.1:4711', isHere: true },
    { clientIp: '127.9.9.9', isHere: true },
    { clientIp: '[::1]:4711', isHere: true },
    { clientIp: '::ffff:127.0.0.1', isHere: true },
    { clientIp: '192.0.2.1:4711', isHere: false },
    { clientIp: '[2001:db8::1]:4711', isHere: false },
    { clientIp: undefined, isHere: false },
    { clientIp: undefined, setsCfHeaders: true, isHere: true },
  ]) {
    it(`the address of a client: ${clientIp} is ${isHere ? '' : 'not '}here ${setsCfHeaders ? 'in a simulator' : 'on one machine'}`, () => {
      const own = Object.assign(new Request('http://localhost/v2/'), { cf: { clientIp } });
      if (isHere) checkLocal(own, setsCfHeaders);
      else assert.throws(() => checkLocal(own, setsCfHeaders), { code: 'DENIED' });
    });
  }

  it('the address of a client is what Cloudflare says in its header, and there only', () => {
    const from = (address: string) =>
      new Request('http://localhost/v2/', { headers: { 'CF-Connecting-IP': address } });
    checkLocal(from('127.0.0.1'), true);
    assert.throws(() => checkLocal(from('192.0.2.1'), true), { code: 'DENIED', message: /comes from 192/ });
    assert.throws(() => checkLocal(from('127.0.0.1'), false), {
      code: 'DENIED',
      message: /cf-connecting-ip/,
    });
  });
});

async function send(home: Home, method: string, path: string, headers: Record<string, string>) {
  const { status, body } = await http.send(home.url, method, path, { headers });
  return { status, body: body.toString() };
}
