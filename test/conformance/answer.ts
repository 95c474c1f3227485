// What a registry answered, with the request that it answered, so that a failed row can say all of it.
// The `expect...` functions are the vocabulary in which rows state what they want.

import assert from 'node:assert/strict';
import type { Manifest } from '../support/fixtures.ts';
import { Declined } from './row.ts';

export class Answer {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly body: Buffer;
  readonly #headers: Map<string, string[]>;

  constructor(method: string, url: string, status: number, rawHeaders: string[], body: Buffer) {
    this.method = method;
    this.url = url;
    this.status = status;
    this.body = body;
    this.#headers = new Map();
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = (rawHeaders[at] ?? '').toLowerCase();
      this.#headers.set(name, [...(this.#headers.get(name) ?? []), rawHeaders[at + 1] ?? '']);
    }
  }

  /** A header's lines, joined as HTTP says they may be. */
  header(name: string): string | undefined {
    return this.#headers.get(name.toLowerCase())?.join(', ');
  }

  headerLines(name: string): string[] {
    return this.#headers.get(name.toLowerCase()) ?? [];
  }

  /** The `Location`, absolute. Fails if there is no such header. */
  location(): string {
    return new URL(expectHeader(this, 'Location'), this.url).href;
  }

  /** The target of the `Link` to the next page, absolute, or nothing on the last page. */
  nextPage(): string | undefined {
    const link = this.header('Link');
    if (link === undefined) return undefined;
    const match = /^<([^>]*)>((?:\s*;[^,]*)+)/.exec(link);
    assert.ok(match, `${this} has a Link header that is not of RFC 5988: ${link}`);
    assert.match(
      match[2] ?? '',
      /;\s*rel="?next"?\s*(;|$)/i,
      `${this} has a Link without rel="next": ${link}`,
    );
    return new URL(match[1] ?? '', this.url).href;
  }

  get isJson(): boolean {
    return /^application\/([\w.+-]+\+)?json\s*(;|$)/i.test(this.header('Content-Type') ?? '');
  }

  json(): unknown {
    try {
      return JSON.parse(this.body.toString());
    } catch {
      return assert.fail(`${this} has a body that is not JSON: ${this.body.toString().slice(0, 80)}`);
    }
  }

  withoutBody(): Answer {
    const rawHeaders = [...this.#headers].flatMap(([name, lines]) => lines.flatMap((line) => [name, line]));
    return new Answer(this.method, this.url, this.status, rawHeaders, Buffer.alloc(0));
  }

  toString(): string {
    const { pathname, search } = new URL(this.url);
    return `${this.method} ${shortened(pathname + search)} (${this.status})`;
  }
}

/** One of these statuses. */
export function expectStatus(answer: Answer, ...wanted: number[]): void {
  const body = answer.status >= 400 ? answer.body.toString().trim().slice(0, 160) : '';
  const said = body === '' ? '' : `: ${body}`;
  assert.ok(wanted.includes(answer.status), `${answer}, wanted ${wanted.join(' or ')}${said}`);
}

/** Any refusal that blames the request. */
export function expectRefused(answer: Answer): void {
  assert.ok(answer.status >= 400 && answer.status < 500, `${answer}, wanted a refusal (4xx)`);
}

/** The header, which must be there, and be `value` where one is given. */
export function expectHeader(answer: Answer, name: string, value?: string): string {
  const got = answer.header(name);
  assert.ok(got !== undefined, `${answer} has no ${name} header`);
  if (value !== undefined) {
    assert.equal(got, value, `${answer} has ${name}: ${shortened(got)}, wanted ${shortened(value)}`);
  }
  return got;
}

/** The header is absent, or has this value. */
export function expectHeaderIfAny(answer: Answer, name: string, value: string): void {
  if (answer.header(name) !== undefined) expectHeader(answer, name, value);
}

export function expectNoHeader(answer: Answer, name: string): void {
  const got = answer.header(name);
  assert.equal(got, undefined, `${answer} has ${name}: ${got}, wanted no such header`);
}

/** The body is exactly these bytes. */
export function expectBody(answer: Answer, wanted: Uint8Array): void {
  const same = answer.body.equals(wanted);
  const sizes = `${answer.body.byteLength} bytes, wanted ${wanted.byteLength}`;
  assert.ok(same, `${answer} has another body than the one that was pushed (${sizes})`);
}

/** Values of any kind, compared as deeply as they go and shown on one line. */
export function expectEqual(got: unknown, wanted: unknown, what = 'the answer'): void {
  assert.deepEqual(got, wanted, `${what} is ${onOneLine(got)}, wanted ${onOneLine(wanted)}`);
}

/** The manifest, to the byte. */
export function expectManifest(answer: Answer, manifest: Manifest): void {
  expectStatus(answer, 200);
  expectBody(answer, manifest.bytes);
}

/** Ends the row as declined where the answer has one of these statuses. */
export function declineOn(answer: Answer, statuses: number[], feature: string): void {
  if (statuses.includes(answer.status)) {
    throw new Declined(`${feature}: ${answer}`);
  }
}

function onOneLine(value: unknown): string {
  return value === undefined ? 'nothing' : shortened(JSON.stringify(value));
}

function shortened(text: string): string {
  return text.replace(/([0-9a-f]{8})[0-9a-f]{24,}/g, '$1…').slice(0, 160);
}
