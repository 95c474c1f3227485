/** What the double of R2's S3 endpoint (`s3.ts`) asks of the bucket that the registry is bound to. It runs in the tests' Worker. */

import { observation } from './observed.ts';
import type { BucketOperation, CompletedPart } from './s3.ts';

/** 404: there is no such object. 409: the bucket refused, and the body says why. */
export async function answerBucket(url: URL, request: Request, bucket: R2Bucket): Promise<Response> {
  const query = Object.fromEntries(url.searchParams);
  const { op, key = '', uploadId = '', sha256, contentType, contentDisposition, contentEncoding } = query;
  const httpMetadata = {
    ...(contentType && { contentType }),
    ...(contentDisposition && { contentDisposition }),
    ...(contentEncoding && { contentEncoding }),
  };
  try {
    switch (op as BucketOperation) {
      case 'put': {
        const body = request.body ?? new Uint8Array();
        const { etag } = await bucket.put(key, body, { httpMetadata, ...(sha256 && { sha256 }) });
        return Response.json({ etag });
      }
      case 'get': {
        const object = await bucket.get(key);
        return new Response(object?.body ?? null, { status: object === null ? 404 : 200 });
      }
      case 'head': {
        const object = await bucket.head(key);
        return new Response(null, { status: object === null ? 404 : 200 });
      }
      case 'delete':
        await bucket.delete(key);
        return Response.json(null);
      case 'create':
        return Response.json((await bucket.createMultipartUpload(key, { httpMetadata })).uploadId);
      case 'part': {
        const number = Number(query.number);
        const upload = bucket.resumeMultipartUpload(key, uploadId);
        return Response.json({ etag: (await upload.uploadPart(number, await request.arrayBuffer())).etag });
      }
      case 'complete': {
        const parts = (await request.json()) as CompletedPart[];
        await bucket.resumeMultipartUpload(key, uploadId).complete(parts);
        observation.multiparts.delete(uploadId);
        return Response.json(null);
      }
      case 'abort':
        await bucket.resumeMultipartUpload(key, uploadId).abort();
        observation.multiparts.delete(uploadId);
        return Response.json(null);
      case 'uploads':
        return Response.json([...observation.multiparts]);
      default:
        return new Response(`there is no operation ${op}`, { status: 400 });
    }
  } catch (error) {
    return new Response(error instanceof Error ? error.message : String(error), { status: 409 });
  }
}
