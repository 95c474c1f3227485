// The address that the registry listens on: how it is written, and whether it can be had. It is tried
// before workerd is started, because Node says what is wrong with an address in a code and not in prose.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { StartFailure, systemErrorCode } from './failure.ts';

const EVERY_ADDRESS = ['*', '0.0.0.0', '::'];

/** An IPv6 address goes in brackets. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What this machine's own clients call the host: a registry that listens everywhere is reached at the loopback. */
export function reachableHost(host: string): string {
  return EVERY_ADDRESS.includes(host) ? '127.0.0.1' : host;
}

/** What requests that reach the host may call it, beside loopback (`BOUND_NAMES` in worker/env.ts). */
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
    // A machine without IPv6 has nobody on its other loopback address.
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
