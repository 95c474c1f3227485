/** Blobs that these tests push, and requests for them over `http.ts`: a request target is sent as it is written, and no redirect is followed. */
import assert from 'node:assert/strict';
import { blob, digest, type Manifest, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import type { Answer } from '../support/http.ts';
import * as http from '../support/http.ts';
import { basic } from '../support/visitor.ts';

export type { Answer } from '../support/http.ts';

export interface Sent {
  method?: string;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

/** Settings with which the registry lets the client in under any host: without access control it does so on loopback alone. */
export const GUARDED = { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' };
const AUTHORIZATION = basic(`admin:${GUARDED.ADMIN_PASSWORD}`);

/** `target` is path and query as they go into the request line. Only the registry gets credentials. */
export function send(origin: string, target: string, sent: Sent = {}): Promise<Answer> {
  const { method = 'GET', headers, ...rest } = sent;
  const credentials = target.startsWith('/v2/') ? { Authorization: AUTHORIZATION } : {};
  return http.send(origin, method, target, { ...rest, headers: { ...credentials, ...headers } });
}

/** Sends to a URL that the registry gave. */
export function follow(url: string, sent: Sent = {}): Promise<Answer> {
  const { origin } = new URL(url);
  return send(origin, url.slice(origin.length), sent);
}

/** A blob that was pushed. */
export interface Pushed {
  repository: string;
  digest: string;
  bytes: Buffer;
  /** Where the registry has it. */
  path: string;
}

/** 64 KiB and more are redirected. */
export const REDIRECTED_BYTES = 64 * 1024;

export async function pushBlob(
  home: Home,
  bytes = blob(REDIRECTED_BYTES),
  repository = repositoryName('delivery'),
): Promise<Pushed> {
  const of = digest(bytes);
  const target = `/v2/${repository}/blobs/uploads/?digest=${of}`;
  const answer = await send(home.url, target, { method: 'POST', body: bytes });
  assert.equal(answer.status, 201, answer.body.toString());
  return { repository, digest: of, bytes, path: `/v2/${repository}/blobs/${of}` };
}

/** Pushes a manifest, whose blobs are there, under its digest and a tag. Gives its path by tag. */
export async function pushManifest(home: Home, repository: string, manifest: Manifest, tag = 'latest') {
  const path = `/v2/${repository}/manifests/${tag}`;
  const headers = { 'Content-Type': manifest.mediaType };
  const answer = await send(home.url, path, { method: 'PUT', body: manifest.bytes, headers });
  assert.equal(answer.status, 201, answer.body.toString());
  return path;
}

/** The URL that the registry redirects to. */
export async function locationOf(home: Home, { path }: Pushed, headers = {}): Promise<string> {
  const answer = await send(home.url, path, { headers });
  assert.equal(answer.status, 307, answer.body.toString());
  assert.equal(answer.body.length, 0);
  return answer.headers.location ?? '';
}

/** The error of an answer in the shape of the specification. */
export function errorOf({ body }: Answer): { code: string; message: string } {
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string; message: string }[] };
  const [error] = errors;
  assert.ok(error !== undefined && errors.length === 1);
  return error;
}
