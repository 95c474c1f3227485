/**
 * The multipart uploads of the bucket that were neither completed nor aborted. R2's binding cannot list them, its S3 endpoint can. S3 API,
 * "ListMultipartUploads".
 */
import { AwsClient } from 'aws4fetch';
import type { S3Bucket } from '../settings.ts';

export interface MultipartUpload {
  key: string;
  uploadId: string;
  /** Unix time, ms. */
  begunAt: number;
}

const UPLOADS_AT_A_TIME = 1000;
const UPLOAD = /<Upload>([\s\S]*?)<\/Upload>/g;

export class MultipartUploads {
  readonly #url: string;
  readonly #client: AwsClient;

  constructor({ url, accessKeyId, secretAccessKey }: S3Bucket) {
    this.#url = url;
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, service: 's3', region: 'auto' });
  }

  /**
   * A page of those whose keys begin with `prefix`. `from` is `next` of the page before, or null. None if the credentials may not list
   * them.
   */
  async list(
    from: string[] | null,
    prefix: string,
  ): Promise<{ entries: MultipartUpload[]; next: string[] | null }> {
    const query = new URLSearchParams({ uploads: '', 'max-uploads': String(UPLOADS_AT_A_TIME), prefix });
    const [key, uploadId] = from ?? [];
    if (key !== undefined) query.set('key-marker', key);
    if (uploadId !== undefined) query.set('upload-id-marker', uploadId);
    const response = await this.#client.fetch(`${this.#url}?${query}`);
    const text = await response.text();
    if (response.status === 403) {
      console.warn('the S3 credentials of the bucket may not list multipart uploads');
      return { entries: [], next: null };
    }
    if (!response.ok)
      throw new Error(
        `the bucket answered ${response.status} to ListMultipartUploads: ${text.slice(0, 200)}`,
      );
    const entries = [...text.matchAll(UPLOAD)].map(([, upload = '']) => ({
      key: textOf(upload, 'Key'),
      uploadId: textOf(upload, 'UploadId'),
      begunAt: Date.parse(textOf(upload, 'Initiated')),
    }));
    const isLast = textOf(text, 'IsTruncated') !== 'true';
    return {
      entries,
      next: isLast ? null : [textOf(text, 'NextKeyMarker'), textOf(text, 'NextUploadIdMarker')],
    };
  }
}

/** Keys are uuids and ids of uploads are base64, so nothing is escaped. */
function textOf(xml: string, name: string): string {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? '';
}
