// How most rows begin: a new repository, with a blob or a manifest in it.

import { blob, imageManifest } from '../support/fixtures.ts';
import type { Registry } from './registry.ts';

export async function withBlob(registry: Registry, size = 256) {
  const repository = registry.repository();
  const bytes = blob(size);
  return { repository, bytes, of: await repository.pushBlob(bytes) };
}

export async function withManifest(registry: Registry, tags = ['latest']) {
  const repository = registry.repository();
  const manifest = imageManifest();
  for (const tag of tags) await repository.pushManifest(manifest, tag);
  return { repository, manifest };
}
