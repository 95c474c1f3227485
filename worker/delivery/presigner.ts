/** Presigned S3 URLs of the bucket, for a registry with S3 credentials and without a custom domain. Cloudflare docs, "R2 presigned URLs". */
import { AwsClient } from 'aws4fetch';
import type { S3Bucket, SignedUrlTimes } from '../settings.ts';

/** Headers that S3 sends with the object, so that a browser saves it instead of showing it. S3 API, "GetObject". */
const AS_DATA = new URLSearchParams({
  'response-content-disposition': 'attachment',
  'response-content-type': 'application/octet-stream',
});

export class Presigner {
  readonly #client: AwsClient;
  readonly #url: string;
  readonly #times: SignedUrlTimes;

  constructor({ url, accessKeyId, secretAccessKey }: S3Bucket, times: SignedUrlTimes) {
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, service: 's3', region: 'auto' });
    this.#url = url;
    this.#times = times;
  }

  /** The URL of a key. All URLs of one window are the same. */
  async sign(key: string): Promise<string> {
    const { lifetime, window } = this.#times;
    const now = Math.floor(Date.now() / 1000);
    const datetime = new Date((now - (now % window)) * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
    const url = `${this.#url}/${key}?X-Amz-Expires=${lifetime + window}&${AS_DATA}`;
    return (await this.#client.sign(url, { aws: { signQuery: true, datetime } })).url;
  }
}
