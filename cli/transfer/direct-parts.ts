/**
 * Stores a blob as the parts of a multipart upload, several at once. Parts that are there already are not sent again. Parts are read
 * twice, first for their MD5, so that none is held in memory. S3 API, "UploadPart", "ListParts", "CompleteMultipartUpload".
 */
import { createHash } from 'node:crypto';
import { Backoff } from './backoff.ts';
import type { PartsGrant } from './direct-grant.ts';
import { isEnding } from './direct-grant.ts';
import { type Answer, type Body, bodyOf, ConnectionLost, discard, SourceChanged } from './http.ts';
import { bodyOfAnswer, elementsIn, S3Refusal, sendToS3 } from './s3.ts';
import { signed } from './sigv4.ts';
import type { Content } from './upload.ts';

const MiB = 1024 * 1024;
/** R2 takes at most 10,000 parts, all of the same size but the last. */
const PARTS_MAX = 10_000;
const PART_BYTES = 32 * MiB;
const AT_ONCE = 4;
const ATTEMPTS_MAX = 6;
/** Before the bucket has answered once: it may be blocked here. */
const FIRST_ATTEMPTS_MAX = 2;
/** Times that a part may arrive with other bytes than were read for its MD5. */
const MISMATCHES_MAX = 2;

export interface PartsOptions {
  /** Asks the registry for a grant that is valid longer. */
  readonly renew: () => Promise<PartsGrant>;
  readonly signal: AbortSignal | undefined;
  /** Gets the number of bytes that were handed to connections, less those that are sent again. */
  readonly sent: (bytes: number) => void;
  /** Whether an earlier process has sent some of the parts. */
  readonly isResumed: boolean;
  /** Tests use small parts. */
  readonly partBytes?: number | undefined;
}

/** The size of the parts of a blob. It depends on nothing else, so that another process continues with the same. */
function partBytesOf(size: number, partBytes = PART_BYTES): number {
  return Math.max(partBytes, Math.ceil(size / PARTS_MAX / MiB) * MiB);
}

/**
 * Returns when the object is there.
 *
 * Throws ConnectionLost, S3Refusal, and SourceChanged if the blob changes while it is read.
 */
export async function storeParts(content: Content, grant: PartsGrant, options: PartsOptions): Promise<void> {
  await new PartsUpload(content, grant, options).store();
}

class PartsUpload {
  readonly #content: Content;
  readonly #options: PartsOptions;
  readonly #partBytes: number;
  readonly #count: number;
  /** By number of the part. */
  readonly #etags = new Map<number, string>();
  #grant: PartsGrant;
  #renewing: Promise<PartsGrant> | null = null;
  #hasAnswered = false;

  constructor(content: Content, grant: PartsGrant, options: PartsOptions) {
    this.#content = content;
    this.#grant = grant;
    this.#options = options;
    this.#partBytes = partBytesOf(content.size, options.partBytes);
    this.#count = Math.ceil(content.size / this.#partBytes);
  }

