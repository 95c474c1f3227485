/**
 * The two homes of the registry, started for a test file: workerd itself with blobs in a folder, and the R2 simulator under
 * Miniflare, both really listening. `eachHome` runs a suite on both.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { type Machine, startMachine } from '../../standalone/machine.ts';
import type { DurableObjectBinding } from '../../worker/objects/classes.ts';
import type { Counts } from './counts.ts';
import { freePort } from './free-port.ts';
import type { Fault } from './observed.ts';
import type { S3Double } from './s3.ts';
import { BUNDLED_WORKER, WORKER } from './setup.ts';
import type { SimulatorOptions } from './simulator.ts';

/** `npm test` bundles the tests' Worker once for all files (`setup.ts`); a file that runs alone bundles it itself. */
const ENTRY = process.env[BUNDLED_WORKER] ?? WORKER;

export type Binding = DurableObjectBinding;

/** `blobDomain` and `cache` are of the R2 simulator. */
export interface HomeOptions extends SimulatorOptions {
  /** Settings of the registry. Access control is off unless they say otherwise. */
  vars?: Record<string, string>;
  /** Sets `PUBLIC_URL` to the URL that it answers on. */
  hasPublicUrl?: boolean;
  /** The Worker's entry module, where it is not `worker.ts` beside this; it exports all that that one does. */
  entry?: string;
  /** Of one machine: the folder of the registry, where it is not one of its own; it is deleted in the end like that one. */
  stateDir?: string;
  /** Of one machine: services beside the Worker. */
  services?: Record<string, string>;
}

