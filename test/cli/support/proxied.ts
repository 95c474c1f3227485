/** A proxy in front of a registry, and pushes through it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { type ProxyOptions, type RunningProxy, startProxy } from '../../../cli/proxy/server.ts';
import { digest as digestOf } from '../../support/fixtures.ts';
import { type Answer, open, type Sent, send } from '../../support/http.ts';

export const MB = 1_000_000;

export class Proxied implements AsyncDisposable {
  readonly proxy: RunningProxy;
  /** What it printed. */
  readonly lines: string[];

  private constructor(proxy: RunningProxy, lines: string[]) {
    this.proxy = proxy;
    this.lines = lines;
  }

  static async start(to: string, options: Partial<ProxyOptions> = {}): Promise<Proxied> {
    const lines: string[] = [];
    const proxy = await startProxy({
      to,
      port: 0,
      address: null,
      names: { kind: 'loopback' },
      credentials: null,
      renew: async () => null,
      log: (line) => lines.push(line),
      ...options,
    });
    return new Proxied(proxy, lines);
  }

  get url(): string {
    return `http://127.0.0.1:${this.proxy.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy.stop(0);
  }

  send(method: string, target: string, sent: Sent = {}): Promise<Answer> {
    return send(this.url, method, target, sent);
  }

  /** Starts an upload and gives its Location. */
  async begin(repository: string, headers: Record<string, string> = {}): Promise<string> {
    const answer = await this.send('POST', `/v2/${repository}/blobs/uploads/`, { headers });
    assert.equal(answer.status, 202, answer.body.toString());
    return locationOf(answer);
  }

  /** Pushes a blob as docker does: one PATCH of unknown length, then a PUT. */
  async push(repository: string, bytes: Uint8Array): Promise<Answer> {
    const answer = await this.send('PATCH', await this.begin(repository), { body: bytes, chunked: true });
    assert.equal(answer.status, 202, answer.body.toString());
    assert.equal(answer.headers.range, `0-${bytes.length - 1}`);
    return this.send('PUT', `${locationOf(answer)}?digest=${digestOf(bytes)}`);
  }

  /** Pushes a blob as containerd does: one PUT with its length. */
  async putWhole(repository: string, bytes: Uint8Array): Promise<Answer> {
    return this.send('PUT', `${await this.begin(repository)}?digest=${digestOf(bytes)}`, { body: bytes });
  }

  /** Starts a request whose body the test writes. */
  open(method: string, target: string, headers: Record<string, string> = {}): ClientRequest {
    const request = open(this.url, method, target, { headers });
    request.on('error', () => {});
    request.flushHeaders();
    return request;
  }
}

export function locationOf({ headers }: { headers: Answer['headers'] }): string {
  assert(headers.location, 'the answer has a Location');
  return headers.location;
}

export async function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.resume();
  return answer;
}

/** Asserts that a registry has a blob, byte for byte. */
export async function assertStored(url: string, repository: string, bytes: Uint8Array): Promise<void> {
  const response = await fetch(`${url}/v2/${repository}/blobs/${digestOf(bytes)}`);
  assert.equal(response.status, 200, await (response.ok ? '' : response.text()));
  assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), digestOf(bytes));
}

/** Asserts that an answer is an error of a code. */
export function assertRefused({ status, body }: Answer, code: string): void {
  assert(status >= 400, `status ${status}`);
  assert.equal(JSON.parse(body.toString()).errors[0].code, code);
}
