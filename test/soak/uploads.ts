/** The requests of an upload, and what the registry may answer in each of its states. */
import type { Blob } from './content.ts';
import type { Pending, RepositoryModel } from './model.ts';
import type { Random } from './random.ts';
import { type Span, Violation } from './register.ts';
import type { Session } from './session.ts';
import type { Reply, Sent } from './wire.ts';

/** An upload, as all clients know it. */
export interface Upload {
  repository: RepositoryModel;
  location: string;
  /** When its POST was sent, in ms. */
  begun: number;
  /** A DELETE of it has been sent. */
  cancelBegun: boolean;
  /** When the first DELETE that was answered with 204 had its answer. */
  cancelled: number | null;
  /** A final PUT has been sent. */
  endBegun: boolean;
  /** When the first final PUT that was answered with 201 had its answer. */
  published: number | null;
  /** All bytes came in the final PUT, so that the registry may know nothing of the upload. */
  whole: boolean;
}

export interface Uploads {
  /** Some that others may cancel. */
  open: Upload[];
  /** How long an upload may take, in ms. */
  lifetimeMs: number;
}

const OPEN_MAX = 30;
/** Of an answer that does not come: of each, a request is sent again so often. */
export const TRIES = 12;

export class UploadRequests {
  readonly #session: Session;
  readonly #random: Random;
  readonly #uploads: Uploads;

  constructor(session: Session, random: Random, uploads: Uploads) {
    this.#session = session;
    this.#random = random;
    this.#uploads = uploads;
  }

  /** Cancels an upload, of this client or of another. */
  async cancel(upload: Upload): Promise<void> {
    const before = { ...upload };
    upload.cancelBegun = true;
    const reply = await this.#session.ask('cancel', 'DELETE', upload.location, {}, [204, 404]);
    if (reply === null) return;
    if (reply.status === 204) {
      if (before.published !== null && !upload.whole)
        throw new Violation('an upload that was published is cancelled');
      if (before.cancelled !== null) throw new Violation('an upload is cancelled twice');
      upload.cancelled ??= reply.end;
    } else if (!before.cancelBegun && !upload.endBegun && !this.isOld(upload)) {
      throw new Violation('an upload that is open cannot be cancelled');
    }
  }

  /** Begins an upload; null where there was no answer. */
  async begin(repository: RepositoryModel, query = ''): Promise<Upload | null> {
    const target = `/v2/${repository.name}/blobs/uploads/${query}`;
    const reply = await this.#session.ask('POST upload', 'POST', target, {}, [202]);
    if (reply === null) return null;
    const upload: Upload = {
      repository,
      location: this.locationOf(reply),
      begun: reply.start,
      cancelBegun: false,
      cancelled: null,
      endBegun: false,
      published: null,
      whole: false,
    };
    if (this.#random.chance(0.1)) {
      const { open } = this.#uploads;
      open.push(upload);
      if (open.length > OPEN_MAX) open.shift();
    }
    return upload;
  }

  /** A final PUT of an upload. */
  async put(
    upload: Upload,
    blob: Blob,
    target: string,
    sent: Sent,
    also: number[] = [],
  ): Promise<Reply | null> {
    const before = { ...upload };
    upload.endBegun = true;
    const pending = upload.repository.blobPush(blob);
    const reply = await this.final(pending, 'PUT blob', 'PUT', target, sent, [201, 404, ...also]);
    if (reply?.status === 404) this.#checkGone('the final PUT', upload, before.endBegun);
    if (reply?.status !== 201) return reply;
    if (before.cancelled !== null && before.published === null)
      throw new Violation('an upload that was cancelled is published');
    upload.published ??= reply.end;
    return reply;
  }

  /** Where an upload stands; null where it is gone. */
  async status(upload: Upload): Promise<number | null> {
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await this.ask('GET upload', 'GET', upload, {}, [204]);
      if (reply?.status === 404) return null;
      if (reply === null) continue;
      upload.location = this.locationOf(reply);
      return offsetOf(reply);
    }
    return null;
  }

  async expectGone(upload: Upload): Promise<void> {
    if (upload.cancelled === null) return;
    await this.#session.ask('GET upload, cancelled', 'GET', upload.location, {}, [404]);
  }

  /** Asks for something of an upload. 404 may be answered only where it may have been cancelled, ended or expired. */
  async ask(
    kind: string,
    method: string,
    upload: Upload,
    sent: Sent,
    allowed: number[],
  ): Promise<Reply | null> {
    const ended = upload.endBegun;
    const reply = await this.#session.ask(kind, method, upload.location, sent, [...allowed, 404]);
    if (reply?.status === 404) this.#checkGone(kind, upload, ended);
    return reply;
  }

  /** A final PUT with a digest that is not that of the content. */
  async putWrong(upload: Upload, digest: string, sent: Sent): Promise<void> {
    const ended = upload.endBegun;
    upload.endBegun = true;
    const target = withDigest(upload.location, digest);
    const reply = await this.#session.ask('PUT blob, wrong digest', 'PUT', target, sent, [400, 404]);
    if (reply?.status === 404) this.#checkGone('a final PUT with a wrong digest', upload, ended);
  }

  #checkGone(kind: string, upload: Upload, ended: boolean): void {
    if (!upload.cancelBegun && !ended && !this.isOld(upload))
      throw new Violation(`${kind} of an upload that is open is answered with 404`);
  }

  isOld(upload: Upload): boolean {
    // Its end is told in whole seconds.
    return performance.now() > upload.begun + this.#uploads.lifetimeMs - 1000;
  }

  /** Sends a request that publishes a blob, and settles what it writes. */
  async final(
    pending: Pending,
    kind: string,
    method: string,
    target: string,
    sent: Sent,
    allowed: number[],
  ): Promise<Reply | null> {
    let reply: Reply | null;
    try {
      reply = await this.#session.ask(kind, method, target, sent, allowed);
    } catch (fault) {
      pending.unknown();
      throw fault;
    }
    if (reply === null) pending.unknown();
    else if (reply.status === 201) pending.done(reply);
    else pending.refused();
    return reply;
  }

  async cutFinal(pending: Pending, kind: string, method: string, target: string, sent: Sent): Promise<Span> {
    const size = sent.body?.length ?? 0;
    const at = this.#random.chance(0.4) ? size : this.#random.below(size + 1);
    const span = await this.#session.cut(kind, method, target, sent, at);
    pending.unknown();
    return span;
  }

  /** The body, at once or slowly, with its length or without. */
  sent(body: Buffer): Sent {
    const random = this.#random;
    return {
      body,
      chunked: random.chance(0.25),
      ...(random.chance(0.06)
        ? { slow: { pieces: random.between(2, 5), pauseMs: random.between(20, 400) } }
        : {}),
    };
  }

  locationOf({ headers }: Reply): string {
    const { location } = headers;
    if (location === undefined) throw new Violation('an upload without a Location');
    return location;
  }
}

export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
}

export function rangeOf(first: number, size: number): Record<string, string> {
  return { 'Content-Range': `${first}-${first + size - 1}` };
}

/** By the Range header, which cannot tell none from one. */
export function offsetOf({ headers }: Reply): number {
  const last = /^0-(\d+)$/.exec(String(headers.range))?.[1];
  if (last === undefined) throw new Violation(`an upload whose Range is ${headers.range}`);
  return last === '0' ? 0 : Number(last) + 1;
}
