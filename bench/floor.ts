// The floor: a minimal Worker in the same home. It answers the same requests with only the calls to the blob store and to
// Durable Objects that every registry needs. It checks nothing and remembers nothing.
import { DurableObject } from 'cloudflare:workers';
import { PART_BYTES } from '../worker/blobs/r2.ts';

interface FloorEnv {
  REPOSITORY: DurableObjectNamespace<Rows>;
  BLOB_SHARD: DurableObjectNamespace<Rows>;
  CATALOG: DurableObjectNamespace<Rows>;
  ACCOUNTS: DurableObjectNamespace<Rows>;
  DISK?: Fetcher;
  BLOBS?: R2Bucket;
}

class Rows extends DurableObject<FloorEnv> {
  constructor(ctx: DurableObjectState, env: FloorEnv) {
    super(ctx, env);
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS rows (name TEXT PRIMARY KEY, bytes BLOB) WITHOUT ROWID');
  }

  /** One row, by its name. */
  get(name: string): Uint8Array | null {
    const [row] = this.ctx.storage.sql
      .exec<{ bytes: ArrayBuffer }>('SELECT bytes FROM rows WHERE name = ?', name)
      .toArray();
    return row === undefined ? null : new Uint8Array(row.bytes);
  }

  put(names: string[], bytes: Uint8Array): void {
    for (const name of names) {
      this.ctx.storage.sql.exec('INSERT OR REPLACE INTO rows VALUES (?, ?)', name, bytes.slice().buffer);
    }
  }

  page(after: string, count: number): string[] {
    return this.ctx.storage.sql
      .exec<{ name: string }>('SELECT name FROM rows WHERE name > ? ORDER BY name LIMIT ?', after, count)
      .toArray()
      .map((row) => row.name);
  }
}

// Both homes use these names for their Durable Objects.
export {
  Rows as Accounts,
  Rows as AuditLog,
  Rows as BlobShard,
  Rows as Catalog,
  Rows as Repository,
  Rows as UploadSession,
};

/** R2's multipart upload between a PATCH and its PUT. It is lost if the isolate ends. */
const uploads = new Map<string, { multipart: R2MultipartUpload; parts: R2UploadedPart[] }>();
const PATH = /^\/v2\/(.+)\/(blobs\/uploads|blobs|manifests|tags)\/([^/]*)$/;
const SIZE = new TextEncoder();
let signingKey: CryptoKey | null = null;

export default {
  async fetch(request: Request, env: FloorEnv): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === '/v2/_catalog') {
      return Response.json({ repositories: await env.CATALOG.getByName('catalog').page('', 100) });
    }
    if (url.pathname === '/bench/catalog') {
      await env.CATALOG.getByName('catalog').put(await request.json(), new Uint8Array());
      return new Response(null, { status: 204 });
    }
    if (url.pathname === '/token') return token(env, url.search);
    const [, name = '', kind, reference = ''] = PATH.exec(url.pathname) ?? [];
    switch (kind) {
      case 'blobs':
        return blob(request, env, name, reference);
      case 'blobs/uploads':
        return upload(request, env, name, reference, url.searchParams);
      case 'manifests':
        return manifest(request, env, name, reference);
      case 'tags':
        // "t" sorts before every tag and after every digest.
        return Response.json({ name, tags: await env.REPOSITORY.getByName(name).page('t', 100) });
      default:
        return new Response(null);
    }
  },
};

async function manifest(request: Request, env: FloorEnv, name: string, reference: string): Promise<Response> {
  const repository = env.REPOSITORY.getByName(name);
  if (request.method === 'PUT') {
    const bytes = await request.bytes();
    const digest = `sha256:${hex(await crypto.subtle.digest('SHA-256', bytes))}`;
    await repository.put([digest, reference], bytes);
    return new Response(null, { status: 201 });
  }
  const bytes = await repository.get(reference);
  if (bytes === null) return new Response(null, { status: 404 });
  if (request.method === 'GET') return new Response(bytes as BodyInit);
  return new Response(null, { headers: { 'Content-Length': String(bytes.length) } });
}

async function blob(request: Request, env: FloorEnv, name: string, digest: string): Promise<Response> {
  if (request.method === 'GET') return bytesOf(env, `blobs/${digest}`, request.headers.get('Range'));
  const row = await env.REPOSITORY.getByName(name).get(digest);
  if (row === null) return new Response(null, { status: 404 });
  return new Response(null, { headers: { 'Content-Length': new TextDecoder().decode(row) } });
}

