// The TLS certificate of a registry on one machine. It is read from two files, checked, and read again when they change. If
// the new pair is not valid, the registry prints why and keeps the previous one.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import { StartFailure, systemErrorCode } from './failure.ts';

export interface CertificateFiles {
  /** Absolute paths of PEM files: the certificate with its chain, and its private key. */
  readonly cert: string;
  readonly key: string;
}

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly leaf: X509Certificate;
}

export interface CertificateWatch {
  /** Reads the files now. */
  check(): void;
  close(): void;
}

/** The two files are replaced one after the other. In between they do not match, and that is not an error. */
const SETTLE_MS = 500;
/** Network file systems do not report changes. */
const POLL_MS = 10_000;

/** Throws a StartFailure that names each file that is wrong. */
export function readCertificate({ cert, key }: CertificateFiles): Certificate {
  const problems: string[] = [];
  const certificate = readPart(problems, 'TLS_CERT', cert, NO_CERTIFICATE, (pem) => new X509Certificate(pem));
  const own = readPart(problems, 'TLS_KEY', key, NO_KEY, (pem): KeyObject => createPrivateKey(pem));
  if (certificate === null || own === null) throw new StartFailure(...problems);
  const pair = { cert: certificate.pem, key: own.pem };
  const leaf = certificate.parsed;
  if (!leaf.checkPrivateKey(own.parsed)) {
    throw new StartFailure(`TLS_KEY: ${key} is not the key of the certificate in ${cert}.`);
  }
  try {
    createSecureContext(pair);
  } catch (error) {
    throw new StartFailure(`TLS_CERT: the certificate in ${cert} cannot be used.\n${messageOf(error)}`);
  }
  return { ...pair, leaf };
}

const NO_CERTIFICATE = 'contains no certificate in PEM form.';
const NO_KEY = 'contains no private key in PEM form without a passphrase.';

/** A file and what `parse` makes of it. Null, and one more problem, if it cannot be read or parsed. */
function readPart<T>(
  problems: string[],
  setting: string,
  path: string,
  wrong: string,
  parse: (pem: Buffer) => T,
): { pem: Buffer; parsed: T } | null {
  let pem: Buffer;
  try {
    pem = readFileSync(path);
  } catch (error) {
    problems.push(`${setting}: ${path} cannot be read (${systemErrorCode(error) ?? error}).`);
    return null;
  }
  try {
    return { pem, parsed: parse(pem) };
  } catch (error) {
    problems.push(`${setting}: ${path} ${wrong}\n${messageOf(error)}`);
    return null;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The hosts that a certificate names. An IPv6 address is in brackets. */
export function certificateNames({ leaf }: Pick<Certificate, 'leaf'>): string[] {
  const names = leaf.subjectAltName?.matchAll(/(DNS|IP Address):([^,\s"]+)/g) ?? [];
  return [...names].map(([, , name = '']) => (name.includes(':') ? compressed(name) : name.toLowerCase()));
}

/** An IPv6 address in the form that URLs use. */
function compressed(address: string): string {
  return URL.parse(`http://[${address}]`)?.hostname ?? address;
}

/** Calls `take` with every new valid pair, and `report` with the problem of an invalid one. */
export function watchCertificate(
  files: CertificateFiles,
  current: Certificate,
  take: (certificate: Certificate) => void,
  report: (line: string) => void,
  pollMs: number = POLL_MS,
): CertificateWatch {
  let inUse = current;
  let told = '';
  const check = () => {
    try {
      const found = readCertificate(files);
      told = '';
      if (found.cert.equals(inUse.cert) && found.key.equals(inUse.key)) return;
      take(found);
      inUse = found;
      report(`The new certificate is in use. It is valid until ${found.leaf.validTo}.`);
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      if (error.message !== told) report(`${error.message}\nKeeping the previous certificate.`);
      told = error.message;
    }
  };
  let settling: NodeJS.Timeout | undefined;
  const changed = () => {
    clearTimeout(settling);
    settling = setTimeout(check, SETTLE_MS);
  };
  const watchers = [...new Set([files.cert, files.key].map(dirname))].flatMap((folder) =>
    watchFolder(folder, changed),
  );
  const poll = setInterval(check, pollMs).unref();
  return {
    check,
    close: () => {
      clearTimeout(settling);
      clearInterval(poll);
      for (const watcher of watchers) watcher.close();
    },
  };
}

// Watches the folder, because a file is replaced by a rename, often of a link. If the folder cannot be watched, polling finds
// the change.
function watchFolder(folder: string, changed: () => void): FSWatcher[] {
  try {
    const watcher = watch(folder, { persistent: false }, changed);
    return [watcher.on('error', () => watcher.close())];
  } catch {
    return [];
  }
}
