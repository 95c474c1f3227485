// The certificate of a registry on one machine: read from its two files, checked, and read again when they
// change. A pair that does not work is told of, and the one before stays in use.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import { StartFailure, systemErrorCode } from './failure.ts';

export interface CertificateFiles {
  /** Absolute paths of PEM files: the certificate with those above it, and its private key. */
  readonly cert: string;
  readonly key: string;
}

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly leaf: X509Certificate;
}

export interface CertificateWatch {
  /** Looks at the files now. */
  check(): void;
  close(): void;
}

/** Whoever replaces two files writes one after the other: between them they do not match, and are no fault yet. */
const SETTLE_MS = 500;
/** Network file systems tell nobody of their changes. */
const POLL_MS = 10_000;

/** Throws a StartFailure that names the file. */
export function readCertificate({ cert, key }: CertificateFiles): Certificate {
  const pair = { cert: contentsOf('TLS_CERT', cert), key: contentsOf('TLS_KEY', key) };
  const leaf = parsed(() => new X509Certificate(pair.cert), `TLS_CERT: ${cert} holds no certificate (PEM).`);
  const own: KeyObject = parsed(
    () => createPrivateKey(pair.key),
    `TLS_KEY: ${key} holds no private key (PEM, without a passphrase).`,
  );
  if (!leaf.checkPrivateKey(own)) {
    throw new StartFailure(`TLS_KEY: ${key} is not the key of the certificate in ${cert}.`);
  }
  parsed(() => createSecureContext(pair), `TLS_CERT: the certificate in ${cert} cannot be used.`);
  return { ...pair, leaf };
}

/** The hosts that a certificate is for; an IPv6 address is in brackets. */
export function certificateNames({ leaf }: Pick<Certificate, 'leaf'>): string[] {
  const names = leaf.subjectAltName?.matchAll(/(DNS|IP Address):([^,\s"]+)/g) ?? [];
  return [...names].map(([, , name = '']) => (name.includes(':') ? compressed(name) : name.toLowerCase()));
}

/** An IPv6 address as a URL writes it. */
function compressed(address: string): string {
  return URL.parse(`http://[${address}]`)?.hostname ?? address;
}

/** Hands over every new pair that works, and says what is wrong with one that does not. */
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
      report(`The new certificate is in use; it is valid until ${found.leaf.validTo}.`);
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      if (error.message !== told) report(`${error.message}\nThe certificate of before stays in use.`);
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

// The folder and not the file: a file is replaced by renaming another one to its name, or a link beside it.
// Where folders cannot be watched, or are gone, there is the poll.
function watchFolder(folder: string, changed: () => void): FSWatcher[] {
  try {
    const watcher = watch(folder, { persistent: false }, changed);
    return [watcher.on('error', () => watcher.close())];
  } catch {
    return [];
  }
}

function contentsOf(setting: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new StartFailure(`${setting}: ${path} cannot be read (${systemErrorCode(error) ?? error}).`);
  }
}

function parsed<T>(parse: () => T, message: string): T {
  try {
    return parse();
  } catch (error) {
    throw new StartFailure(`${message}\n${error instanceof Error ? error.message : error}`);
  }
}
