/** Presigned S3 URLs of the bucket, for those who have S3 credentials and no domain. Cloudflare docs, "R2 presigned URLs". */
import { AwsClient } from 'aws4fetch';
import type { S3Bucket, SignedUrlTimes } from '../settings.ts';

/** What S3 says of the object: a browser saves it, and shows nothing. S3 API, "GetObject". */
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

  /** The URL of a key: the same for all who ask within a window. */
  async sign(key: string): Promise<string> {
    const { lifetime, window } = this.#times;
    const now = Math.floor(Date.now() / 1000);
    const datetime = new Date((now - (now % window)) * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
    const url = `${this.#url}/${key}?X-Amz-Expires=${lifetime + window}&${AS_DATA}`;
    return (await this.#client.sign(url, { aws: { signQuery: true, datetime } })).url;
  }
}
