/**
 * The /v2/ API: one table, in the order of the specification ("Endpoints"), with the access that each row needs. Names have
 * slashes, and may even have components such as `manifests`: the greedy `:name+` finds the last place that fits.
 */
import { type IRequest, IttyRouter } from 'itty-router';
import { OciError } from '../oci/errors.ts';
import type { Registry } from '../oci/registry.ts';
import { deleteBlob, getBlob, headBlob } from './blobs.ts';
import { Exchange, type Handler } from './exchange.ts';
import { listCatalog, listReferrers, listTags } from './lists.ts';
import { deleteManifest, getManifest, headManifest, putManifest } from './manifests.ts';
import { appendChunk, cancelUpload, commitUpload, startUpload, uploadStatus } from './uploads.ts';

/** What a caller must be allowed to do; the scope of the token specification. */
export type Access = 'none' | 'pull' | 'push' | 'delete' | 'catalog';

interface Route {
  end: string;
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  access: Access;
  handle: Handler;
}

const BLOB = '/v2/:name+/blobs/:digest';
const MANIFEST = '/v2/:name+/manifests/:reference';
const UPLOADS = '/v2/:name+/blobs/uploads';
const UPLOAD = '/v2/:name+/blobs/uploads/:id';

/** `UPLOADS` and `UPLOAD` come before `BLOB`, which would take "uploads" for a digest. */
export const ROUTES: Route[] = [
  { end: 'end-1', method: 'GET', path: '/v2', access: 'none', handle: ping },
  { end: 'end-1', method: 'HEAD', path: '/v2', access: 'none', handle: ping },
  { end: 'catalog', method: 'GET', path: '/v2/_catalog', access: 'catalog', handle: listCatalog },
  { end: 'end-4a', method: 'POST', path: UPLOADS, access: 'push', handle: startUpload },
  { end: 'end-5', method: 'PATCH', path: UPLOAD, access: 'push', handle: appendChunk },
  { end: 'end-6', method: 'PUT', path: UPLOAD, access: 'push', handle: commitUpload },
  { end: 'end-13', method: 'GET', path: UPLOAD, access: 'push', handle: uploadStatus },
  { end: 'end-14', method: 'DELETE', path: UPLOAD, access: 'push', handle: cancelUpload },
  { end: 'end-2', method: 'GET', path: BLOB, access: 'pull', handle: getBlob },
  { end: 'end-2', method: 'HEAD', path: BLOB, access: 'pull', handle: headBlob },
  { end: 'end-10', method: 'DELETE', path: BLOB, access: 'delete', handle: deleteBlob },
  { end: 'end-3', method: 'GET', path: MANIFEST, access: 'pull', handle: getManifest },
  { end: 'end-3', method: 'HEAD', path: MANIFEST, access: 'pull', handle: headManifest },
  { end: 'end-7', method: 'PUT', path: MANIFEST, access: 'push', handle: putManifest },
  { end: 'end-9', method: 'DELETE', path: MANIFEST, access: 'delete', handle: deleteManifest },
  { end: 'end-8', method: 'GET', path: '/v2/:name+/tags/list', access: 'pull', handle: listTags },
  {
    end: 'end-12',
    method: 'GET',
    path: '/v2/:name+/referrers/:digest',
    access: 'pull',
    handle: listReferrers,
  },
];

async function ping(): Promise<Response> {
  return Response.json({});
}

/** Answers a request under /v2/. Throws `OciError`. */
export function distribution(request: Request, registry: Registry): Promise<Response> {
  return router.fetch(request, registry);
}

const router = IttyRouter();
for (const path of new Set(ROUTES.map((route) => route.path))) {
  const routes = ROUTES.filter((route) => route.path === path);
  const allow = routes.map((route) => route.method).join(', ');
  for (const { method, handle } of routes) {
    router[method.toLowerCase()]?.(path, (request: IRequest, registry: Registry) =>
      handle(new Exchange(request as unknown as Request, request.params, registry)),
    );
  }
  router.all(path, (request: IRequest) => {
    throw new OciError('UNSUPPORTED', {
      message: `${request.method.slice(0, 20)} is not supported here; ${allow} is`,
      headers: { Allow: allow },
    });
  });
}
router.all('*', () => {
  throw new OciError('NAME_UNKNOWN', { message: 'the distribution API has no such endpoint' });
});
