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
  /** `user:password` of those who may do something here. */
  logins: string[];
  /** `user:password` of one who may only pull. */
  reader: string;
}

/** The tag of the image that is never deleted. */
export const ANCHOR = 'anchor';
export const ARTIFACT_TYPES = ['application/vnd.example.signature', 'application/vnd.example.sbom'];
