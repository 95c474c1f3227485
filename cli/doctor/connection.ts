// Whether the registry can be reached as clients reach it: the network, TLS, the clock, and what stands in front of it.
import { isLoopback } from '../../worker/oci/address.ts';
import { CLOCK_SKEW_S } from '../../worker/oci/limits.ts';
import { credentialsFor } from '../transfer/credentials.ts';
import { type Answer, ConnectionLost, discard, readErrorText, send } from '../transfer/http.ts';
import { pullPush, Registry } from '../transfer/registry.ts';
import { type Finding, note, ok, reasonOf, wrong } from './finding.ts';

/** More than Cloudflare takes on its Free and Pro plans: 100 MB. Cloudflare docs, "Workers: limits". */
const OVER_THE_WALL_BYTES = 101_000_000;
const PIECE_BYTES = 1024 * 1024;
const WALL_REPOSITORY = 'longshore-doctor/wall';
const DAY_MS = 24 * 3600_000;
const CERTIFICATE_DAYS = 14;
const TLS_TIMEOUT_MS = 10_000;

/** Whether a registry answers at the origin. */
export async function checkReach(origin: string): Promise<{ findings: Finding[]; isReached: boolean }> {
  try {
    const answer = await send({ method: 'GET', url: `${origin}/v2/` });
    const text = await readErrorText(answer);
    const isRegistry = answer.header('Docker-Distribution-API-Version') === 'registry/2.0';
    if (!isRegistry || ![200, 401].includes(answer.status)) {
      const result = `${origin}/v2/ answered ${answer.status}: ${text.slice(0, 80).replace(/\s+/g, ' ')}`;
      return {
        findings: [wrong('registry', result, 'Check the URL, and what stands in front of the registry.')],
        isReached: false,
      };
    }
    const reach = ok('registry', `${origin} answers`);
    return { findings: [reach, ...clockOf(answer.header('Date'))], isReached: true };
  } catch (error) {
    const advice = 'Check the URL, DNS, the network, and that the registry runs.';
    return { findings: [wrong('registry', `${origin}: ${reasonOf(error)}`, advice)], isReached: false };
  }
}

function clockOf(date: string | null): Finding[] {
  const there = Date.parse(date ?? '');
  if (Number.isNaN(there)) return [];
  const seconds = Math.round((Date.now() - there) / 1000);
  if (Math.abs(seconds) <= CLOCK_SKEW_S)
    return [ok('clock', `${Math.abs(seconds)} s from that of the registry`)];
  const result = `this machine is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead' : 'behind'}`;
  return [
    wrong(
      'clock',
      result,
      'Set the clock of this machine, for example with NTP: tokens seem expired otherwise.',
    ),
  ];
}

export async function checkTls(origin: string): Promise<Finding> {
  const { protocol, hostname, port } = new URL(origin);
  if (protocol === 'http:') {
    return isLoopback(hostname)
      ? ok('TLS', 'not needed on this machine')
      : wrong('TLS', 'http: passwords and images are not encrypted', 'Use https (docs/operations.md).');
  }
  try {
    const until = await certificateEnd(hostname.replace(/^\[|\]$/g, ''), Number(port || 443));
    const days = Math.floor((until - Date.now()) / DAY_MS);
    const result = `the certificate is valid for ${days} days`;
    if (days >= CERTIFICATE_DAYS) return ok('TLS', result);
    return note('TLS', result, 'Check that it is renewed automatically.');
  } catch (error) {
    return wrong(
      'TLS',
      reasonOf(error),
      'Check the certificate, its name, and that this machine trusts its issuer.',
    );
  }
}

async function certificateEnd(host: string, port: number): Promise<number> {
  // Other commands seldom need it, and loading it takes time.
  const { connect } = await import('node:tls');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, servername: host, timeout: TLS_TIMEOUT_MS }, () => {
      resolve(Date.parse(socket.getPeerCertificate().valid_to));
      socket.destroy();
    });
    socket.once('error', reject);
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
  });
}

/** Sends a body over Cloudflare's limit into an upload that is cancelled. */
export async function checkWall(origin: string, env: NodeJS.ProcessEnv): Promise<Finding> {
  const check = 'bodies over 100 MB';
  const credentials = await credentialsFor({ origin, host: origin.replace(/^https?:\/\//, '') }, env);
  const registry = new Registry({ origin, credentials });
  const scope = pullPush(WALL_REPOSITORY);
  try {
    const path = `/v2/${WALL_REPOSITORY}/blobs/uploads/`;
    const started = await registry.request({ method: 'POST', path, scope });
    const location = started.header('Location');
    if (started.status !== 202 || location === null) throw await registry.failure(started, `POST ${path}`);
    discard(started);
    try {
      const body = { size: OVER_THE_WALL_BYTES, open: zeros };
      const advice = 'Push large layers with longshore push or longshore proxy (docs/large-layers.md).';
      let answer: Answer;
      try {
        answer = await registry.attempt({ method: 'PATCH', path: location, scope, body });
      } catch (error) {
        // A front may close the connection before its 413 is read.
        if (error instanceof ConnectionLost) return note(check, `are cut off (${error.message})`, advice);
        throw error;
      }
      discard(answer);
      if (answer.status === 202) return ok(check, 'pass');
      if (answer.status === 413) return note(check, 'are refused by a front (413)', advice);
      return wrong(check, `were answered with ${answer.status}`, 'Read the log of the registry.');
    } finally {
      discard(await registry.attempt({ method: 'DELETE', path: location, scope }));
    }
  } catch (error) {
    return wrong(check, reasonOf(error), `Try with credentials that may push to ${WALL_REPOSITORY}.`);
  }
}

async function* zeros(): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(PIECE_BYTES);
  for (let left = OVER_THE_WALL_BYTES; left > 0; left -= piece.length)
    yield piece.subarray(0, Math.min(left, piece.length));
}
