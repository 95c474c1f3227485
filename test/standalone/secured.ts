// The command behind `npm start` with a certificate, which openssl makes, and requests to it that trust no
// other one.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync, renameSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import * as http from '../support/http.ts';
import { type Started, started } from './command.ts';
import { temporaryFolder } from './temporary.ts';

export const MiB = 2 ** 20;

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A certificate for `localhost`, self-signed. Fails if there is no openssl. */
export function makePair(folder: string, name: string, names = 'DNS:localhost,IP:127.0.0.1'): Pair {
  const pair = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`],
      ...['-keyout', pair.key, '-out', pair.cert],
    ],
    { stdio: 'pipe' },
  );
  return pair;
}

/** Replaces each file at once, as a program that renews certificates does. */
export function replace(target: Pair, source: Pair): void {
  for (const which of ['cert', 'key'] as const) {
    copyFileSync(source[which], `${target[which]}.new`);
    renameSync(`${target[which]}.new`, target[which]);
  }
}

export function pem(pair: Pair): Buffer {
  return readFileSync(pair.cert);
}

export type Call = (options: RequestOptions, body?: Buffer[]) => Promise<IncomingMessage>;

export async function secured(t: TestContext, env: Record<string, string> = {}, names?: string) {
  const folder = temporaryFolder(t);
  const pair = makePair(folder, 'first', names);
  const paths = { TLS_CERT: pair.cert, TLS_KEY: pair.key };
  const command = await started(t, { ...environment(folder), ...paths, ...env });
  const call: Call = async (options, body = []) => {
    const outgoing = open(command, pem(pair), options);
    const response = once(outgoing, 'response');
    for (const piece of body) outgoing.write(piece);
    outgoing.end();
    return (await response)[0];
  };
  return { command, call, pair, folder };
}

export function environment(folder: string): Record<string, string> {
  return { STATE_DIR: join(folder, 'state'), AUTH: 'off' };
}

export function open(command: Started, ca: Buffer, options: RequestOptions) {
  const { method = 'GET', path = '/', ...others } = options;
  return http.open(`https://localhost:${command.port}`, method, path ?? '/', { ca, ...others });
}

export async function begin(call: Call): Promise<string> {
  const answer = await call({ method: 'POST', path: '/v2/a/blobs/uploads/' });
  const { pathname, search } = new URL(`${answer.headers.location}`, 'https://localhost');
  return pathname + search;
}

export function withDigest(path: string, body: Buffer): string {
  return `${path}${path.includes('?') ? '&' : '?'}digest=${digestOf(body)}`;
}

export function digestOf(body: Buffer): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}
