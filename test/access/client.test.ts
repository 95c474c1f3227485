/** The address of a client behind proxies: which entry of X-Forwarded-For counts, and what becomes of one that is no address. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientOf } from '../../worker/access/client.ts';

const PROXY = '10.0.0.1';
const TRUSTED = ['10.0.0.0/8', 'fd00::/8'];

const rows: { name: string; peer?: string; forwarded?: string[]; want: string }[] = [
  { name: 'a proxy that names nothing', want: PROXY },
  { name: 'a proxy that names a client', forwarded: ['192.0.2.1'], want: '192.0.2.1' },
  { name: 'an address that a client forged', forwarded: ['127.0.0.1, 192.0.2.1'], want: '192.0.2.1' },
  { name: 'a trusted address that a client forged', forwarded: ['10.0.0.9, 192.0.2.1'], want: '192.0.2.1' },
  { name: 'two proxies', forwarded: ['192.0.2.1, 10.0.0.2'], want: '192.0.2.1' },
  { name: 'two headers', forwarded: ['127.0.0.1', '192.0.2.1'], want: '192.0.2.1' },
  { name: 'a client that is a trusted host', forwarded: ['10.9.9.9, 10.0.0.2'], want: '10.9.9.9' },
  { name: 'a peer that is not trusted', peer: '192.0.2.9', forwarded: ['127.0.0.1'], want: '192.0.2.9' },
  { name: 'a port', forwarded: ['192.0.2.1:51234'], want: '192.0.2.1' },
  { name: 'IPv6', forwarded: ['2001:DB8:0::1'], want: '2001:db8::1' },
  { name: 'IPv6 with a port', forwarded: ['[2001:db8::1]:443'], want: '2001:db8::1' },
  { name: 'a peer of IPv6', peer: '[fd00::1]:443', forwarded: ['192.0.2.1'], want: '192.0.2.1' },
  { name: 'a link-local address with its zone', forwarded: ['fe80::1%eth0'], want: 'fe80::1' },
  { name: 'IPv4 that is written as IPv6', forwarded: ['::ffff:192.0.2.1'], want: '192.0.2.1' },
  {
    name: 'a peer that is written as IPv6',
    peer: `::ffff:${PROXY}`,
    forwarded: ['192.0.2.1'],
    want: '192.0.2.1',
  },
  { name: 'what Squid writes', forwarded: ['unknown'], want: 'unknown' },
  { name: 'an octal address', forwarded: ['010.0.0.1'], want: 'unknown' },
  { name: 'a short address', forwarded: ['192.1'], want: 'unknown' },
  { name: 'a number too large', forwarded: ['192.0.2.256'], want: 'unknown' },
  { name: 'a quoted address', forwarded: ['"192.0.2.1"'], want: 'unknown' },
  { name: 'a long text', forwarded: ['x'.repeat(5000)], want: 'unknown' },
  { name: 'nothing before a comma', forwarded: ['192.0.2.1,'], want: 'unknown' },
  { name: 'only commas', forwarded: [', ,'], want: 'unknown' },
  { name: 'an empty header', forwarded: [''], want: 'unknown' },
];

describe('the address of a client behind a proxy', () => {
  for (const { name, peer = PROXY, forwarded = [], want } of rows) {
    it(`the address of a client behind a proxy is ${want} for ${name}`, () => {
      const headers = new Headers({
        Forwarded: 'for=127.0.0.1',
        'X-Real-IP': '127.0.0.1',
        'CF-Connecting-IP': '127.0.0.1',
      });
      for (const value of forwarded) headers.append('X-Forwarded-For', value);
      const request = Object.assign(new Request('http://registry.example/', { headers }), {
        cf: { clientIp: peer },
      });
      const { address } = clientOf(request, { setsCfHeaders: false, trustedProxies: TRUSTED });
      assert.equal(address, want);
    });
  }
});
