/**
 * Uploads: end-4, end-5, end-6, end-11, end-13 and end-14. Distribution spec, "Pushing blobs".
 * Clients need Location on every answer, the exact Range after a PATCH (Docker reads the size of a layer from it), and status 201
 * for the final PUT.
 */
import { type Digest, parseAlgorithm, parseDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { CHUNK_RECOMMENDED_BYTES } from '../oci/limits.ts';
import { originOf } from '../oci/origin.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Repository, Upload } from '../oci/registry.ts';
import { endTurn, startAsked } from './containerd.ts';
import { announcedBlob, grantFor, renewedGrant, withGrant } from './direct.ts';
import type { Exchange } from './exchange.ts';

/** `longshore push` sends large layers in chunks. */
const OWN_USER_AGENT = 'longshore';

/** A POST starts an upload, uploads a whole blob (`digest`), or mounts a blob (`mount`). */
export async function startUpload(exchange: Exchange): Promise<Response> {
  const { query, repository } = exchange;
  const mount = query.get('mount');
  if (mount !== null) {
    const from = query.get('from');
    const digest = parseDigest(mount);
    const mounted = await repository.mountBlob(digest, from === null ? [] : parseRepositoryName(from));
    if (mounted) {
      await endTurn(exchange);
      return created(repository, digest);
    }
  }
  const digest = query.get('digest');
  if (digest !== null) {
    const parsed = parseDigest(digest);
    const upload = await repository.startUpload('sha256', null);
    await upload.commit(parsed, exchange.chunk());
    return created(repository, parsed);
  }
  const asked = await startAsked(exchange);
  if (asked !== null) return asked;
  const algorithm = parseAlgorithm(query.get('digest-algorithm') ?? 'sha256');
  const announced = announcedBlob(exchange);
  const upload = await repository.startUpload(algorithm, announced);
  const grant = announced === null ? null : await grantFor(exchange.services.direct, upload, announced);
  if (grant !== null) return withGrant(grant, 202, uploadHeaders(repository, upload, 0));
  const userAgent = exchange.header('User-Agent') ?? '';
  const isWarned = (await upload.offer(userAgent)) && !userAgent.startsWith(OWN_USER_AGENT);
  const answer = accepted(repository, upload, 0);
  if (isWarned) answer.headers.set('Warning', warningOf(exchange.request));
  return answer;
}

export async function appendChunk(exchange: Exchange): Promise<Response> {
  const { repository, upload } = await find(exchange);
  const offset = await upload.append(exchange.chunk()).catch((error) => refuse(error, repository, upload));
  return accepted(repository, upload, offset);
}

export async function commitUpload(exchange: Exchange): Promise<Response> {
  const text = exchange.query.get('digest');
  if (text === null)
    throw new OciError('DIGEST_INVALID', { message: 'the final PUT names the digest: ?digest=' });
  const digest = parseDigest(text);
  const { repository, upload } = await find(exchange);
  await upload.commit(digest, exchange.chunk()).catch((error) => refuse(error, repository, upload));
  return created(repository, digest);
}

export async function uploadStatus(exchange: Exchange): Promise<Response> {
  const { repository, upload } = await find(exchange);
  if (announcedBlob(exchange) !== null) {
    const grant = await renewedGrant(exchange.services.direct, upload);
    if (grant !== null) return withGrant(grant, 200, uploadHeaders(repository, upload, 0));
  }
  const offset = await upload.status();
  return new Response(null, { status: 204, headers: uploadHeaders(repository, upload, offset) });
}

export async function cancelUpload(exchange: Exchange): Promise<Response> {
  const { upload } = await find(exchange);
  await upload.cancel();
  return new Response(null, { status: 204 });
}

/** Distribution spec, "Warnings": podman, skopeo and crane print it. */
function warningOf(request: Request): string {
  const origin = originOf(request);
  const text = `an upload to this repository was cut off before the registry got it. Cloudflare refuses request bodies over 100 MB (200 MB on Business). Push images with larger layers by: npx ${origin}/cli.tgz push --to ${new URL(origin).host}/NAME:TAG IMAGE. docs/large-layers.md of Longshore has all ways`;
  return `299 - "${text}"`;
}

async function find(exchange: Exchange): Promise<{ repository: Repository; upload: Upload }> {
  const { repository } = exchange;
  const upload = await repository.upload(exchange.param('id'), exchange.query.get('token') ?? '');
  return { repository, upload };
}

/** A refused chunk does not change the upload. The answer says where to continue. */
function refuse(error: unknown, repository: Repository, upload: Upload): never {
  if (!(error instanceof OciError) || error.code !== 'BLOB_UPLOAD_INVALID') throw error;
  throw new OciError(error.code, {
    message: error.message,
    detail: error.detail,
    status: error.status,
    headers: { ...error.headers, Location: locationOf(repository, upload), 'Docker-Upload-UUID': upload.id },
  });
}

function accepted(repository: Repository, upload: Upload, offset: number): Response {
  return new Response(null, {
    status: 202,
    headers: {
      ...uploadHeaders(repository, upload, offset),
      'OCI-Chunk-Min-Length': String(CHUNK_RECOMMENDED_BYTES),
      // `longshore push` then does not hash what it reads.
      'Longshore-Checks': 'digest',
    },
  });
}

function created(repository: Repository, digest: Digest): Response {
  return new Response(null, {
    status: 201,
    headers: {
      Location: `/v2/${repository.name}/blobs/${digest}`,
      'Docker-Content-Digest': digest,
      'Content-Length': '0',
    },
  });
}

function uploadHeaders(repository: Repository, upload: Upload, offset: number): Record<string, string> {
  return {
    Location: locationOf(repository, upload),
    Range: `0-${Math.max(0, offset - 1)}`,
    'Docker-Upload-UUID': upload.id,
    'Content-Length': '0',
  };
}

function locationOf(repository: Repository, upload: Upload): string {
  return `/v2/${repository.name}/blobs/uploads/${upload.id}?token=${upload.token}`;
}
