// The requests of the conformance table, over `http.ts`: exactly what a row says (a body in chunks or with a
// length, any path, any header). Redirects are followed, as the specification asks of clients.

import { randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import * as http from '../support/http.ts';
import { basic } from '../support/visitor.ts';
import { Answer } from './answer.ts';
import { Repository } from './repository.ts';

export interface Sent {
  headers?: Record<string, string | string[]>;
  body?: Uint8Array;
  /** Send the body with `Transfer-Encoding: chunked` and no `Content-Length`. */
  chunked?: boolean;
}

const requestTimeoutMs = 30_000;
const redirectLimit = 5;
const redirects = [301, 302, 303, 307, 308];

export class Registry implements Disposable {
  /** What was answered so far, without the bodies of successes: some rows judge all of it. */
  readonly answers: Answer[] = [];
  /** The first component of every name in this run, so that a registry with content can be tried. */
  readonly prefix = `conformance-${randomBytes(5).toString('hex')}`;
  readonly #base: URL;
  readonly #agent: Agent;
  readonly #authorization: Record<string, string>;
  /** The length of the shortest chunks that rows send, instead of what `OCI-Chunk-Min-Length` says; null: as the header says. */
  readonly chunkMinBytes: number | null;
  #repositories = 0;

  /** The login goes with every request to the registry, unasked, as Basic authentication has it. */
  constructor(
    url: string,
    login: { name: string; password: string } | null = null,
    chunkMinBytes: number | null = null,
  ) {
    this.chunkMinBytes = chunkMinBytes;
    this.#base = new URL(url.includes('://') ? url : `http://${url}`);
    this.#authorization = login === null ? {} : { Authorization: basic(`${login.name}:${login.password}`) };
    const options = { keepAlive: true, maxSockets: 4 };
    this.#agent = this.#base.protocol === 'https:' ? new TlsAgent(options) : new Agent(options);
  }

  /** A repository that this run has not used yet; it begins to exist with the first push. */
  repository(): Repository {
    this.#repositories += 1;
    return this.named(`repository-${String(this.#repositories).padStart(4, '0')}`);
  }

  /** The repository of that name below this run's prefix. */
  named(name: string): Repository {
    return new Repository(this, `${this.prefix}/${name}`);
  }

  /** Sends a request to a path, taken as it is, or to an absolute URL, and follows its redirects. */
  async send(method: string, target: string, sent: Sent = {}): Promise<Answer> {
    let answer = await this.#sendOnce(method, target, sent);
    for (let hops = 0; redirects.includes(answer.status) && hops < redirectLimit; hops += 1) {
      // 303 always goes on with a GET; so do 301 and 302 for what is neither GET nor HEAD.
      const becomesGet =
        answer.status === 303 || (answer.status < 303 && method !== 'GET' && method !== 'HEAD');
      const next = becomesGet ? { headers: withoutBody(sent.headers) } : sent;
      answer = await this.#sendOnce(becomesGet ? 'GET' : method, answer.location(), next);
    }
    this.answers.push(answer.status < 400 ? answer.withoutBody() : answer);
    return answer;
  }

  get(target: string, headers: Record<string, string | string[]> = {}): Promise<Answer> {
    return this.send('GET', target, { headers });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #sendOnce(method: string, target: string, sent: Sent): Promise<Answer> {
    const absolute = target.includes('://') ? new URL(target) : undefined;
    const { origin, host, protocol } = absolute ?? this.#base;
    const path = absolute ? absolute.pathname + absolute.search : target;
    const headers = { ...(host === this.#base.host ? this.#authorization : {}), ...sent.headers };
    const kept = protocol === this.#base.protocol ? { agent: this.#agent } : {};
    try {
      const options = { ...sent, ...kept, headers, timeoutMs: requestTimeoutMs };
      const { status, rawHeaders, body } = await http.send(origin, method, path, options);
      return new Answer(method, origin + path, status, rawHeaders, body);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`${method} ${path}: ${why}`, { cause: error });
    }
  }
}

function withoutBody(headers: Sent['headers'] = {}): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !/^(content|transfer)-/i.test(name)));
}
