// The certificate of a registry over HTTPS: replaced while an upload goes on, taken up only if it works, and
// a failure to start if it does not work from the beginning.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { connect, type PeerCertificate } from 'node:tls';
import { readCertificate, watchCertificate } from '../../standalone/certificate.ts';
import { refused, type Started, started } from './command.ts';
import {
  begin,
  digestOf,
  environment,
  MiB,
  makePair,
  open,
  type Pair,
  pem,
  replace,
  secured,
  withDigest,
} from './secured.ts';
import { isRunning, temporaryFolder, until } from './temporary.ts';

const LIMIT = { timeout: 60_000 };

test('an upload goes on while the certificate is replaced', LIMIT, async (t) => {
  const { command, call, pair, folder } = await secured(t);
  const halves = [randomBytes(4 * MiB), randomBytes(4 * MiB)] as const;
  const body = Buffer.concat(halves);
  const path = withDigest(await begin(call), body);
  const outgoing = open(command, pem(pair), {
    method: 'PUT',
    path,
    headers: { 'Content-Length': body.length },
  });
  await new Promise((resolve) => outgoing.write(halves[0], resolve));

  replace(pair, makePair(folder, 'second'));
  await until(t, () => command.stderr.includes('The new certificate is in use'));
  assert.equal((await peer(t, command)).subject.CN, 'second');

  const answer = once(outgoing, 'response');
  outgoing.end(halves[1]);
  assert.equal((await answer)[0].statusCode, 201);
  assert.ok((await buffer(await call({ path: `/v2/a/blobs/${digestOf(body)}` }))).equals(body));
});

test(
  'a new certificate that does not fit its key is reported, and the previous one stays',
  LIMIT,
  async (t) => {
    const { command, pair, folder } = await secured(t);
    const second = makePair(folder, 'second');
    replace(pair, { cert: second.cert, key: pair.key });
    await until(t, () => command.stderr.includes('is not the key of the certificate'));
    assert.match(command.stderr, /Keeping the previous certificate\.\n$/);
    assert.equal((await peer(t, command)).subject.CN, 'first');
    replace(pair, second);
    await until(t, () => command.stderr.includes('The new certificate is in use'));
    assert.equal((await peer(t, command)).subject.CN, 'second');
  },
);

test('SIGHUP makes the registry read its certificate, where a change cannot be seen', LIMIT, async (t) => {
  const folder = temporaryFolder(t);
  const { links, target } = linkedPair(folder);
  const command = await started(t, { ...environment(folder), TLS_CERT: links.cert, TLS_KEY: links.key });
  replace(target, makePair(folder, 'second'));
  command.child.kill('SIGHUP');
  await until(t, () => command.stderr.includes('The new certificate is in use'));
  assert.equal((await peer(t, command)).subject.CN, 'second');
  assert.ok(isRunning(command.pid));
});

test(
  'without a watch the certificate is polled, and without a change nothing is reported',
  LIMIT,
  async (t) => {
    const folder = temporaryFolder(t);
    const { links, target } = linkedPair(folder);
    const taken: string[] = [];
    const told: string[] = [];
    const watching = watchCertificate(
      links,
      readCertificate(links),
      ({ leaf }) => taken.push(leaf.subject),
      (line) => told.push(line),
      10,
    );
    t.after(() => watching.close());
    watching.check();
    assert.deepEqual([taken, told], [[], []]);
    replace(target, makePair(folder, 'second'));
    // A timer of its own does not keep this process up, nor does it have to.
    await until(t, () => taken.length === 1);
    assert.deepEqual(taken, ['CN=second']);
  },
);

for (const { name, files, want } of [
  {
    name: 'a certificate that is not there',
    files: { cert: 'missing' },
    want: /^TLS_CERT: \S+missing cannot be read \(ENOENT\)/,
  },
  {
    name: 'a key that is not there',
    files: { key: 'missing' },
    want: /^TLS_KEY: \S+missing cannot be read \(ENOENT\)/,
  },
  {
    name: 'a file that is no certificate',
    files: { cert: 'text' },
    want: /^TLS_CERT: \S+text contains no certificate/,
  },
  {
    name: 'a file that is no key',
    files: { key: 'text' },
    want: /^TLS_KEY: \S+text contains no private key/,
  },
  {
    name: 'the key of another certificate',
    files: { key: 'second.key' },
    want: /^TLS_KEY: \S+second\.key is not the key/,
  },
]) {
  test(`a certificate setting is a failure to start: ${name}`, LIMIT, async (t) => {
    const folder = temporaryFolder(t);
    makePair(folder, 'first');
    makePair(folder, 'second');
    writeFileSync(join(folder, 'text'), 'no PEM\n');
    const { cert, key } = { cert: 'first.crt', key: 'first.key', ...files };
    const paths = { TLS_CERT: join(folder, cert), TLS_KEY: join(folder, key) };
    await refused(t, { ...environment(folder), ...paths }, want);
  });
}

/** The certificate that a new connection sees. */
async function peer(t: TestContext, { port }: Started): Promise<PeerCertificate> {
  const socket = connect({ host: 'localhost', port, rejectUnauthorized: false });
  t.after(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket.getPeerCertificate();
}

/** Links in one folder to a pair in another: what happens there, a watch of the first cannot see. */
function linkedPair(folder: string): { links: Pair; target: Pair } {
  for (const name of ['links', 'targets']) mkdirSync(join(folder, name));
  const target = makePair(join(folder, 'targets'), 'first');
  const links = { cert: join(folder, 'links/tls.crt'), key: join(folder, 'links/tls.key') };
  symlinkSync(target.cert, links.cert);
  symlinkSync(target.key, links.key);
  return { links, target };
}
