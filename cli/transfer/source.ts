// Where images come from: what every source gives to the commands that send them.
import type { Digest } from '../../worker/oci/digest.ts';
import type { Content } from './upload.ts';

export interface SourceDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

/** A layer, a config, or any other blob. It can be read again from any offset. Its digest is checked while it is read. */
export interface SourceBlob extends Content {
  readonly descriptor: SourceDescriptor;
  /** The same bytes without the check, which costs 0.7 s of CPU time for a GB. For registries that check digests themselves. */
  readonly unchecked?: Content;
}

export interface SourceManifest {
  readonly descriptor: SourceDescriptor;
  readonly bytes: Uint8Array;
}

export interface Source extends AsyncDisposable {
  /** For messages: `image app:1 of docker`. */
  readonly name: string;
  /**
   * Every layer and config once, each as soon as it is ready. Layers that need compression are compressed while earlier ones are
   * sent. A blob can be read until the source is disposed of.
   *
   * Throws a CommandFailure if the source is invalid or incomplete.
   */
  blobs(): AsyncIterable<SourceBlob>;
  /**
   * Children before parents. The last one is the image. Call it after `blobs` has ended.
   *
   * Throws a CommandFailure if the source is invalid or incomplete.
   */
  manifests(): Promise<SourceManifest[]>;
}

export type Compression = 'gzip' | 'zstd';

export interface SourceOptions {
  /** For layers that the source has without compression. */
  readonly compression: Compression;
  readonly signal?: AbortSignal | undefined;
  /** Gets sentences about what was decided, such as which platform is sent. */
  readonly report: (message: string) => void;
  /** `linux/arm64` or `linux/arm/v7`: only this one of an image with several platforms. */
  readonly platform?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}
