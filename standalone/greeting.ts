// The text that `npm start` prints when the registry is ready: its URL, how to log in, warnings, and the next commands.

import { isLoopback } from '../worker/oci/address.ts';
import { printableLines } from '../worker/oci/printable.ts';
import { type Certificate, certificateNames } from './certificate.ts';
import { hostAndPort, reachableHost } from './port.ts';
import type { Settings } from './settings.ts';

/**
 * A new password is printed only on a terminal, because other output ends up in logs.
 */
export function greeting(
  settings: Settings,
  port: number,
  certificate: Certificate | null,
  isTerminal: boolean,
): string {
  const { host, stateDir, isOpen } = settings;
  const name = hostAndPort(certificate === null ? nameOf(host) : namedBy(certificate, nameOf(host)), port);
  const notes = [
    ...(isOpen ? [OPEN] : []),
    ...(certificate === null && !isLoopback(host) ? [inClear(host)] : []),
    ...(certificate === null ? [] : certificateNotes(certificate, settings.certificate?.cert ?? '', name)),
  ];
  // Other people may have chosen the names in a certificate, and the paths.
  return printableLines(`Longshore is running on ${certificate === null ? 'http' : 'https'}://${name}
It keeps everything in ${stateDir}. Ctrl-C ends it.
${notes.map((note) => `\n${note}\n`).join('')}
${isOpen ? '' : login(settings, name, isTerminal)}Next, with any image that you have:
  docker tag alpine ${name}/alpine
  docker push ${name}/alpine
  docker pull ${name}/alpine
`);
}

const OPEN = `AUTH is off: every program of every user on this machine can push, pull and delete.`;

function inClear(host: string): string {
  return `Passwords and images travel unencrypted to and from ${host}, because TLS is off. Set TLS_CERT and TLS_KEY.
Without TLS, Docker on other machines needs this registry in its "insecure-registries".`;
}

// All users of a machine can see the arguments of a command, and the shell saves them in its history.
function login({ password }: Settings, name: string, isTerminal: boolean): string {
  if (password === null)
    return `Log in as "admin" with the password that is in ADMIN_PASSWORD:
  docker login -u admin ${name}

`;
  const shown = isTerminal && password.isNew ? `password ${password.text}, which` : 'password that';
  return `Log in as "admin" with the ${shown} is kept in ${password.path}:
  docker login -u admin --password-stdin ${name} < ${quoted(password.path)}

`;
}

function certificateNotes({ leaf }: Certificate, path: string, name: string): string[] {
  const folder = `/etc/docker/certs.d/${name}`;
  return [
    ...(Date.parse(leaf.validTo) < Date.now()
      ? [`The certificate in ${path} expired on ${leaf.validTo}. Clients refuse it. Replace it.`]
      : []),
    ...(leaf.checkIssued(leaf)
      ? [
          `The certificate is self-signed. Docker accepts it on every machine that has it as ${folder}/ca.crt:
  sudo mkdir -p ${folder} && sudo cp ${quoted(path)} ${folder}/ca.crt`,
        ]
      : []),
  ];
}

function nameOf(host: string): string {
  return isLoopback(host) && host !== '::1' ? 'localhost' : reachableHost(host);
}

/** The name of the host if the certificate has it, else the first name in the certificate. */
function namedBy({ leaf }: Certificate, name: string): string {
  if (leaf.checkHost(name) !== undefined || leaf.checkIP(name) !== undefined) return name;
  const names = certificateNames({ leaf });
  return names.find((one) => !one.includes('*')) ?? name;
}

/** The path as an argument in a shell. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
