// Writes workerd's configuration: the Worker with its Durable Objects, the folders for their state and for blobs, and the
// socket that it listens on. The schema is workerd.capnp, which is part of workerd.
import { DURABLE_OBJECTS } from '../worker/objects/classes.ts';
import { ONE_MACHINE_NAME } from '../worker/platform.ts';
import type { Module } from './bundle.ts';

/** The behaviour of the runtime. wrangler.toml must have the same values. */
export const COMPATIBILITY_DATE = '2026-07-01';
export const COMPATIBILITY_FLAGS = ['nodejs_compat'];

/**
 * Headers by which the TLS server tells workerd what it knows about a request: the protocol, and the `cf` object (JSON) with
 * the address of the client. Workerd removes them. They come over a Unix socket that only this user can reach.
 */
export const PROTOCOL_HEADER = 'Longshore-Protocol';
export const CF_HEADER = 'Longshore-Cf';

export interface Configuration {
  /** host:port (IPv6 addresses in brackets, port 0 for a free one), or `unix:` and a path. */
  readonly address: string;
  /** Names of files in the folder of the configuration, the entry first. */
  readonly modules: readonly Pick<Module, 'name' | 'kind'>[];
  /** Absolute path of the folder of the Durable Objects' SQLite files. */
  readonly stateFolder: string;
  /** Absolute path of the folder that the Worker sees as DISK. */
  readonly blobsFolder: string;
  /** Text bindings. */
  readonly vars: Readonly<Record<string, string>>;
  /** Service bindings: name to the host:port or `unix:/path` of an HTTP server. One named DISK replaces the folder. */
  readonly services: Readonly<Record<string, string>>;
}

/** The folders that workerd makes in `stateFolder`, one for each class. */
export const STATE_FOLDERS = Object.values(DURABLE_OBJECTS).map(({ uniqueKey }) => uniqueKey);

export function configuration(options: Configuration): string {
  const vars: Record<string, string> = { ...options.vars, PLATFORM: ONE_MACHINE_NAME };
  const external = Object.entries(options.services);
  const bindings = [
    ...Object.entries(DURABLE_OBJECTS).map(
      ([binding, { className }]) => `(name = ${text(binding)}, durableObjectNamespace = ${text(className)})`,
    ),
    ...(options.services.DISK === undefined ? ['(name = "DISK", service = "blobs")'] : []),
    '(name = "STATE", service = "state-to-look-at")',
    ...external.map(([name]) => `(name = ${text(name)}, service = ${text(`external-${name}`)})`),
    ...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`),
  ];
  const namespaces = Object.values(DURABLE_OBJECTS).map(
    ({ className, uniqueKey }) =>
      `(className = ${text(className)}, uniqueKey = ${text(uniqueKey)}, enableSql = true)`,
  );
  const networks = vars.ALLOW_PRIVATE_ISSUERS === 'true' ? '["public", "private"]' : '["public"]';
  const services = [
    '(name = "registry", worker = .registry)',
    // The registry sends requests only to issuers of OpenID Connect tokens.
    `(name = "internet", network = (allow = ${networks}, tlsOptions = (trustBrowserCas = true)))`,
    `(name = "state", disk = (path = ${text(options.stateFolder)}, writable = true))`,
    `(name = "state-to-look-at", disk = (path = ${text(options.stateFolder)}))`,
    `(name = "blobs", disk = (path = ${text(options.blobsFolder)}, writable = true))`,
    ...external.map(
      ([name, address]) =>
        `(name = ${text(`external-${name}`)}, external = (address = ${text(address)}, http = ()))`,
    ),
  ];
  const modules = options.modules.map(
    ({ name, kind }) => `(name = ${text(name)}, ${kind} = embed ${text(name)})`,
  );
  const http = options.address.startsWith('unix:')
    ? `forwardedProtoHeader = ${text(PROTOCOL_HEADER)}, cfBlobHeader = ${text(CF_HEADER)}`
    : '';
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = ${list(services)},
  sockets = [(name = "http", address = ${text(options.address)}, http = (${http}), service = "registry")],
);

const registry :Workerd.Worker = (
  modules = ${list(modules)},
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
  compatibilityFlags = [${COMPATIBILITY_FLAGS.map(text).join(', ')}],
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list(namespaces)},
  durableObjectStorage = (localDisk = "state"),
);
`;
}

function list(items: readonly string[]): string {
  return `[\n${items.map((item) => `    ${item},\n`).join('')}  ]`;
}

// Text of Cap'n Proto escapes bytes as C does. Unicode characters are not escaped.
function text(value: string): string {
  const escaped = value.replace(/[\u0000-\u001f"\\\u007f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `"${escaped}"`;
}
