/** Addresses: what counts as one client (an IPv4 address, or a /64 of IPv6), and which hosts are this machine. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientNetwork, inNetwork, isLoopback } from '../../worker/oci/address.ts';

const CASES = [
  { address: '', want: '' },
  { address: '192.0.2.1', want: '192.0.2.1' },
  { address: '::ffff:192.0.2.1', want: '192.0.2.1' },
  { address: '2001:db8:1:2:3:4:5:6', want: '2001:db8:1:2::/64' },
  { address: '2001:DB8:1:2::9', want: '2001:db8:1:2::/64' },
  { address: '2001:0db8:0001:0002::', want: '2001:db8:1:2::/64' },
  { address: '2001:db8::1', want: '2001:db8:0:0::/64' },
  { address: '2001:db8:0:0:1::', want: '2001:db8:0:0::/64' },
  { address: '::1', want: '0:0:0:0::/64' },
];

describe('the network of an address', () => {
  for (const { address, want } of CASES) {
    it(`the network of the address ${address || 'none'} is ${want || 'none'}`, () =>
      assert.equal(clientNetwork(address), want));
  }
});

describe('a network of IPv4 that is written as IPv6', () => {
  for (const network of ['::ffff:a00:0/104', '10.0.0.0/8']) {
    it(`the network ${network} has the addresses of IPv4`, () => {
      for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '::ffff:a01:203'])
        assert.ok(inNetwork(address, network), address);
      for (const address of ['11.1.2.3', '::ffff:11.1.2.3', '::a00:1', ''])
        assert.ok(!inNetwork(address, network));
    });
  }
});

const HOSTS = [
  ...['localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]', '[::ffff:7f00:1]'].map((host) => ({
    host,
    want: true,
  })),
  ...['', '*', '0.0.0.0', '::', '10.0.0.1', 'localhost.example.com', '127.0.0.1.example.com'].map((host) => ({
    host,
    want: false,
  })),
];

describe('the loopback', () => {
  for (const { host, want } of HOSTS) {
    it(`loopback ${want ? 'includes' : 'does not include'} ${host || 'an empty host'}`, () =>
      assert.equal(isLoopback(host), want));
  }
});
