/**
 * Deletes what is in the store and in no use. Before that, every object is asked again, in as many requests as that takes. Between them
 * the caller has a token with what was asked so far. It has a MAC, so that nothing is deleted that was not asked about.
 */
import { blobStore } from '../blob-store.ts';
import { blobKey } from '../blobs/storage-key.ts';
import type { Env } from '../env.ts';
import { OciError } from '../oci/errors.ts';
import type { MultipartUploads } from '../s3/multipart-uploads.ts';
import { Calls } from './calls.ts';
import { ask, firstPlace, type Place, Places } from './places.ts';

/** What is younger is never deleted here: it may be in use by something that is not written yet. */
export const LEFTOVER_AGE_MS = 2 * 24 * 3600 * 1000;
/** Leftovers that one run asks about: their token fits the body of a request. */
export const LEFTOVERS_MAX = 100;

export interface Leftover {
  /** The uuid of the content. */
  id: string;
  /** R2's id of a multipart upload; null for content. */
  uploadId: string | null;
}

export interface LeftoverStep {
  /** Those that are in no use. With `repair`, they were deleted. */
  leftovers: Leftover[];
  /** What the next request must send; null after the last. */
  token: string | null;
  isRepair: boolean;
}

interface State {
  open: Leftover[];
  repair: boolean;
  /** The next object to ask; null when all were asked. */
  at: Place | null;
}

/** What a request needs. `key` makes the MAC. */
export interface LeftoverContext {
  env: Env;
  multiparts: MultipartUploads | null;
  key: CryptoKey;
}

export function beginLeftovers(
  context: LeftoverContext,
  open: Leftover[],
  repair: boolean,
  count: number,
): Promise<LeftoverStep> {
  return step(context, { open, repair, at: firstPlace(context.env) }, count);
}

/** Throws INPUT_INVALID for a token that is not of this registry. */
export async function continueLeftovers(
  context: LeftoverContext,
  token: string,
  count: number,
): Promise<LeftoverStep> {
  return step(context, await stateOf(context.key, token), count);
}

async function step(context: LeftoverContext, state: State, count: number): Promise<LeftoverStep> {
  const calls = new Calls(count);
  const places = new Places(context.env);
  let { open, at } = state;
  while (at !== null && open.length > 0 && calls.take()) {
    open = await withoutKnown(context.env, at, open);
    at = await places.after(at);
  }
  const leftovers: Leftover[] = [];
  // One call looks at the age, another deletes.
  while (at === null && open.length > 0 && calls.take(2)) {
    const [one, ...others] = open as [Leftover, ...Leftover[]];
    if (await isOld(context, one)) {
      if (state.repair) await remove(context.env, one);
      leftovers.push(one);
    }
    open = others;
  }
  const token = open.length === 0 ? null : await tokenOf(context.key, { ...state, open, at });
  return { leftovers, token, isRepair: state.repair };
}

/** A multipart upload belongs to a session only. Its key may have content of another upload. */
async function withoutKnown(env: Env, at: Place, open: Leftover[]): Promise<Leftover[]> {
  const asked = at.kind === 'session' ? open : open.filter(({ uploadId }) => uploadId === null);
  if (asked.length === 0) return open;
  const ids = asked.map(({ id }) => id);
  const known = await ask(env, at, {
    session: (session) => session.draftsAmong(ids),
    shard: (shard) => shard.contentsAmong(ids),
    repository: (repository) => repository.blobsAmong(ids),
  });
  const knownIds = new Set(known);
  return open.filter((one) => !asked.includes(one) || !knownIds.has(one.id));
}

async function isOld({ env, multiparts }: LeftoverContext, { id, uploadId }: Leftover): Promise<boolean> {
  const before = Date.now() - LEFTOVER_AGE_MS;
  if (uploadId === null) {
    const { entries } = await blobStore(env).list(id.slice(0, -1), 1);
    return entries.some((entry) => entry.id === id && entry.changedAt < before);
  }
  const listed = await multiparts?.list(null, blobKey(id));
  return listed?.entries.some((entry) => entry.uploadId === uploadId && entry.begunAt < before) ?? false;
}

async function remove(env: Env, { id, uploadId }: Leftover): Promise<void> {
  const store = blobStore(env);
  if (uploadId !== null) {
    await store.abandon({ id, multipart: uploadId, parts: [], firstPart: 1, tail: { size: 0, bytes: null } });
    return;
  }
  const failed = await store.delete([blobKey(id)]);
  if (failed.length === 0) return;
  throw new OciError('UNAVAILABLE', { message: `${blobKey(id)} could not be deleted: try again` });
}

async function tokenOf(key: CryptoKey, state: State): Promise<string> {
  const text = JSON.stringify(state);
  const mac = new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(text)));
  return `${btoa(String.fromCharCode(...mac))}.${text}`;
}

async function stateOf(key: CryptoKey, token: string): Promise<State> {
  const [mac = '', ...rest] = token.split('.');
  const text = rest.join('.');
  if (/^[A-Za-z0-9+/=]{44}$/.test(mac)) {
    const bytes = Uint8Array.from(atob(mac), (character) => character.charCodeAt(0));
    if (await crypto.subtle.verify('HMAC', key, bytes, new TextEncoder().encode(text)))
      return JSON.parse(text) as State;
  }
  throw new OciError('INPUT_INVALID', { message: 'token: is that of the answer before' });
}
