/** A repository that a test of the edge cache has pushed to, and requests to it, of which none follows a redirect. */
import assert from 'node:assert/strict';
import { blob, digest, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

/** Blobs of this size are redirected: the answer shows the link, and whose bytes it leads to. */
const LAYER_BYTES = 64 * 1024;

interface Answer {
  headers: Record<string, string>;
  bytes: Buffer;
}

type Send = (
  method: string,
  path: string,
  status: number,
  body?: Buffer,
  headers?: Record<string, string>,
) => Promise<Answer>;

export interface Pushed {
  name: string;
  send: Send;
  image: Manifest;
  /** The image's only one. */
  layer: Buffer;
  /** A blob that no manifest references, so that it can be deleted. */
  loose: Buffer;
}

export async function pushed(home: Home): Promise<Pushed> {
  const name = repositoryName();
  const send = client(home, name);
  const [layer, loose] = [blob(LAYER_BYTES), blob(LAYER_BYTES)];
  const image = imageManifest({ layers: [layer] });
  for (const bytes of [...image.blobs, loose]) {
    await send('POST', `blobs/uploads/?digest=${digest(bytes)}`, 201, bytes);
  }
  await send('PUT', 'manifests/latest', 201, image.bytes, { 'Content-Type': image.mediaType });
  return { name, send, image, layer, loose };
}

export function client(home: Home, name: string): Send {
  const visitor = new Visitor(home, null);
  return async (method, path, status, body, headers = {}) => {
    const { href } = new URL(path, `${home.url}/v2/${name}/`);
    const answer = await visitor.must(status, method, href, { headers, ...(body && { body }) });
    const { date: _, ...others } = Object.fromEntries(answer.headers);
    return { headers: others, bytes: answer.bytes };
  };
}

export function configOf(image: Manifest): Buffer {
  const [config] = image.blobs;
  assert.ok(config !== undefined);
  return config;
}
