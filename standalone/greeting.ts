// What `npm start` prints when the registry answers: where it is, who may do what, and what to type next.

import { isLoopback } from '../worker/oci/address.ts';
import { printableLines } from '../worker/oci/printable.ts';
import { type Certificate, certificateNames } from './certificate.ts';
import { hostAndPort, reachableHost } from './port.ts';
import type { Settings } from './settings.ts';

/**
 * `port` is the one that it listens on, `certificate` the one that it has. A new password is shown to a person at a terminal
 * only: all else that is printed ends in a log.
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
  // Names in a certificate, and paths, may be of others.
  return printableLines(`Longshore is running on ${certificate === null ? 'http' : 'https'}://${name}
It keeps everything in ${stateDir}. Ctrl-C ends it.
${notes.map((note) => `\n${note}\n`).join('')}
${isOpen ? '' : login(settings, name, isTerminal)}What to type next, with an image that you have:
  docker tag alpine ${name}/alpine
  docker push ${name}/alpine
  docker pull ${name}/alpine
`);
}

const OPEN = `AUTH is off: every program on this machine can push, pull and delete, whoever runs it.`;

function inClear(host: string): string {
  return `Passwords and images travel in clear to and from ${host}, because there is no TLS: set TLS_CERT and TLS_KEY.
Until then, Docker elsewhere wants this registry among its "insecure-registries".`;
}

// A password in a command's arguments is seen by everybody on the machine, and kept in the shell's history.
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
      ? [`The certificate in ${path} is no longer valid since ${leaf.validTo}: clients refuse it.`]
      : []),
    ...(leaf.checkIssued(leaf)
      ? [
          `The certificate is signed by itself. Docker takes it on every machine that has it as ${folder}/ca.crt:
  sudo mkdir -p ${folder} && sudo cp ${quoted(path)} ${folder}/ca.crt`,
        ]
      : []),
  ];
}

function nameOf(host: string): string {
  return isLoopback(host) && host !== '::1' ? 'localhost' : reachableHost(host);
}

/** The name by which clients reach the host, if the certificate has it, or else the first that it has. */
function namedBy({ leaf }: Certificate, name: string): string {
  if (leaf.checkHost(name) !== undefined || leaf.checkIP(name) !== undefined) return name;
  const names = certificateNames({ leaf });
  return names.find((one) => !one.includes('*')) ?? name;
}

/** For a shell. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
