/**
 * Finds the user's credentials for a registry, in this order:
 *
 *   1. LONGSHORE_USER and LONGSHORE_PASSWORD.
 *   2. The OpenID Connect token of a CI job: LONGSHORE_ID_TOKEN, or the one that GitHub Actions gives to jobs with `id-token: write`.
 *   3. The configuration of Docker: credential helpers, the store, and `auths`. Then the one of podman.
 *   4. For a registry on this machine: the password of the admin, from ADMIN_PASSWORD or STATE_DIR.
 *
 * Docker docs, "docker login: credential stores"; GitHub docs, "OpenID Connect reference"; containers-auth.json(5).
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { isLoopback } from '../../worker/oci/address.ts';
import { CommandFailure } from '../failure.ts';
import { bodyOf, readAll, readErrorText, send } from './http.ts';

export interface Credentials {
  username: string;
  password: string;
}

/** What `credentialsFor` needs of a registry. */
interface Registry {
  /** `https://registry.example.com`. */
  origin: string;
  /** `registry.example.com`, with its port. */
  host: string;
}

type Env = NodeJS.ProcessEnv;

/** A file of `auths`, as Docker and podman write it. */
interface AuthFile {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;
  credHelpers?: Record<string, string>;
  credsStore?: string;
}

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ANSWER_MAX_BYTES = 64 * 1024;
/** A helper may ask its user to unlock a keychain. */
const HELPER_TIMEOUT_MS = 120_000;

/**
 * Null if there are none. `report` is for a registry that is only read, and may be open to everyone: it gets the reason if an identity
 * token that CI made for this registry is refused, and the search goes on.
 *
 * Throws a CommandFailure if a source names credentials that cannot be read: a helper that fails, an identity token that is refused.
 */
export async function credentialsFor(
  registry: Registry,
  env: Env,
  report?: (message: string) => void,
): Promise<Credentials | null> {
  if (env.LONGSHORE_PASSWORD)
    return { username: env.LONGSHORE_USER || 'admin', password: env.LONGSHORE_PASSWORD };
  return (
    (await ofJob(registry, env, report)) ??
    (await ofConfigurations(registry, env)) ??
    ofThisMachine(registry, env)
  );
}

/**
 * The environments in which a copy finds its credentials. LONGSHORE_USER, LONGSHORE_PASSWORD and LONGSHORE_ID_TOKEN belong to one
 * registry, and no other gets them: to the one that LONGSHORE_URL names, else to the target.
 */
export function environmentsOfCopy(
  source: Registry,
  target: Registry,
  env: Env,
): { sourceEnv: Env; targetEnv: Env } {
  if (source.origin === target.origin) return { sourceEnv: env, targetEnv: env };
  const { LONGSHORE_USER: _user, LONGSHORE_PASSWORD: _password, LONGSHORE_ID_TOKEN: _token, ...others } = env;
  const url = env.LONGSHORE_URL ?? '';
  const isOfSource = URL.canParse(url) && new URL(url).origin === source.origin;
  return isOfSource ? { sourceEnv: env, targetEnv: others } : { sourceEnv: others, targetEnv: env };
}

/** A token of the registry, valid for an hour, for the identity token of a CI job. The identity token is valid for minutes. */
async function ofJob(
  { origin, host }: Registry,
  env: Env,
  report?: (message: string) => void,
): Promise<Credentials | null> {
  const given = env.LONGSHORE_ID_TOKEN;
  const identity = given || (await githubToken(host, env));
  if (identity === null) return null;
  const form = new URLSearchParams({ grant_type: EXCHANGE, subject_token: identity });
  const answer = await send({
    method: 'POST',
    url: `${origin}/token`,
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: bodyOf(Buffer.from(form.toString())),
  });
  if (answer.status !== 200) {
    const reason = await readErrorText(answer);
    // A variable of a job holds one token, and an earlier command of the job has exchanged it. It is a password until it expires.
    if (given && reason.includes('exchanged before')) return { username: 'oidc', password: given };
    // A job can have an identity token that is meant for others.
    if (!given && (await ofConfigurations({ origin, host }, env)) !== null) return null;
    if (!given && report !== undefined) {
      report(`${origin} refused the identity token of this job (status ${answer.status})`);
      return null;
    }
    throw new CommandFailure(
      `The registry refused the identity token of this job (status ${answer.status}).\nAdd a trust for it: longshore trust add. Its audience must be ${host}. The registry said: ${reason.slice(0, 500)}`,
    );
  }
  const { access_token: password } =
    jsonOf<{ access_token?: string }>(await readAll(answer, ANSWER_MAX_BYTES)) ?? {};
  if (!password) throw new CommandFailure(`${origin}/token did not answer with a token.`);
  return { username: 'oidc', password };
}

