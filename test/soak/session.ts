/** One client's way to the registry: credentials, and the rules that every answer keeps, whatever was asked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { basic } from '../support/visitor.ts';
import type { Model } from './model.ts';
import type { Random } from './random.ts';
import { type Span, Violation } from './register.ts';
import type { Report } from './report.ts';
import { type Lost, type Reply, type Sent, Wire } from './wire.ts';

/** `user:password`; with `bearer`, they are exchanged for tokens. */
export interface Credentials {
  shown: string;
  bearer: boolean;
}

export interface Surroundings {
  model: Model;
  report: Report;
  /** `disk` or `r2`: where a client's address is told in another header. */
  home: 'disk' | 'r2';
  /** Set while the registry is being killed: connections are lost then. */
  isDying: boolean;
  /** The scopes that a client asks its tokens for. */
  scopes: string[];
}

const TRAIL_MAX = 14;
const RETRY_AFTER_MAX_S = 3;

export class Session {
  readonly wire: Wire;
  readonly trail: string[] = [];
  readonly #around: Surroundings;
  readonly #random: Random;
  readonly #credentials: Credentials | null;
  #token: { header: string; until: number } | null = null;

  constructor(
    around: Surroundings,
    random: Random,
    origin: string,
    credentials: Credentials | null,
    address: string,
  ) {
    this.#around = around;
    this.#random = random;
    this.#credentials = credentials;
    this.wire = new Wire(origin, { ...addressHeader(around.home, address), 'User-Agent': 'longshore-soak' });
  }

