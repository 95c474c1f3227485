/**
 * The blob store of a home, as a test drives it over HTTP: one path for each method of `BlobStore`. Drafts stay here between
 * requests, and grow as an `UploadSession` lets them grow.
 */
import { createHash } from 'node:crypto';
import { blobStore } from '../../worker/blob-store.ts';
import type { Added, BlobStore, Draft } from '../../worker/blobs/store.ts';
import type { Env } from '../../worker/env.ts';
import { memory } from '../../worker/memory/budget.ts';
import { parseDigest } from '../../worker/oci/digest.ts';
import { invocation, observed } from '../support/observed.ts';
import registry from '../support/worker.ts';

export { Accounts, BlobShard, Catalog, Repository, UploadSession } from '../support/worker.ts';

/** What an append has come to. */
export interface AppendAnswer {
  /** The sizes of all parts of the draft, in bytes. */
  parts: number[];
  tail: number;
  multipart: boolean;
  error: string | null;
  intact: boolean;
  /** The sha256 of what the tap saw in this append, and how much it was. */
  tapped: string;
  tappedBytes: number;
}

/** Bodies on their way: an answer that came before their end would break the connection. */
const sending = new WeakMap<Request, Promise<void>>();
const drafts = new Map<string, Draft>();

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    if (!url.pathname.startsWith('/store/')) return registry.fetch(request, env, ctx);
    const query = Object.fromEntries(url.searchParams);
    const blobs = blobStore(observed(env));
    const response = await invocation(() =>
      store(url.pathname.slice('/store/'.length), query, request, blobs),
    );
    await sending.get(request);
    return response;
  },
};

async function store(
  method: string,
  query: Record<string, string>,
  request: Request,
  blobs: BlobStore,
): Promise<Response> {
  const { key = '', name = '' } = query;
  try {
    if (method === 'put') {
      const digest = parseDigest(query.digest ?? '');
      const lease = memory.lease();
      const stored = blobs.put(key, bodyOf(request, query), Number(query.size), digest, lease);
      return Response.json(await stored.finally(() => lease.end()));
    }
    if (method === 'append') return Response.json(await append(blobs, name, query, request));
    if (method === 'finish') {
      await blobs.finish(draftOf(name), query.again === 'true');
      return Response.json(blobs.keyOf(draftOf(name)));
    }
    if (method === 'discard') return Response.json((await blobs.discard(draftOf(name))) ?? null);
    if (method === 'delete') return Response.json((await blobs.delete(await request.json())) ?? null);
    const range = query.offset && { offset: Number(query.offset), length: Number(query.length) };
    const found = await blobs.get(key, range || undefined);
    return new Response(found?.body ?? null, { status: found === null ? 404 : 200 });
  } catch (error) {
    return new Response(String(error), { status: 500 });
  }
}

async function append(
  blobs: BlobStore,
  name: string,
  query: Record<string, string>,
  request: Request,
): Promise<AppendAnswer> {
  const draft = draftOf(name);
  const size = query.size === undefined ? null : Number(query.size);
  const tapped = createHash('sha256');
  let tappedBytes = 0;
  const before = draft.tail.bytes ?? new Uint8Array();
  const lease = memory.lease();
  await lease.take(before.length);
  let tail = before;
  let reserved = blobs.partsFor(size);
  // What is added becomes part of the draft as an `UploadSession` makes it.
  const keep = async ({ multipart, parts, tail: more }: Added) => {
    tail = parts.length > 0 ? more.slice() : Uint8Array.from(Buffer.concat([tail, more]));
    reserved -= parts.length;
    if (reserved < 0) throw new Error('more parts than were set aside');
    draft.parts.push(...parts);
    draft.multipart = multipart;
  };
  const added = await blobs
    .append(draft, bodyOf(request, query), size, {
      lease,
      tap: (bytes) => {
        tappedBytes += bytes.length;
        tapped.update(bytes);
      },
      keep,
      loadTail: async () => tail.slice(),
    })
    .finally(() => lease.end());
  await keep(added);
  draft.tail = { size: tail.length, bytes: tail };
  draft.firstPart = (draft.parts.at(-1)?.number ?? 0) + 1;
  return {
    parts: draft.parts.map((part) => part.size),
    tail: draft.tail.size,
    multipart: draft.multipart !== null,
    error: added.error === null ? null : String(added.error),
    intact: added.intact,
    tapped: tapped.digest('hex'),
    tappedBytes,
  };
}

function draftOf(name: string): Draft {
  const known = drafts.get(name);
  if (known !== undefined) return known;
  const draft = {
    id: crypto.randomUUID(),
    multipart: null,
    parts: [],
    firstPart: 1,
    tail: { size: 0, bytes: null },
  };
  drafts.set(name, draft);
  return draft;
}

/** The body of the request; with `failAfter`, one that breaks off after that number of bytes. */
function bodyOf(request: Request, { size, failAfter }: Record<string, string>): ReadableStream<Uint8Array> {
  const { readable, writable } =
    size === undefined ? new IdentityTransformStream() : new FixedLengthStream(Number(size));
  const { body } = request;
  const sent =
    body === null
      ? writable.close()
      : failAfter === undefined
        ? body.pipeTo(writable)
        : breakOff(body, writable, Number(failAfter));
  sending.set(
    request,
    sent.catch(() => undefined),
  ); // The reader has received the error.
  return readable;
}

/** Passes that number of bytes on and then fails; the rest is read, so that the client can hear the answer. */
async function breakOff(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream,
  left: number,
): Promise<void> {
  const writer = writable.getWriter();
  const reader = body.getReader({ mode: 'byob' });
  for (;;) {
    const { value } = await reader.readAtLeast(64 * 1024, new Uint8Array(64 * 1024));
    if (value === undefined || value.length === 0) return;
    if (left === 0) continue;
    await writer.write(value.subarray(0, left));
    left -= Math.min(left, value.length);
    if (left === 0) await writer.abort(new Error('the client went away'));
  }
}