/** The identity token of a job of GitHub Actions, or null outside of one. */
async function githubToken(audience: string, env: Env): Promise<string | null> {
  const url = env.ACTIONS_ID_TOKEN_REQUEST_URL;
  const bearer = env.ACTIONS_ID_TOKEN_REQUEST_TOKEN;
  if (!url || !bearer) return null;
  const answer = await send({
    method: 'GET',
    url: `${url}&audience=${encodeURIComponent(audience)}`,
    headers: { Authorization: `Bearer ${bearer}` },
  });
  if (answer.status !== 200) {
    const reason = await readErrorText(answer);
    throw new CommandFailure(
      `GitHub did not give an identity token (status ${answer.status}).\nAdd "permissions: { id-token: write }" to the job. GitHub said: ${reason.slice(0, 200)}`,
    );
  }
  return jsonOf<{ value?: string }>(await readAll(answer, ANSWER_MAX_BYTES))?.value ?? null;
}

async function ofConfigurations({ host }: Registry, env: Env): Promise<Credentials | null> {
  for (const path of configurationPaths(env)) {
    const file = readConfiguration(path);
    if (file === null) continue;
    const found = await inConfiguration(file, host, path);
    if (found !== null) return found;
  }
  return null;
}

function configurationPaths(env: Env): string[] {
  const home = env.HOME || homedir();
  const paths = [join(env.DOCKER_CONFIG || join(home, '.docker'), 'config.json')];
  if (env.REGISTRY_AUTH_FILE) paths.push(env.REGISTRY_AUTH_FILE);
  if (env.XDG_RUNTIME_DIR) paths.push(join(env.XDG_RUNTIME_DIR, 'containers/auth.json'));
  paths.push(join(env.XDG_CONFIG_HOME || join(home, '.config'), 'containers/auth.json'));
  return paths;
}

function readConfiguration(path: string): AuthFile | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new CommandFailure(`Cannot read ${path}: ${code}.`);
  }
  const parsed = jsonOf<AuthFile>(bytes);
  if (parsed === null || typeof parsed !== 'object') {
    throw new CommandFailure(`${path} is not JSON.\nCorrect it, or log in again with docker login.`);
  }
  return parsed;
}

async function inConfiguration(file: AuthFile, host: string, path: string): Promise<Credentials | null> {
  const helper = file.credHelpers?.[host];
  if (helper !== undefined) return fromHelper(helper, host, path);
  if (file.credsStore) {
    const stored = await fromHelper(file.credsStore, host, path);
    if (stored !== null) return stored;
  }
  const entry = file.auths?.[host] ?? file.auths?.[`https://${host}`] ?? file.auths?.[`http://${host}`];
  if (entry === undefined) return null;
  if (entry.username && entry.password) return { username: entry.username, password: entry.password };
  const plain = Buffer.from(entry.auth ?? '', 'base64').toString();
  const colon = plain.indexOf(':');
  // With a credential store, Docker leaves an empty entry.
  return colon <= 0 ? null : { username: plain.slice(0, colon), password: plain.slice(colon + 1) };
}

/** Docker's protocol of credential helpers: the host on standard input, JSON on standard output. */
async function fromHelper(name: string, host: string, path: string): Promise<Credentials | null> {
  if (!/^[\w.-]+$/.test(name)) {
    throw new CommandFailure(
      `${path} names the credential helper ${JSON.stringify(name)}, which is not a name of a program.`,
    );
  }
  const program = `docker-credential-${name}`;
  const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'pipe'], timeout: HELPER_TIMEOUT_MS });
  child.stdin.on('error', () => {});
  child.stdin.end(host);
  const ended = new Promise<{ code: number | null; error?: NodeJS.ErrnoException }>((resolve) => {
    child.once('error', (error) => resolve({ code: null, error }));
    child.once('close', (code) => resolve({ code }));
  });
  const [output, complaint, { code, error }] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    ended,
  ]);
  if (error?.code === 'ENOENT') {
    throw new CommandFailure(
      `${path} names the credential helper ${program}, which is not installed.\nInstall it, or set LONGSHORE_USER and LONGSHORE_PASSWORD.`,
    );
  }
  const said = `${output}${complaint}`;
  if (code !== 0) {
    if (/credentials not found/i.test(said)) return null;
    throw new CommandFailure(`The credential helper ${program} failed: ${said.trim().slice(0, 300)}`);
  }
  const { Username: username, Secret: password } =
    jsonOf<{ Username?: string; Secret?: string }>(Buffer.from(output)) ?? {};
  return username && password ? { username, password } : null;
}

/** Only for a registry on this machine: no other may get this password. */
function ofThisMachine({ origin }: Registry, env: Env): Credentials | null {
  if (!isLoopback(new URL(origin).hostname)) return null;
  const password = env.ADMIN_PASSWORD || firstLine(join(env.STATE_DIR || '.longshore', 'admin-password'));
  return password ? { username: 'admin', password } : null;
}

function firstLine(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').split('\n')[0]?.trim();
  } catch {
    return undefined;
  }
}

function jsonOf<T>(bytes: Buffer): T | null {
  try {
    return JSON.parse(bytes.toString()) as T;
  } catch {
    return null;
  }
}
