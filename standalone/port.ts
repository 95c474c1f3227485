// The address that the registry listens on, and whether it is free. Node tries it before workerd starts, because Node's errors
// have codes, and workerd's are only text.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { StartFailure, systemErrorCode } from './failure.ts';

const EVERY_ADDRESS = ['*', '0.0.0.0', '::'];

/** An IPv6 address is put in brackets. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host for clients on this machine. If the registry listens on all addresses, that is the loopback address. */
export function reachableHost(host: string): string {
  return EVERY_ADDRESS.includes(host) ? '127.0.0.1' : host;
}

/** The names that requests may use for the host, besides loopback names. The Worker gets them as BOUND_NAMES. */
export function boundNames(host: string): string[] {
  if (EVERY_ADDRESS.includes(host)) return ['*', hostname().toLowerCase()];
  return [host.includes(':') ? `[${host}]` : host.toLowerCase()];
}

/** Throws a StartFailure if nothing can listen there. */
export async function checkAddress(host: string, port: number): Promise<void> {
  try {
    await listenOnce(host === '*' ? '0.0.0.0' : host, port);
    if (port !== 0 && host === '127.0.0.1') await listenOnce('::1', port);
  } catch (error) {
    const code = systemErrorCode(error);
    // Without IPv6 nothing can listen on the other loopback address.
    if (host === '127.0.0.1' && code === 'EADDRNOTAVAIL') return;
    throw explained(code, host, port) ?? error;
  }
}

export function portInUse(host: string, port: number): StartFailure {
  return new StartFailure(
    `Port ${port} on ${host} is already in use.\nStop what listens there, or set PORT to another one.`,
  );
}

async function listenOnce(host: string, port: number): Promise<void> {
  const server = createServer();
  server.listen({ host, port });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

function explained(code: string | undefined, host: string, port: number): StartFailure | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return portInUse(host, port);
    case 'EACCES':
      return new StartFailure(
        `Port ${port} needs more rights than this user has.\nSet PORT to one above 1023.`,
      );
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new StartFailure(
        `HOST ${host} is not an address of this machine.\nSet HOST to one that is, or unset it.`,
      );
    default:
      return undefined;
  }
}
