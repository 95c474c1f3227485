/**
 * A row of the table of malformed requests, and what the rows are given: a repository with content, and an upload that has
 * begun. No row may change either.
 */
import { createHash } from 'node:crypto';
import type { ErrorCode } from '../../../worker/oci/errors.ts';
import { expectStatus } from '../../conformance/answer.ts';
import type { Registry } from '../../conformance/registry.ts';
import type { Repository } from '../../conformance/repository.ts';
import { blob, digest, imageManifest, type Manifest } from '../../support/fixtures.ts';

/** A request for the HTTP client of the conformance table, or bytes for a socket. */
export type Request =
  | {
      method: string;
      path: string;
      headers?: Record<string, string | string[]>;
      body?: Uint8Array;
      chunked?: boolean;
    }
  | {
      raw: string | Buffer;
      /** Whether the client then ends its side of the connection. */
      ends?: boolean;
    };

export interface Row {
  name: string;
  request(given: Given): Request | Promise<Request>;
  want:
    | { status: number; code: ErrorCode }
    /** Nonsense that the registry has to ignore, by RFC 9110. */
    | { status: 200 | 206; code: null }
    /** The HTTP server refuses this before the Worker sees it, and not every version of workerd in the same way. */
    | { server: number[] };
}

/** As long as the upload of `Given` stands. */
export const RECEIVED = 10;
/** The size of the blob of `Given`, in bytes. */
export const BLOB_BYTES = 100;

export class Given {
  readonly repository: Repository;
  readonly image: Manifest;
  readonly blob: Buffer;
  /** The path of an upload that has received RECEIVED bytes. */
  readonly upload: string;
  readonly #uploaded: Buffer;

  private constructor(
    repository: Repository,
    image: Manifest,
    content: Buffer,
    uploaded: Buffer,
    upload: string,
  ) {
    this.repository = repository;
    this.image = image;
    this.blob = content;
    this.#uploaded = uploaded;
    this.upload = upload;
  }

  static async in(registry: Registry): Promise<Given> {
    const repository = registry.repository();
    const content = blob(BLOB_BYTES);
    const image = imageManifest({ layers: [content] });
    await repository.pushManifest(image, 'latest');
    const uploaded = blob(RECEIVED);
    const patched = await repository.patchUpload(await repository.startUpload(), uploaded);
    expectStatus(patched, 202);
    return new Given(repository, image, content, uploaded, pathOf(patched.location()));
  }

  /** A path below the repository, such as `/tags/list`. */
  path(rest: string): string {
    return `/v2/${this.repository.name}${rest}`;
  }

  /** The path of a new upload, for a row that ends one. */
  async start(): Promise<string> {
    return pathOf(await this.repository.startUpload());
  }

  /** The upload goes on from where it stood, whatever was sent to it since. */
  async finish(): Promise<void> {
    const rest = blob(7);
    const answer = await this.repository.putUpload(
      this.upload,
      digest(Buffer.concat([this.#uploaded, rest])),
      rest,
      RECEIVED,
    );
    expectStatus(answer, 201);
  }

  /** The manifest as it was pushed, with fields that overrule its own. */
  manifest(fields: Record<string, unknown>): Buffer {
    return Buffer.from(JSON.stringify({ ...JSON.parse(this.image.bytes.toString()), ...fields }));
  }
}

export function pathOf(location: string): string {
  const { pathname, search } = new URL(location);
  return pathname + search;
}

/** A digest of nothing that is anywhere. */
export const STRANGER = `sha256:${createHash('sha256').update('never pushed').digest('hex')}`;
