/** What the Catalog object can do. `durable-objects/catalog.ts` is the class. */
import type { Listing } from '../oci/page.ts';
import type { AbandonedUploads } from './repository.ts';

/** There is one for the registry. It keeps the names of the repositories that hold something. */
export interface CatalogObject extends Rpc.DurableObjectBranded {
  /** Records whether a repository holds something. Of two messages, the one with the higher version counts. */
  announce(name: string, present: boolean, version: number): void;
  /** Records the abandoned uploads of a repository; null if it has none any more. */
  announceAbandoned(name: string, uploads: AbandonedUploads | null): void;
  /** Up to `count` repositories with abandoned uploads after `last`, in lexical order. */
  listAbandoned(count: number, last: string | null): Listing<AbandonedUploads & { repository: string }>;
  /** Up to `count` names after `last`, in lexical order. */
  list(count: number, last: string | null): Listing<string>;
}
