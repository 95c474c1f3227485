// One request to the S3 endpoint of a bucket, and its errors. S3 API, "Error responses".
import { type Answer, readAll, readErrorText, type Sent, send } from './http.ts';
import { isTransient } from './registry.ts';

const ANSWER_MAX_BYTES = 8 * 1024 * 1024;

/** An answer of S3 that is no success. */
export class S3Refusal extends Error {
  override readonly name = 'S3Refusal';
  readonly status: number;
  /** Such as `BadDigest`; empty if the answer was in another form. */
  readonly code: string;

  constructor(status: number, code: string, host: string) {
    super(`${host} answered ${status}${code === '' ? '' : ` ${code}`}`);
    this.status = status;
    this.code = code;
  }

  /** The bytes have another checksum than the request says. */
  get isOtherContent(): boolean {
    return /^(?:BadDigest|InvalidDigest|XAmzContentSHA256Mismatch|XAmzContentChecksumMismatch)$/.test(
      this.code,
    );
  }

  /** The grant is over. S3 says so in several ways. */
  get hasExpired(): boolean {
    return /^(?:Expired\w*|RequestTimeTooSkewed)$/.test(this.code);
  }

  get isTransient(): boolean {
    return isTransient(this.status);
  }
}

/**
 * Sends a request once, and returns the head of a success.
 *
 * Throws S3Refusal, and what `send` throws.
 */
export async function sendToS3(request: Sent): Promise<Answer> {
  const answer = await send(request);
  if (answer.status >= 200 && answer.status < 300) return answer;
  const text = await readErrorText(answer);
  throw new S3Refusal(answer.status, elementsIn(text, 'Code')[0] ?? '', new URL(request.url).host);
}

/** The body of a success. */
export async function bodyOfAnswer(answer: Answer): Promise<string> {
  return (await readAll(answer, ANSWER_MAX_BYTES)).toString();
}

/** The contents of all elements of a name, without those in other elements of the same name. */
export function elementsIn(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, 'g'))].map(([, text = '']) => text);
}