  async store(): Promise<void> {
    if (this.#options.isResumed) await this.#find();
    const numbers = Array.from({ length: this.#count }, (_, index) => index + 1);
    const missing = numbers.filter((number) => !this.#etags.has(number)).values();
    let failed = false;
    const work = async () => {
      for (const number of missing) {
        if (failed) return;
        await this.#part(number).catch((error: unknown) => {
          failed = true;
          throw error;
        });
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
    const rejected = ended.find((result) => result.status === 'rejected');
    if (rejected !== undefined) throw rejected.reason;
    await this.#complete();
  }

  /** The parts that an earlier process has stored. */
  async #find(): Promise<void> {
    for (let after: string | undefined = '0'; after !== undefined; ) {
      const query: Record<string, string> = { 'part-number-marker': after };
      const xml = await bodyOfAnswer(await this.#repeated('GET', query));
      for (const part of elementsIn(xml, 'Part')) {
        const [number, etag, size] = ['PartNumber', 'ETag', 'Size'].map((name) => elementsIn(part, name)[0]);
        const { start, end } = this.#rangeOf(Number(number));
        if (etag === undefined || Number(size) !== end - start) continue;
        this.#etags.set(Number(number), etag.replace(/&quot;|"/g, ''));
        this.#options.sent(end - start);
      }
      const next = elementsIn(xml, 'NextPartNumberMarker')[0];
      after = elementsIn(xml, 'IsTruncated')[0] === 'true' && next !== after ? next : undefined;
    }
  }

  async #part(number: number): Promise<void> {
    const { start, end } = this.#rangeOf(number);
    let mismatches = 0;
    while (true) {
      const headers = { 'content-md5': await this.#md5Of(start, end) };
      let handed = 0;
      const body: Body = {
        size: end - start,
        open: () => {
          this.#options.sent(-handed);
          handed = 0;
          return this.#content.open(start, end);
        },
        sent: (bytes) => {
          handed += bytes;
          this.#options.sent(bytes);
        },
      };
      try {
        const answer = await this.#repeated('PUT', { partNumber: String(number) }, headers, body);
        const etag = answer.header('ETag');
        discard(answer);
        if (etag === null)
          throw new S3Refusal(answer.status, 'without an ETag', new URL(this.#grant.url).host);
        this.#etags.set(number, etag.replaceAll('"', ''));
        return;
      } catch (error) {
        this.#options.sent(-handed);
        if (!(error instanceof S3Refusal) || !error.isOtherContent) throw error;
        mismatches += 1;
        if (mismatches === MISMATCHES_MAX) throw new SourceChanged();
      }
    }
  }

  async #complete(): Promise<void> {
    const parts = [...this.#etags].sort(([one], [other]) => one - other);
    const listed = parts.map(
      ([number, etag]) => `<Part><PartNumber>${number}</PartNumber><ETag>"${etag}"</ETag></Part>`,
    );
    const body = bodyOf(Buffer.from(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`));
    try {
      // S3 may answer 200 and put an error into the body.
      const xml = await bodyOfAnswer(await this.#repeated('POST', {}, {}, body));
      const code = elementsIn(xml, 'Code')[0];
      if (code !== undefined) throw new S3Refusal(500, code, new URL(this.#grant.url).host);
    } catch (error) {
      // An earlier attempt, whose answer was lost, has completed it. If not, the registry says that the bytes are missing.
      if (!(error instanceof S3Refusal) || error.code !== 'NoSuchUpload') throw error;
    }
  }

  /** Sends a request until it succeeds. Throws the error after the last attempt, and errors that another attempt does not change. */
  async #repeated(
    method: string,
    query: Record<string, string>,
    headers: Record<string, string> = {},
    body: Body | null = null,
  ): Promise<Answer> {
    let backoff: Backoff | null = null;
    let renewals = 0;
    while (true) {
      if (isEnding(this.#grant)) await this.#renew();
      const grant = this.#grant;
      try {
        const answer = await this.#send(grant, method, query, headers, body);
        this.#hasAnswered = true;
        return answer;
      } catch (error) {
        const hasExpired = error instanceof S3Refusal && error.hasExpired;
        if (error instanceof S3Refusal && !error.isTransient && !hasExpired) throw error;
        if (!(error instanceof S3Refusal) && !(error instanceof ConnectionLost)) throw error;
        backoff ??= new Backoff(() => (this.#hasAnswered ? ATTEMPTS_MAX : FIRST_ATTEMPTS_MAX));
        if (backoff.isSpent(null) || (hasExpired && renewals === 1)) throw error;
        await backoff.wait(null, this.#options.signal);
        if (hasExpired && grant === this.#grant) await this.#renew();
        if (hasExpired) renewals += 1;
      }
    }
  }

  #send(
    grant: PartsGrant,
    method: string,
    query: Record<string, string>,
    headers: Record<string, string>,
    body: Body | null,
  ): Promise<Answer> {
    const url = new URL(grant.url);
    for (const [name, value] of Object.entries({ ...query, uploadId: grant.uploadId }))
      url.searchParams.set(name, value);
    const at = new Date(Date.now() + grant.clockAheadMs);
    const all = signed({ method, url, headers }, grant, { at });
    return sendToS3({ method, url: url.href, headers: all, body, signal: this.#options.signal });
  }

  /** The parts that are being sent renew the grant together. */
  async #renew(): Promise<void> {
    this.#renewing ??= this.#options.renew().finally(() => {
      this.#renewing = null;
    });
    this.#grant = await this.#renewing;
  }

  #rangeOf(number: number): { start: number; end: number } {
    const start = (number - 1) * this.#partBytes;
    return { start, end: Math.min(this.#content.size, start + this.#partBytes) };
  }

  async #md5Of(start: number, end: number): Promise<string> {
    const hash = createHash('md5');
    let size = 0;
    for await (const piece of this.#content.open(start, end)) {
      hash.update(piece);
      size += piece.length;
    }
    if (size !== end - start) throw new SourceChanged();
    return hash.digest('base64');
  }
}
