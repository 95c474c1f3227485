// What `npm start` takes from its environment: where the registry is, and the settings of the Worker. What
// only one machine can mean is settled here, such as a setting that is the path of a file.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { weaknessOf } from '../worker/auth/credentials/new-password.ts';
import { isLoopback } from '../worker/oci/address.ts';
import { type AdminPassword, adminPassword } from './admin-password.ts';
import type { CertificateFiles } from './certificate.ts';
import { SETTINGS } from './config.ts';
import { StartFailure, systemErrorCode } from './failure.ts';

export interface Settings {
  readonly host: string;
  readonly port: number;
  /** Absolute path. */
  readonly stateDir: string;
  /** Null for a registry without TLS. */
  readonly certificate: CertificateFiles | null;
  /** Whether everybody on this machine may do everything. */
  readonly isOpen: boolean;
  /** The password that the registry has made; null for one that was given, which nobody is told again. */
  readonly password: AdminPassword | null;
  /** Text bindings of the Worker. */
  readonly vars: Readonly<Record<string, string>>;
}

const DEFAULT_PORT = '8787';
const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_STATE_DIR = '.longshore';
/** How a line of an htpasswd file goes on after the name. */
const HTPASSWD_LINE = /^[^:\n]+:\$2/m;

/** Throws a StartFailure that names the setting. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const host = env.HOST || DEFAULT_HOST;
  const stateDir = resolve(env.STATE_DIR || DEFAULT_STATE_DIR);
  const port = portOf(env.PORT || DEFAULT_PORT);
  const isOpen = env.AUTH === 'off';
  if (isOpen && !isLoopback(host)) {
    throw new StartFailure(
      `AUTH=off lets everybody do everything, and so goes with loopback only: HOST is ${host}.\nUnset AUTH, or unset HOST.`,
    );
  }
  const certificate = certificateFiles(env);
  const vars = Object.fromEntries(
    SETTINGS.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
  if (env.HTPASSWD) vars.HTPASSWD = contentsOf(env.HTPASSWD);
  const password = isOpen || env.ADMIN_PASSWORD ? null : adminPassword(stateDir);
  const secret = password?.text ?? env.ADMIN_PASSWORD;
  if (secret && !isOpen) vars.ADMIN_PASSWORD = strong(secret, password?.path ?? 'ADMIN_PASSWORD');
  return { host, port, stateDir, certificate, isOpen, password, vars };
}

function strong(password: string, place: string): string {
  const weakness = weaknessOf(password, 'admin');
  if (weakness === null) return password;
  throw new StartFailure(`The password in ${place} is too weak. A password ${weakness}.\nSet another one.`);
}

function portOf(value: string): number {
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65535) return Number(value);
  throw new StartFailure(
    `PORT is ${JSON.stringify(value)}, and must be a number from 0 to 65535 (0 chooses a free one).`,
  );
}

function certificateFiles({ TLS_CERT, TLS_KEY }: NodeJS.ProcessEnv): CertificateFiles | null {
  if (TLS_CERT && TLS_KEY) return { cert: resolve(TLS_CERT), key: resolve(TLS_KEY) };
  if (!TLS_CERT && !TLS_KEY) return null;
  const [given, missing] = TLS_CERT ? ['TLS_CERT', 'TLS_KEY'] : ['TLS_KEY', 'TLS_CERT'];
  throw new StartFailure(
    `${given} is set, and ${missing} is not.\nTLS needs both: the paths of a certificate and of its key (PEM).`,
  );
}

/** Of an htpasswd file, which the setting names; on Cloudflare, and so also here, it may be its contents. */
function contentsOf(setting: string): string {
  if (HTPASSWD_LINE.test(setting)) return setting;
  const path = resolve(setting);
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new StartFailure(
      `HTPASSWD names the file ${path}, which cannot be read (${systemErrorCode(error) ?? error}).\nSet it to a file of lines that htpasswd -B has made.`,
    );
  }
}