/** Only a get: a pull needs no Durable Object if the registry remembers the blob. */
async function bytesOf(env: FloorEnv, key: string, range: string | null): Promise<Response> {
  const headers = new Headers(range === null ? {} : { Range: range });
  const body =
    env.DISK !== undefined
      ? (await env.DISK.fetch(`http://disk/${key}`, { headers })).body
      : ((await env.BLOBS?.get(key, range === null ? {} : { range: headers }))?.body ?? null);
  if (body === null) return new Response(null, { status: 404 });
  return new Response(body, { status: range === null ? 200 : 206 });
}

/** One lookup for the credentials, and one signature for the token. */
async function token(env: FloorEnv, text: string): Promise<Response> {
  await env.ACCOUNTS.getByName('accounts').get('robot');
  if (signingKey === null) {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
    signingKey = (pair as CryptoKeyPair).privateKey;
  }
  const signature = await crypto.subtle.sign(
    { name: 'ECDSA', hash: 'SHA-256' },
    signingKey,
    SIZE.encode(text),
  );
  return Response.json({ token: hex(signature) });
}

async function upload(
  request: Request,
  env: FloorEnv,
  name: string,
  id: string,
  query: URLSearchParams,
): Promise<Response> {
  const digest = query.get('digest') ?? query.get('mount');
  if (request.method === 'POST' && digest === null) {
    return new Response(null, {
      status: 202,
      headers: { Location: `/v2/${name}/blobs/uploads/${crypto.randomUUID()}` },
    });
  }
  const size = request.headers.get('Content-Length');
  if (request.method === 'PATCH' && request.body !== null) {
    await append(env, id, request.body, size === null ? null : Number(size));
    return new Response(null, { status: 202, headers: { Location: new URL(request.url).pathname } });
  }
  if (digest === null) return new Response(null, { status: 400 });
  if (request.body !== null && size !== '0' && request.method === 'PUT') await put(env, digest, request.body);
  else await finish(env, id);
  await env.BLOB_SHARD.getByName(digest.slice(7, 9)).put([digest], SIZE.encode(name));
  await env.REPOSITORY.getByName(name).put([digest], SIZE.encode(size ?? '0'));
  return new Response(null, { status: 201 });
}

async function put(env: FloorEnv, digest: string, body: ReadableStream<Uint8Array>): Promise<void> {
  const key = `blobs/${digest}`;
  if (env.DISK !== undefined) await env.DISK.fetch(`http://disk/${key}`, { method: 'PUT', body });
  else await env.BLOBS?.put(key, body, { sha256: digest.slice('sha256:'.length) });
}

/** A body with a length is one part. Others are cut into equal parts. On disk, each part is a file. */
async function append(
  env: FloorEnv,
  id: string,
  body: ReadableStream<Uint8Array>,
  size: number | null,
): Promise<void> {
  if (env.DISK !== undefined) {
    await env.DISK.fetch(`http://disk/blobs/${id}/${crypto.randomUUID()}`, { method: 'PUT', body });
    return;
  }
  if (env.BLOBS === undefined) throw new Error('neither a bucket (BLOBS) nor a folder (DISK) is bound');
  let state = uploads.get(id);
  if (state === undefined) {
    state = { multipart: await env.BLOBS.createMultipartUpload(`blobs/${id}`), parts: [] };
    uploads.set(id, state);
  }
  const { multipart, parts } = state;
  if (size !== null) {
    parts.push(await multipart.uploadPart(parts.length + 1, body));
    return;
  }
  const reader = body.getReader({ mode: 'byob' });
  let uploading = Promise.resolve();
  for (let done = false; !done; ) {
    const piece = await reader.readAtLeast(PART_BYTES, new Uint8Array(PART_BYTES));
    await uploading;
    done = piece.value === undefined || piece.value.length < PART_BYTES;
    const { value } = piece;
    if (value === undefined || value.length === 0) break;
    uploading = multipart.uploadPart(parts.length + 1, value).then((part) => {
      parts.push(part);
    });
  }
  await uploading;
}

async function finish(env: FloorEnv, id: string): Promise<void> {
  const state = uploads.get(id);
  uploads.delete(id);
  if (state !== undefined) await state.multipart.complete(state.parts);
  else if (env.DISK !== undefined && id !== '')
    await env.DISK.fetch(`http://disk/blobs/${id}`, { method: 'HEAD' });
}

function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
