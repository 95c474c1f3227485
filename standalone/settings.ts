// Reads the environment of `npm start`: its own settings, and those that it hands to the Worker. worker/settings.ts has the
// list of all. Only what needs this machine is read here, such as a setting that is the path of a file.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { weaknessOf } from '../worker/auth/credentials/new-password.ts';
import { isLoopback } from '../worker/oci/address.ts';
import { ONE_MACHINE_NAME, platformOf } from '../worker/platform.ts';
import { parseEach, parseSettings, SETTINGS, START_SETTINGS, WrongSetting } from '../worker/settings.ts';
import { type AdminPassword, adminPassword } from './admin-password.ts';
import { type CertificateFiles, readCertificate } from './certificate.ts';
import { collect, StartFailure, systemErrorCode } from './failure.ts';
import { checkAddress } from './port.ts';

export interface Settings {
  readonly host: string;
  readonly port: number;
  /** Absolute path. */
  readonly stateDir: string;
  /** Null without TLS. */
  readonly certificate: CertificateFiles | null;
  /** True with AUTH=off: every program on this machine may do everything. */
  readonly isOpen: boolean;
  /** The password that the registry generated. Null if ADMIN_PASSWORD is set, which is not printed again. */
  readonly password: AdminPassword | null;
  /** Text bindings of the Worker. */
  readonly vars: Readonly<Record<string, string>>;
}

/** The part of a line of an htpasswd file after the name. */
const HTPASSWD_LINE = /^[^:\n]+:\$2/m;
const START_NAMES = Object.keys(START_SETTINGS) as (keyof typeof START_SETTINGS)[];
const WORKER_NAMES = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];
/** Settings that are read from a file, or generated, before the Worker gets them. */
const NOT_AS_THEY_ARE: readonly string[] = ['ADMIN_PASSWORD', 'HTPASSWD'];
const PLATFORM = { PLATFORM: ONE_MACHINE_NAME };

/** Throws a StartFailure that names every setting that is wrong, also an address or a file that cannot be used. */
export async function readSettings(env: NodeJS.ProcessEnv): Promise<Settings> {
  const { values, problems } = parseEach(START_NAMES, env, platformOf(PLATFORM));
  const host = values.HOST ?? '';
  const port = values.PORT ?? 0;
  const stateDir = resolve(values.STATE_DIR ?? '');
  const isOpen = env.AUTH === 'off';
  if (isOpen && !isLoopback(host)) {
    problems.push(
      `AUTH=off gives all rights to all clients, so it works only on loopback. HOST is ${host}.\nUnset AUTH, or unset HOST.`,
    );
  } else {
    await collect(problems, () => checkAddress(host, port));
  }
  const certificate = await collect(problems, () => certificateFiles(env));
  const vars = await collect(problems, () => varsOf(env));
  if (env.ADMIN_PASSWORD && !isOpen) problems.push(...weaknesses(env.ADMIN_PASSWORD, 'ADMIN_PASSWORD'));
  try {
    parseSettings({ ...asTheyAre(env), ...vars, ...PLATFORM });
  } catch (error) {
    if (!(error instanceof WrongSetting)) throw error;
    problems.push(...error.problems);
  }
  throwAny(problems);
  const password = isOpen || env.ADMIN_PASSWORD ? null : adminPassword(stateDir);
  if (password !== null) throwAny(weaknesses(password.text, password.path));
  const secret = password?.text ?? env.ADMIN_PASSWORD;
  const admin = secret && !isOpen ? { ADMIN_PASSWORD: secret } : {};
  return { host, port, stateDir, certificate, isOpen, password, vars: { ...vars, ...admin } };
}

function throwAny(problems: string[]): void {
  if (problems.length > 0) throw new StartFailure(...problems);
}

/** The settings of the Worker, with the contents of an htpasswd file. Throws a StartFailure if it cannot be read. */
function varsOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return { ...asTheyAre(env), ...(env.HTPASSWD ? { HTPASSWD: contentsOf(env.HTPASSWD) } : {}) };
}

function asTheyAre(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    WORKER_NAMES.flatMap((name) => {
      const value = env[name];
      return value === undefined || NOT_AS_THEY_ARE.includes(name) ? [] : [[name, value]];
    }),
  );
}

function weaknesses(password: string, place: string): string[] {
  const weakness = weaknessOf(password, 'admin');
  return weakness === null
    ? []
    : [`The password in ${place} is too weak. A password ${weakness}.\nSet another one.`];
}

/** Throws a StartFailure also if the files are not a certificate and its key. */
function certificateFiles({ TLS_CERT, TLS_KEY }: NodeJS.ProcessEnv): CertificateFiles | null {
  if (TLS_CERT && TLS_KEY) {
    const files = { cert: resolve(TLS_CERT), key: resolve(TLS_KEY) };
    readCertificate(files);
    return files;
  }
  if (!TLS_CERT && !TLS_KEY) return null;
  const [given, missing] = TLS_CERT ? ['TLS_CERT', 'TLS_KEY'] : ['TLS_KEY', 'TLS_CERT'];
  throw new StartFailure(
    `${given} is set, and ${missing} is not.\nTLS needs both: the paths of a certificate and of its key (PEM).`,
  );
}

/** The contents of the htpasswd file that the setting names. As on Cloudflare, the setting may be the contents. */
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
