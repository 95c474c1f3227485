/**
 * The /v2/ API as one table: the specification's name of each endpoint, and the access that it requires. Repository names contain
 * slashes, and may contain components such as `manifests`. The greedy `:name+` matches up to the last such component.
 */
import { IttyRouter } from 'itty-router';
import type { RequiredAccess } from '../access/model.ts';
import { OciError } from '../oci/errors.ts';
import { deleteBlob, getBlob, headBlob } from './blobs.ts';
import { Exchange, type Handler, type Services } from './exchange.ts';
import { listCatalog, listReferrers, listTags } from './lists.ts';
import { deleteManifest, getManifest, headManifest, putManifest } from './manifests.ts';
import { appendChunk, cancelUpload, commitUpload, startUpload, uploadStatus } from './uploads.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
/** A request with the parts of the path that the route names. */
type Routed = Request & { params: Record<string, string | undefined> };
type Route = [end: string, method: Method, path: string, required: RequiredAccess, handle: Handler];

const PING = '/v2';
const CATALOG = '/v2/_catalog';
const BLOB = '/v2/:name+/blobs/:digest';
const MANIFEST = '/v2/:name+/manifests/:reference';
const UPLOADS = '/v2/:name+/blobs/uploads';
const UPLOAD = '/v2/:name+/blobs/uploads/:id';
const TAGS = '/v2/:name+/tags/list';
const REFERRERS = '/v2/:name+/referrers/:digest';

/** `UPLOADS` and `UPLOAD` come before `BLOB`, which would take "uploads" for a digest. */
const ROUTES: Route[] = [
  ['end-1', 'GET', PING, 'none', ping],
  ['end-1', 'HEAD', PING, 'none', headOf(ping)],
  ['catalog', 'GET', CATALOG, 'catalog', listCatalog],
  ['catalog', 'HEAD', CATALOG, 'catalog', headOf(listCatalog)],
  ['end-4a', 'POST', UPLOADS, 'push', startUpload],
  ['end-5', 'PATCH', UPLOAD, 'push', appendChunk],
  ['end-6', 'PUT', UPLOAD, 'push', commitUpload],
  ['end-13', 'GET', UPLOAD, 'push', uploadStatus],
  ['end-14', 'DELETE', UPLOAD, 'push', cancelUpload],
  ['end-2', 'GET', BLOB, 'pull', getBlob],
  ['end-2', 'HEAD', BLOB, 'pull', headBlob],
  ['end-10', 'DELETE', BLOB, 'delete', deleteBlob],
  ['end-3', 'GET', MANIFEST, 'pull', getManifest],
  ['end-3', 'HEAD', MANIFEST, 'pull', headManifest],
  ['end-7', 'PUT', MANIFEST, 'push', putManifest],
  ['end-9', 'DELETE', MANIFEST, 'delete', deleteManifest],
  ['end-8', 'GET', TAGS, 'pull', listTags],
  ['end-8', 'HEAD', TAGS, 'pull', headOf(listTags)],
  ['end-12', 'GET', REFERRERS, 'pull', listReferrers],
  ['end-12', 'HEAD', REFERRERS, 'pull', headOf(listReferrers)],
];

async function ping(): Promise<Response> {
  return Response.json({});
}

/** The answer to GET without its body. RFC 9110, section 9.3.2. */
function headOf(handle: Handler): Handler {
  return async (exchange) => {
    const { status, headers } = await handle(exchange);
    return new Response(null, { status, headers });
  };
}

/** Answers a request under /v2/. Throws `OciError`. */
export function distribution(request: Request, services: Services): Promise<Response> {
  return router.fetch(request, services);
}

const router = IttyRouter();
for (const path of new Set(ROUTES.map(([, , path]) => path))) {
  const here = ROUTES.filter((route) => route[2] === path);
  const allow = here.map(([, method]) => method).join(', ');
  for (const [, method, , required, handle] of here) {
    router[method.toLowerCase()]?.(path, async (request: Routed, services: Services) => {
      const registry = await services.guard.admit(request, required, request.params.name ?? null);
      return handle(new Exchange(request, request.params, services, registry));
    });
  }
  router.all(path, (request: Request) => {
    throw new OciError('UNSUPPORTED', {
      message: `${request.method.slice(0, 20)} is not supported here; ${allow} is`,
      headers: { Allow: allow },
    });
  });
}
router.all('*', () => {
  throw new OciError('NAME_UNKNOWN', { message: 'the distribution API has no such endpoint' });
});