  get basic(): Record<string, string> {
    if (this.#credentials === null) return {};
    return { Authorization: basic(this.#credentials.shown) };
  }

  async logIn(): Promise<void> {
    const reply = await this.ask('login', 'GET', '/token', { headers: this.basic }, [200]);
    if (reply === null) throw new Error('a client cannot log in');
  }

  async #authorizationFor({ headers }: Sent): Promise<Record<string, string>> {
    return headers?.Authorization === undefined ? this.authorization() : {};
  }

  /** The Authorization header of this client. */
  async authorization(): Promise<Record<string, string>> {
    if (this.#credentials === null) return {};
    if (!this.#credentials.bearer) return this.basic;
    if (this.#token === null || this.#token.until < performance.now()) {
      const query = new URLSearchParams(this.#around.scopes.map((scope) => ['scope', scope]));
      const reply = await this.ask('token', 'GET', `/token?${query}`, { headers: this.basic }, [200]);
      if (reply === null) return this.basic;
      const { token, expires_in: seconds } = JSON.parse(reply.body.toString());
      this.#token = { header: `Bearer ${token}`, until: reply.start + seconds * 500 };
    }
    return { Authorization: this.#token.header };
  }

  /**
   * Sends a request. Null where there was no answer, or one that says to come again (503, which waits a little). Any status
   * that is not among `allowed` is a violation.
   */
  async ask(
    kind: string,
    method: string,
    target: string,
    sent: Sent,
    allowed: number[],
  ): Promise<Reply | null> {
    const { model, report } = this.#around;
    const { Authorization: shown = null, ...others } = {
      ...(await this.#authorizationFor(sent)),
      ...sent.headers,
    };
    // An empty one counts as missing.
    const headers = shown ? { ...others, Authorization: shown } : others;
    const request = model.enter();
    const line = `${request.start.toFixed(0)} ${kind}: ${method} ${shortened(target)}${about(sent)}`;
    const reply = await this.wire.send(method, target, { ...sent, headers });
    model.leave(request);
    report.count(kind, reply.status);
    if ('why' in reply) {
      this.note(`${line} -> lost at ${reply.end.toFixed(0)} (${reply.why})`);
      this.#lost(kind, reply);
      return null;
    }
    this.note(`${line} -> ${reply.status} at ${reply.end.toFixed(0)}`);
    if (method === 'GET') report.bytesPulled += reply.body.length;
    else if (reply.status < 300) report.bytesPushed += sent.body?.length ?? 0;
    this.#checkShape(line, method, target, reply);
    if (reply.status === 503 || (reply.status === 429 && !allowed.includes(429))) {
      if (reply.status === 429) throw new Violation(`${line}: 429 ${said(reply)}`);
      const seconds = Math.min(Number(reply.headers['retry-after']), RETRY_AFTER_MAX_S);
      await sleep(seconds * 1000 * this.#random.next());
      return null;
    }
    if (!allowed.includes(reply.status)) {
      throw new Violation(`${line}: ${reply.status}, and only ${allowed.join(', ')} may be: ${said(reply)}`);
    }
    return reply;
  }

  /** Sends a part of a request, and cuts the connection. */
  async cut(kind: string, method: string, target: string, sent: Sent, at: number): Promise<Span> {
    const { model, report } = this.#around;
    const headers = { ...(await this.authorization()), ...sent.headers };
    const request = model.enter();
    const waitMs = this.#random.chance(0.5) ? 0 : this.#random.below(30);
    const span = await this.wire.cut(method, target, { ...sent, headers }, at, waitMs);
    model.leave(request);
    report.cut++;
    report.count(`${kind}, cut`, 0);
    this.note(
      `${span.start.toFixed(0)} ${kind}: ${method} ${shortened(target)}${about(sent)} -> cut after ${at} bytes at ${span.end.toFixed(0)}`,
    );
    return span;
  }

  /** The registry has started anew, perhaps at another address: for that one other tokens are made. */
  moveTo(origin: string): void {
    this.wire.close();
    this.wire.origin = origin;
    this.#token = null;
  }

  note(line: string): void {
    this.trail.push(line);
    if (this.trail.length > TRAIL_MAX) this.trail.shift();
  }

  #lost(kind: string, { why, brokeOff, reused }: Lost): void {
    if (this.#around.isDying) return;
    if (brokeOff) throw new Violation(`${kind}: the body of the answer broke off (${why})`);
    if (/^no answer/.test(why)) throw new Violation(`${kind}: ${why}`);
    this.#around.report.count(`(lost: ${why}${reused ? ', kept connection' : ''})`, 0);
  }

  /** What holds for every answer. */
  #checkShape(line: string, method: string, target: string, reply: Reply): void {
    const { status, headers, body } = reply;
    const wrong = (what: string) => new Violation(`${line}: ${status} ${what}: ${said(reply)}`);
    if (status >= 500 && status !== 503) throw wrong('is a fault of the registry');
    if ((status === 503 || status === 429) && !(Number(headers['retry-after']) >= 0))
      throw wrong('without Retry-After');
    if (status === 401 && target.startsWith('/v2/') && headers['www-authenticate'] === undefined)
      throw wrong('without a challenge');
    if (status === 416 && headers['content-range'] === undefined && headers.range === undefined)
      throw wrong('does not say where to go on');
    if (status >= 400 && method !== 'HEAD') {
      try {
        const { errors } = JSON.parse(body.toString());
        if (typeof errors[0].code !== 'string') throw wrong('without a code');
      } catch {
        throw wrong('is not an error of the specification');
      }
    }
  }
}

/** The header in which a client's address is told, by a proxy that is trusted or by Cloudflare. */
export function addressHeader(home: 'disk' | 'r2', address: string): Record<string, string> {
  return home === 'disk' ? { 'X-Forwarded-For': address } : { 'CF-Connecting-IP': address };
}

function said({ body }: Reply): string {
  return body.toString().slice(0, 300);
}

function about({ headers = {}, body, chunked, slow }: Sent): string {
  const range = headers['Content-Range'] ?? headers.Range;
  return [
    body === undefined ? '' : ` ${body.length} bytes`,
    range === undefined ? '' : ` ${range}`,
    chunked ? ' chunked' : '',
    slow === undefined ? '' : ' slowly',
  ].join('');
}

/** Without what proves an upload. */
function shortened(target: string): string {
  return target.replace(/token=[^&]+/, 'token=...').slice(0, 220);
}
