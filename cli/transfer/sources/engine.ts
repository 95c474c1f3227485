// Images in docker and podman, over the API of their sockets. Docker docs, "Engine API"; podman docs, "podman-system-service".
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Digest, isDigest } from '../../../worker/oci/digest.ts';
import { CommandFailure } from '../../failure.ts';
import { deferred } from '../deferred.ts';
import type { Source, SourceOptions } from '../source.ts';
import { isObject, parseObject } from './descriptor.ts';
import { sourceFailure } from './failure.ts';
import { hasTag } from './name.ts';
import { openArchiveStream } from './open-archive.ts';

export type EngineName = 'docker' | 'podman';

/** An image that an engine has. */
export interface EngineImage {
  readonly engine: Engine;
  /** What to ask the engine for. */
  readonly reference: string;
  /** Of the layers without compression. Empty if the engine does not tell. */
  readonly diffIds: readonly Digest[];
}

export interface Engine {
  readonly name: EngineName;
  /** For messages: `unix:///var/run/docker.sock`. */
  readonly address: string;
  readonly connection: RequestOptions;
  readonly isSecure: boolean;
}

/** Why an engine could not be asked. */
export class EngineUnreachable extends CommandFailure {}

const ANSWER_MAX_BYTES = 4 * 1024 * 1024;
/** Of the answer about an image. An export may take minutes to begin. */
const INSPECT_TIMEOUT_MS = 30_000;

/**
 * The engines that may be there, the likeliest first. Where the user names one, only that.
 *
 * Throws a CommandFailure for an address that cannot be used.
 */
export async function enginesOf(name: EngineName, env: NodeJS.ProcessEnv): Promise<Engine[]> {
  return name === 'docker' ? dockerEngines(env) : podmanEngines(env);
}

/**
 * Null if the engine does not have the image.
 *
 * Throws EngineUnreachable.
 */
export async function findImage(
  engine: Engine,
  image: string,
  signal: AbortSignal | undefined,
): Promise<EngineImage | null> {
  const timeout = AbortSignal.timeout(INSPECT_TIMEOUT_MS);
  const limited = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const answer = await ask(engine, `/images/${pathOf(image)}/json`, limited);
  const body = await bodyOf(engine, answer);
  if (answer.statusCode === 404) return null;
  if (answer.statusCode !== 200) throw refusal(engine, answer, body);
  const { Id: id, RootFS: root } = parseObject(body, `The answer of ${engine.name}`);
  const isId = typeof id === 'string' && id.replace(/^sha256:/, '').startsWith(image.replace(/^sha256:/, ''));
  const layers = isObject(root) && Array.isArray(root.Layers) ? root.Layers : [];
  return {
    engine,
    // Without a tag, docker gives all images of the repository.
    reference: isId || hasTag(image) ? image : `${image}:latest`,
    diffIds: layers.filter((layer) => typeof layer === 'string' && isDigest(layer)),
  };
}

/** Throws EngineUnreachable. */
export async function openImage(
  { engine, reference, diffIds }: EngineImage,
  options: SourceOptions,
): Promise<Source> {
  const { env, signal } = options;
  const answer = await ask(engine, `/images/${pathOf(reference)}/get`, signal);
  if (answer.statusCode !== 200) throw refusal(engine, answer, await bodyOf(engine, answer));
  const name = `the image ${reference} of ${engine.name}`;
  const explain = (error: unknown) => (signal?.aborted ? signal.reason : brokenOff(name, error));
  const settings = { ...options, name, reference: null, takesOnlyPresent: true, diffIds };
  return openArchiveStream({ stream: answer, env, explain }, settings);
}

async function dockerEngines(env: NodeJS.ProcessEnv): Promise<Engine[]> {
  const home = env.HOME || homedir();
  const folder = env.DOCKER_CONFIG || join(home, '.docker');
  if (env.DOCKER_HOST) {
    const certificates = env.DOCKER_CERT_PATH || folder;
    const verifies = Boolean(env.DOCKER_TLS_VERIFY) || Boolean(env.DOCKER_TLS);
    return [await engineAt('docker', env.DOCKER_HOST, verifies ? certificates : null)];
  }
  const context = env.DOCKER_CONTEXT || (await currentContext(folder));
  if (context !== null && context !== 'default') return [await contextEngine(folder, context)];
  if (process.platform === 'win32') return [await engineAt('docker', 'npipe:////./pipe/docker_engine', null)];
  const sockets = ['/var/run/docker.sock', join(home, '.docker/run/docker.sock')];
  if (env.XDG_RUNTIME_DIR) sockets.push(join(env.XDG_RUNTIME_DIR, 'docker.sock'));
  return Promise.all(sockets.map((path) => engineAt('docker', `unix://${path}`, null)));
}

async function podmanEngines(env: NodeJS.ProcessEnv): Promise<Engine[]> {
  if (env.CONTAINER_HOST) return [await engineAt('podman', env.CONTAINER_HOST, null)];
  const sockets = ['/run/podman/podman.sock'];
  if (env.XDG_RUNTIME_DIR) sockets.unshift(join(env.XDG_RUNTIME_DIR, 'podman/podman.sock'));
  return Promise.all(sockets.map((path) => engineAt('podman', `unix://${path}`, null)));
}

