/** What the Catalog object can do. `durable-objects/catalog.ts` is the class. */
import type { Listing } from '../oci/page.ts';

/** There is one for the registry. It keeps the names of the repositories that hold something. */
export interface CatalogObject extends Rpc.DurableObjectBranded {
  /** Records whether a repository holds something. Of two messages, the one with the higher version counts. */
  announce(name: string, present: boolean, version: number): void;
  /** Up to `count` names after `last`, in lexical order. */
  list(count: number, last: string | null): Listing<string>;
}
