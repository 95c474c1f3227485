/**
 * The keys of content: the one place that spells them. An id is a uuid, so a key says nothing about the bytes. It is apart
 * from `blobs.ts`, which imports the stores that import this.
 */

/** The key of content with an id. All keys begin so. */
export function blobKey(id: string): string {
  return `blobs/${id}`;
}