/** `certificates`: a folder with ca.pem, cert.pem and key.pem, or null for a connection without TLS. */
async function engineAt(name: EngineName, address: string, certificates: string | null): Promise<Engine> {
  const [, scheme, rest = ''] = /^(\w+):\/\/(.*)$/.exec(address) ?? [];
  if ((scheme === 'unix' || scheme === 'npipe') && rest !== '') {
    return { name, address, connection: { socketPath: rest }, isSecure: false };
  }
  const url = `http://${rest}`;
  if ((scheme === 'tcp' || scheme === 'http' || scheme === 'https') && URL.canParse(url)) {
    const { hostname, port } = new URL(url);
    const isSecure = scheme === 'https' || certificates !== null;
    const pems = certificates === null ? {} : await pemsIn(certificates);
    const connection = {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port || (isSecure ? 2376 : 2375),
      ...pems,
    };
    return { name, address, connection, isSecure };
  }
  throw sourceFailure(
    `The address of ${name} is ${JSON.stringify(address)}, and only unix:// and tcp:// can be used.\nUse ${name} save: ${name} save NAME | longshore push - ...`,
  );
}

async function currentContext(folder: string): Promise<string | null> {
  try {
    const { currentContext: name } = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as {
      currentContext?: unknown;
    };
    return typeof name === 'string' && name !== '' ? name : null;
  } catch {
    return null;
  }
}

/** Docker CLI, "cli/context/store": the folder of a context is named by the digest of its name. */
async function contextEngine(folder: string, context: string): Promise<Engine> {
  const id = createHash('sha256').update(context).digest('hex');
  let host: unknown;
  try {
    const text = await readFile(join(folder, 'contexts/meta', id, 'meta.json'), 'utf8');
    host = (JSON.parse(text) as { Endpoints?: { docker?: { Host?: unknown } } }).Endpoints?.docker?.Host;
  } catch {
    host = undefined;
  }
  if (typeof host !== 'string' || host === '') {
    throw sourceFailure(
      `The context ${JSON.stringify(context)} of docker cannot be read.\nChoose another one: docker context use default.`,
    );
  }
  const certificates = join(folder, 'contexts/tls', id, 'docker');
  const hasCertificates = host.startsWith('tcp:') && (await exists(join(certificates, 'ca.pem')));
  return engineAt('docker', host, hasCertificates ? certificates : null);
}

async function pemsIn(folder: string): Promise<Pick<RequestOptions, never> & Record<string, Buffer>> {
  const pems: Record<string, Buffer> = {};
  for (const [option, file] of [
    ['ca', 'ca.pem'],
    ['cert', 'cert.pem'],
    ['key', 'key.pem'],
  ] as const) {
    const path = join(folder, file);
    if (await exists(path)) pems[option] = await readFile(path);
  }
  return pems;
}

async function exists(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    () => false,
  );
}

async function ask(engine: Engine, path: string, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  // It is seldom needed, and loading it takes time.
  const send = engine.isSecure ? (await import('node:https')).request : httpRequest;
  const { promise, resolve, reject } = deferred<IncomingMessage>();
  const outgoing = send({
    ...engine.connection,
    path,
    // A server name of TLS is made of this header, so it is set for sockets only.
    headers: engine.connection.socketPath === undefined ? {} : { Host: engine.name },
    agent: false,
    ...(signal === undefined ? {} : { signal }),
  });
  outgoing.once('response', resolve);
  outgoing.on('error', (error) =>
    reject(
      signal?.aborted && signal.reason?.name !== 'TimeoutError' ? signal.reason : unreachable(engine, error),
    ),
  );
  outgoing.end();
  return promise;
}

async function bodyOf(engine: Engine, answer: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of answer as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > ANSWER_MAX_BYTES) break;
      pieces.push(piece);
    }
  } catch (error) {
    throw unreachable(engine, error);
  }
  return Buffer.concat(pieces);
}

/** Names keep their slashes. */
function pathOf(image: string): string {
  return image.split('/').map(encodeURIComponent).join('/');
}

function unreachable({ name, address }: Engine, error: unknown): EngineUnreachable {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new EngineUnreachable(
      `${name} does not answer at ${address} (${code}).${name === 'podman' ? ' "podman system service" starts it.' : ''}`,
    );
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new EngineUnreachable(
      `You may not use ${name} at ${address} (${code}): use sudo, or join the group of its socket.`,
    );
  }
  return new EngineUnreachable(`${name} at ${address} cannot be asked: ${code ?? message}.`);
}

function refusal({ name, address }: Engine, answer: IncomingMessage, body: Buffer): CommandFailure {
  let said = body.toString('utf8', 0, 500);
  try {
    const { message } = JSON.parse(body.toString()) as { message?: unknown };
    if (typeof message === 'string') said = message.slice(0, 500);
  } catch {
    // It is no JSON, and shown as it is.
  }
  return sourceFailure(
    `${name} at ${address} answered with ${answer.statusCode}: ${said.trim()}\nCheck the log of ${name}, then try again.`,
  );
}

function brokenOff(name: string, error: unknown): CommandFailure {
  const { code, message } = error as NodeJS.ErrnoException;
  return sourceFailure(
    `${name} ended before it was whole: ${code ?? message}.\nCheck that the engine runs and has space on its disk, then try again.`,
  );
}
