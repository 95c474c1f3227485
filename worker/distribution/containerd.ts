/**
 * Uploads past the Worker by clients that know nothing of it: those whose pusher is containerd's. They follow a Location to another
 * host, send one PUT without credentials, and take 200 for an answer. They name the digest only in that PUT, so it is known from
 * the HEAD before the POST. docs/direct-uploads.md.
 */
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { AskingClient } from '../oci/registry.ts';
import type { DirectGrants } from '../s3/direct-grants.ts';
import type { Exchange } from './exchange.ts';

/** containerd 2.2 accepts answers without Docker-Content-Digest, as R2 gives them. 2.3 adds `ns` to a PUT at another host. */
const CONTAINERD = /^containerd\/v?(\d+)\.(\d+)\.\d+(?:\+\S*)?(?: |$)/;
/** Docker with containerd's store, whose daemon says which release of containerd it is built with. */
const DOCKER = /^docker\/.* containerd-client\/v?(\d+)\.(\d+)\.\d+(?:\+\S*)?(?: |$)/;
/** BuildKit 0.32 is the first release with containerd 2.3. */
const BUILDKIT = /^buildkit\/v(\d+)\.(\d+)(?: |$)/;

interface Pusher {
  addsNamespace: boolean;
}

/** Null for a client that is not known to push so. Pre-releases are not known. */
function pusherOf(userAgent: string): Pusher | null {
  const [, major, minor] = CONTAINERD.exec(userAgent) ?? DOCKER.exec(userAgent) ?? [];
  if (major === '2' && Number(minor) >= 2) return { addsNamespace: Number(minor) >= 3 };
  const [, era, release] = BUILDKIT.exec(userAgent) ?? [];
  return era === '0' && Number(release) >= 32 ? { addsNamespace: true } : null;
}

/** The client, if it is to store bytes past the Worker; else null. */
function askingClient(exchange: Exchange): (AskingClient & Pusher & { grants: DirectGrants }) | null {
  const { services, request } = exchange;
  const userAgent = exchange.header('User-Agent') ?? '';
  const grants = services.directForAll;
  const pusher = grants === null ? null : pusherOf(userAgent);
  if (grants === null || pusher === null) return null;
  // Two machines behind one user push at once, and their turns must not be mixed up.
  const address = exchange.header('CF-Connecting-IP') ?? '';
  return { grants, ...pusher, key: JSON.stringify([services.guard.senderOf(request), address, userAgent]) };
}

/**
 * For a blob that is not in the repository: whether its bytes have arrived past the Worker, and are linked now. If not, waits until the
 * client may start the upload.
 */
export async function hasArrived(exchange: Exchange, digest: Digest): Promise<boolean> {
  const client = askingClient(exchange);
  if (client === null) return false;
  // containerd puts the media type of the blob first. Configs are JSON, and small.
  const [mediaType = ''] = (exchange.header('Accept') ?? '').split(',');
  return exchange.repository.ask(client, digest, !mediaType.trim().endsWith('+json'));
}

/** The answer with a Location past the Worker; null for an ordinary upload. Throws DIGEST_INVALID. */
export async function startAsked(exchange: Exchange): Promise<Response | null> {
  const client = askingClient(exchange);
  if (client === null) return null;
  const mount = exchange.query.get('mount');
  const begun = await exchange.repository.startAsked(client, mount === null ? null : parseDigest(mount));
  if (begun === null) return null;
  const namespace = exchange.query.get('ns') ?? exchange.header('Host') ?? exchange.url.host;
  const added = { digest: begun.digest, ...(client.addsNamespace && { ns: namespace }) };
  const location = new URL((await client.grants.putByQuery(begun.key, begun.digest, added)).url);
  for (const name of Object.keys(added)) location.searchParams.delete(name);
  return new Response(null, {
    status: 202,
    headers: {
      Location: location.href,
      'Docker-Upload-UUID': begun.id,
      'Content-Length': '0',
      'Cache-Control': 'no-store',
    },
  });
}

/** Ends the turn of a client whose blob was mounted. */
export async function endTurn(exchange: Exchange): Promise<void> {
  const client = askingClient(exchange);
  if (client !== null) await exchange.repository.endTurn(client);
}