/** A registry that runs, and what tests can ask of it beside /v2/. */
export class Home {
  readonly name: 'disk' | 'r2';
  readonly #options: HomeOptions;
  #stateDir = '';
  #publicUrl: Record<string, string> = {};
  #running: {
    url: string;
    pid?: number;
    blobDomain?: string | null;
    s3?: S3Double | null;
    stop(): Promise<void>;
    kill?(): Promise<void>;
  } | null = null;

  constructor(name: 'disk' | 'r2', options: HomeOptions = {}) {
    this.name = name;
    this.#options = options;
  }

  /** Where it answers, without a slash at its end. */
  get url(): string {
    if (this.#running === null) throw new Error('the home is not running');
    return this.#running.url;
  }

  /** Where everything is kept; empty while the home does not run. */
  get stateDir(): string {
    return this.#stateDir;
  }

  /** Origin of the Worker in the place of an R2 custom domain; only if `HomeOptions` has one. */
  get blobDomain(): string {
    const { blobDomain } = this.#running ?? {};
    if (!blobDomain) throw new Error('the home has no blob domain');
    return blobDomain;
  }

  /** The double of the bucket's S3 endpoint; only if `HomeOptions` has `s3Double`. */
  get s3(): S3Double {
    const { s3 } = this.#running ?? {};
    if (!s3) throw new Error('the home has no double of S3');
    return s3;
  }

  async start(): Promise<void> {
    if (this.#stateDir === '')
      this.#stateDir = this.#options.stateDir ?? mkdtempSync(join(tmpdir(), 'longshore-test-'));
    const port = await this.#port();
    const { entry = ENTRY, hasPublicUrl } = this.#options;
    if (hasPublicUrl) this.#publicUrl = { PUBLIC_URL: `http://127.0.0.1:${port}` };
    if (this.name === 'disk') {
      this.#running = await this.#startMachine(port);
      return;
    }
    // Loaded only here, because Miniflare is large.
    const { startSimulator } = await import('./simulator.ts');
    const options = { ...this.#options, port: hasPublicUrl ? port : 0 };
    this.#running = await startSimulator(entry, this.#stateDir, this.#vars, options);
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    rmSync(this.#stateDir, { recursive: true, force: true });
    this.#stateDir = '';
    this.#running = null;
  }

  /** Runs `during` while workerd does nothing. Only on disk. */
  frozen<T>(during: () => T): T {
    const pid = this.#running?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    try {
      // The signal takes effect when the system call that is under way has ended.
      while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
      return during();
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  }

  /** Ends the registry as a crash would, and starts it again on the same state. Only on disk. */
  async crash(): Promise<void> {
    await this.#running?.kill?.();
    await this.start();
  }

  /** Ends the registry in order, and starts it again on the same state. */
  async restart(): Promise<void> {
    await this.#running?.stop();
    await this.start();
  }

  /** Begins to count calls anew, with a fault at one of them. */
  async reset(fault: Fault | null = null): Promise<void> {
    await this.#ask('reset', {}, JSON.stringify(fault));
  }

  async counts(): Promise<Counts> {
    return (await this.#ask('counts')).json() as Promise<Counts>;
  }

  /** Keeps a key of the store from being deleted, until the next reset. */
  async makeUndeletable(key: string): Promise<void> {
    await this.#ask('undeletable', { key });
  }

  /** Resolves with the call that the fault befell. */
  async reached(): Promise<string> {
    return (await this.#ask('reached')).json() as Promise<string>;
  }

  /** Lets the call that waits go on. */
  async goOn(): Promise<void> {
    await this.#ask('go-on');
  }

  /** Resolves when this number of requests has ended since the last reset, also those whose client has gone. */
  async ended(count: number): Promise<void> {
    await this.#ask('ended', { count: String(count) });
  }

  /** Resolves when what was given to the data centre's cache is there. */
  async cached(): Promise<void> {
    await this.#ask('cached');
  }

  /** Resolves when nothing goes on any more: no call, no message after an answer, and no event that waits to be written. */
  async settled(): Promise<void> {
    await this.#ask('settled');
  }

  /** Slow hashes of passwords that were computed. */
  async hashes(): Promise<number> {
    return (await this.#ask('hashes')).json() as Promise<number>;
  }

  /** Limits of production that were passed since the last call. */
  async violations(): Promise<string[]> {
    return (await this.#ask('violations')).json() as Promise<string[]>;
  }

  /** Bytes of the budget of memory: held by requests, in caches, and the most of both together since the last call. */
  async memory(): Promise<{ held: number; cached: number; peak: number }> {
    return (await this.#ask('memory')).json() as Promise<{ held: number; cached: number; peak: number }>;
  }

  /** Moves the registry's clock ahead of the real one, in ms. */
  async setClockAhead(ms: number): Promise<void> {
    await this.#ask('clock', { ahead: String(ms) });
  }

  /** Stops the registry's clock at a time (Unix time, ms), until it is set ahead. */
  async stopClock(at: number): Promise<void> {
    await this.#ask('clock', { at: String(at) });
  }

  /** Moves the clock on by one day after another, rings the alarms of these objects that are then due, and sets the clock back. */
  async passDays(days: number, objects: [binding: Binding, name: string][]): Promise<void> {
    await this.#ask('pass-days', {}, JSON.stringify({ days, objects }));
  }

  /** Every key of the store that has bytes. */
  async storedKeys(): Promise<string[]> {
    return (await this.#ask('store')).json() as Promise<string[]>;
  }

  /** The bytes under a key of the store, or null. */
  async storedBytes(key: string): Promise<Uint8Array | null> {
    const response = await this.#ask('read', { key });
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
  }

  /** Puts other bytes under a key of the store past the registry, or with null removes what is there. */
  async tamper(key: string, bytes: Uint8Array | null): Promise<void> {
    await this.#ask('tamper', { key }, bytes ?? new Uint8Array());
  }

  /** The numbers of the pieces that a list on disk names; its key ends in `/parts`. */
  async pieces(key: string): Promise<number[]> {
    const list = (await (await this.#ask('list', { key })).json()) as [number: number, size: number][];
    return list.map(([number]) => number);
  }

  /** The keys of R2's multipart uploads that were neither completed nor aborted. */
  async openMultiparts(): Promise<string[]> {
    return (await this.#ask('multiparts')).json() as Promise<string[]>;
  }

  /** Begins a multipart upload in the bucket past the registry. */
  async beginMultipart(key: string): Promise<void> {
    await this.#ask('begin-multipart', { key });
  }

  /** True where R2 still makes an object of a multipart upload. */
  async completes(draft: {
    key: string;
    multipart: string;
    parts: { partNumber: number; etag: string }[];
  }): Promise<boolean> {
    return (await this.#ask('complete', {}, JSON.stringify(draft))).json() as Promise<boolean>;
  }

  async evict(binding: Binding, name: string): Promise<void> {
    await this.#ask('evict', { binding, name });
  }

  /** Runs the alarm of a Durable Object now. */
  async ring(binding: Binding, name: string): Promise<void> {
    await this.#ask('ring', { binding, name });
  }

  /** Runs the alarm of a Durable Object as the platform would: only if it is set and due. False where it is not. */
  async ringDue(binding: Binding, name: string): Promise<boolean> {
    return (await this.#ask('ring-due', { binding, name })).json() as Promise<boolean>;
  }

  /** When the alarm of a Durable Object is set to ring (Unix time, ms). */
  async alarmAt(binding: Binding, name: string): Promise<number | null> {
    return (await this.#ask('alarm', { binding, name })).json() as Promise<number | null>;
  }

  /** Forgets the alarm of a Durable Object, as the platform does after six failures. */
  async dropAlarm(binding: Binding, name: string): Promise<void> {
    await this.#ask('drop-alarm', { binding, name });
  }

  /** Resolves when the alarm of a Durable Object is set. */
  async alarmSet(binding: Binding, name: string): Promise<void> {
    await this.#ask('alarm-set', { binding, name });
  }

  /** True where a Durable Object has stored nothing. */
  async isEmpty(binding: Binding, name: string): Promise<boolean> {
    return (await this.#ask('empty', { binding, name })).json() as Promise<boolean>;
  }

  async rows(binding: Binding, name: string, query: string): Promise<Record<string, unknown>[]> {
    const response = await this.#ask('rows', { binding, name }, query);
    return response.json() as Promise<Record<string, unknown>[]>;
  }

  /** Calls a method of a Durable Object past the Worker, as another location would, with arguments that JSON can hold. */
  async call<T>(binding: Binding, name: string, method: string, ...args: unknown[]): Promise<T> {
    const response = await this.#ask('call', { binding, name }, JSON.stringify({ method, args }));
    return response.json() as Promise<T>;
  }

  get #vars(): Record<string, string> {
    return { AUTH: 'off', ...this.#publicUrl, ...this.#options.vars };
  }

  /** The one that it had before, or 0 for a free one, unless it must be known beforehand. */
  async #port(): Promise<number> {
    if (this.#running !== null) return Number(new URL(this.#running.url).port);
    return this.#options.hasPublicUrl ? freePort() : 0;
  }

  async #ask(
    what: string,
    query: Record<string, string> = {},
    body?: string | Uint8Array,
  ): Promise<Response> {
    const init = body === undefined ? {} : { method: 'POST', body: body as BodyInit };
    const response = await fetch(`${this.url}/test/${what}?${new URLSearchParams(query)}`, init);
    if (!response.ok && what !== 'read')
      throw new Error(`/test/${what}: ${response.status} ${await response.text()}`);
    return response;
  }

  async #startMachine(port: number): Promise<Machine> {
    const { onLog, services } = this.#options;
    return startMachine({
      port,
      stateDir: this.#stateDir,
      entry: this.#options.entry ?? ENTRY,
      vars: this.#vars,
      ...(services && { services }),
      ...(onLog && { onOutput: onLog }),
    });
  }
}

/** Runs a suite on both homes, each started before it and stopped after it. */
export function eachHome(define: (home: Home) => void, options: HomeOptions = {}): void {
  onHome('disk', define, options);
  onHome('r2', define, options);
}

export function onHome(name: 'disk' | 'r2', define: (home: Home) => void, options: HomeOptions = {}): void {
  describe(`on ${name === 'disk' ? 'one machine (disk)' : 'Cloudflare (R2 simulator)'}`, () => {
    const home = new Home(name, options);
    before(() => home.start());
    after(() => home.stop());
    define(home);
  });
}
