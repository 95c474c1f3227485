// The registry over HTTPS. Node ends TLS in front of workerd, because Node can change the certificate without interrupting
// uploads. Workerd listens on a Unix socket that only this user can reach: any program that reaches it can forge the address
// of a client.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  type Certificate,
  type CertificateFiles,
  certificateNames,
  readCertificate,
  watchCertificate,
} from './certificate.ts';
import { forward, HEADERS_MAX_BYTES, upstreamAgent } from './forward.ts';
import { type Machine, type MachineOptions, startMachine } from './machine.ts';
import { boundNames, checkAddress, hostAndPort, reachableHost } from './port.ts';

export interface SecuredMachine extends Machine {
  /** The certificate that new connections get. */
  certificate(): Certificate;
  /** Reads the certificate again. That also happens automatically when the files change. */
  reload(): void;
}

const HANDSHAKE_TIMEOUT_MS = 20_000;
const HEADERS_TIMEOUT_MS = 60_000;
const IDLE_TIMEOUT_MS = 60_000;

/** Like `startMachine`, but with TLS. Throws a StartFailure, also for files that are not valid. */
export async function startSecured(
  options: MachineOptions,
  files: CertificateFiles,
  report: (line: string) => void,
): Promise<SecuredMachine> {
  const { host = '127.0.0.1', port = 0 } = options;
  let certificate = readCertificate(files);
  await checkAddress(host, port);
  const names = [...boundNames(host), ...certificateNames(certificate)];
  const vars = { ...options.vars, BOUND_NAMES: names.join(',') };
  const machine = await startMachine({ ...options, host: '127.0.0.1', port: 0, vars, isBehindTls: true });
  const agent = upstreamAgent(machine.socketPath ?? '');
  const server = front(certificate);
  const answer = (incoming: IncomingMessage, response: ServerResponse) => forward(incoming, response, agent);
  // `Expect: 100-continue` is answered by workerd and not by Node.
  server.on('request', answer).on('checkContinue', answer);
  try {
    await once(server.listen(port, host === '*' ? undefined : host), 'listening');
  } catch (error) {
    await machine.stop();
    throw error;
  }
  const watching = watchCertificate(
    files,
    certificate,
    (found) => {
      server.setSecureContext({ cert: found.cert, key: found.key });
      certificate = found;
    },
    report,
  );
  const exited = machine.exited.finally(() => {
    watching.close();
    server.close();
    server.closeAllConnections();
    agent.destroy();
  });
  const end = async (how: 'stop' | 'kill') => {
    // Open requests continue while workerd shuts down.
    server.close();
    server.closeIdleConnections();
    await machine[how]();
    await exited;
  };
  const address = server.address() as AddressInfo;
  return {
    ...machine,
    url: `https://${hostAndPort(reachableHost(host), address.port)}`,
    port: address.port,
    exited,
    stop: () => end('stop'),
    kill: () => end('kill'),
    certificate: () => certificate,
    reload: watching.check,
  };
}

function front({ cert, key }: Certificate): Server {
  return createServer({
    cert,
    key,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // An upload may take any time.
    requestTimeout: 0,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    maxHeaderSize: HEADERS_MAX_BYTES,
  });
}
