/** What the platform binds to the Worker and to its Durable Objects, in either home. */
import type { Accounts } from '../durable-objects/accounts.ts';
import type { BlobShard } from '../durable-objects/blob-shard.ts';
import type { Catalog } from '../durable-objects/catalog.ts';
import type { Repository } from '../durable-objects/repository.ts';
import type { UploadSession } from '../durable-objects/upload-session.ts';

export interface Env {
  REPOSITORY: DurableObjectNamespace<Repository>;
  UPLOAD_SESSION: DurableObjectNamespace<UploadSession>;
  BLOB_SHARD: DurableObjectNamespace<BlobShard>;
  CATALOG: DurableObjectNamespace<Catalog>;
  ACCOUNTS: DurableObjectNamespace<Accounts>;
  /** On Cloudflare: the bucket of the blobs. */
  BLOBS?: R2Bucket;
  /** On one machine: workerd's disk service on the folder of the blobs. */
  DISK?: Fetcher;
  /** "machine" on one machine, where one isolate is all there is. */
  HOME?: string;
  /** "true" takes manifests whose references are not there. */
  SPARSE_MANIFESTS?: string;
}
