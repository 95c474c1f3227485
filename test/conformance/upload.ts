// How rows on chunks go about an upload: begin it, send chunks in order, close it.

import { blob, digest } from '../support/fixtures.ts';
import { expectBody, expectStatus } from './answer.ts';
import type { Registry } from './registry.ts';
import type { Repository } from './repository.ts';

/** Begins an upload. `chunkOf(n)` makes a chunk n bytes longer than the shortest that the registry wants, and at least 100 bytes long. */
export async function beginUpload(registry: Registry) {
  const repository = registry.repository();
  const answer = await repository.postUpload();
  expectStatus(answer, 202);
  const shortest = Math.max(
    100,
    registry.chunkMinBytes ?? Number(answer.header('OCI-Chunk-Min-Length') ?? 0),
  );
  const chunkOf = (longerBy: number) => blob(shortest + longerBy);
  return { repository, location: answer.location(), chunkOf };
}

/** Sends the chunks one after the other, each to the Location that the last one gave, and gives the last. */
export async function patchAll(
  repository: Repository,
  location: string,
  parts: Buffer[],
  first = 0,
): Promise<string> {
  let [next, offset] = [location, first];
  for (const part of parts) {
    const answer = await repository.patchUpload(next, part, offset);
    expectStatus(answer, 202);
    next = answer.location();
    offset += part.byteLength;
  }
  return next;
}

/** Closes an upload, and sees that the blob is there. */
export async function closeUpload(repository: Repository, location: string, bytes: Buffer): Promise<void> {
  const answer = await repository.putUpload(location, digest(bytes));
  expectStatus(answer, 201);
  const pulled = await repository.registry.get(answer.location());
  expectStatus(pulled, 200);
  expectBody(pulled, bytes);
}
