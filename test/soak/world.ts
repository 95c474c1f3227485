/** What all clients of a run share. */
import type { Blob, Contents } from './content.ts';
import type { Surroundings } from './session.ts';
import type { Uploads } from './uploads.ts';

export interface World {
  around: Surroundings;
  contents: Contents;
  uploads: Uploads;
  /** Blobs that several clients push into several repositories. */
  shared: Blob[];
  /** Repositories with an image that is never deleted. */
  anchored: Set<string>;
  /** Manifests that a repository has at most, about. */
  manifestsMax: number;
  /** Names of those who may do something, and `user:password` of one who may only pull; null without access control. */
  access: { logins: string[]; reader: string } | null;
}

/** The tag of the image that is never deleted. */
export const ANCHOR = 'anchor';
export const ARTIFACT_TYPES = ['application/vnd.example.signature', 'application/vnd.example.sbom'];
