/** The ways by which a client pushes a blob: whole, in chunks, over connections that break, cancelled, ended twice. */
import { digest as digestOf } from '../support/fixtures.ts';
import type { Blob } from './content.ts';
import type { RepositoryModel } from './model.ts';
import type { Random } from './random.ts';
import { Violation } from './register.ts';
import type { Session } from './session.ts';
import {
  offsetOf,
  rangeOf,
  TRIES,
  type Upload,
  UploadRequests,
  type Uploads,
  withDigest,
} from './uploads.ts';
import type { Sent } from './wire.ts';

export class Pushes {
  readonly #session: Session;
  readonly #random: Random;
  readonly #requests: UploadRequests;

  constructor(session: Session, random: Random, uploads: Uploads) {
    this.#session = session;
    this.#random = random;
    this.#requests = new UploadRequests(session, random, uploads);
  }

  cancel(upload: Upload): Promise<void> {
    return this.#requests.cancel(upload);
  }

  /** Pushes a blob somehow. True where it is there now, false where it is not, or may not be. */
  async push(repository: RepositoryModel, blob: Blob): Promise<boolean> {
    const random = this.#random;
    const way = random.weighted<() => Promise<boolean>>([
      [25, () => this.#post(repository, blob)],
      [30, () => this.#whole(repository, blob)],
      [45, () => this.#chunks(repository, blob)],
    ]);
    return way();
  }

  async mount(repository: RepositoryModel, blob: Blob, from: RepositoryModel | null): Promise<boolean> {
    const source = from === null ? '' : `&from=${from.name}`;
    const target = `/v2/${repository.name}/blobs/uploads/?mount=${blob.digest}${source}`;
    const pending = repository.blobPush(blob);
    const reply = await this.#requests.final(pending, 'mount', 'POST', target, {}, [201, 202]);
    if (reply?.status !== 201) return false;
    if (from !== null) from.readBlob(blob.digest, true, reply);
    return true;
  }

  /** A push over a slow link: a PATCH of a length that is not told, or a PUT. */
  async slowly(repository: RepositoryModel, blob: Blob, pauseMs: number): Promise<boolean> {
    const chunked = this.#random.chance(0.5);
    const sent = { body: blob.bytes(), chunked, slow: { pieces: 4, pauseMs } };
    for (let tries = 0; tries < TRIES; tries++) {
      const upload = await this.#requests.begin(repository);
      if (upload === null) continue;
      upload.whole = !chunked;
      if (!chunked) {
        const reply = await this.#requests.put(upload, blob, withDigest(upload.location, blob.digest), sent);
        if (reply?.status === 201) return true;
        continue;
      }
      const reply = await this.#requests.ask('PATCH, slow', 'PATCH', upload, sent, [202]);
      if (reply !== null) upload.location = this.#requests.locationOf(reply);
      return this.#finish(upload, blob, reply === null ? null : blob.size);
    }
    return false;
  }

  /** One POST with all bytes. */
  async #post(repository: RepositoryModel, blob: Blob): Promise<boolean> {
    const target = `/v2/${repository.name}/blobs/uploads/?digest=${blob.digest}`;
    const sent = this.#requests.sent(blob.bytes());
    const random = this.#random;
    if (random.chance(0.06)) {
      const wrong = `/v2/${repository.name}/blobs/uploads/?digest=${digestOf(Buffer.from(random.hex(20)))}`;
      await this.#session.ask('POST blob, wrong digest', 'POST', wrong, sent, [400]);
      return false;
    }
    if (random.chance(0.08))
      await this.#requests.cutFinal(repository.blobPush(blob), 'POST blob', 'POST', target, sent);
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await this.#requests.final(
        repository.blobPush(blob),
        'POST blob',
        'POST',
        target,
        sent,
        [201],
      );
      if (reply !== null) return true;
    }
    return false;
  }

  /** A POST, and one PUT with all bytes. */
  async #whole(repository: RepositoryModel, blob: Blob): Promise<boolean> {
    const upload = await this.#requests.begin(repository);
    if (upload === null) return false;
    upload.whole = true;
    const random = this.#random;
    const target = withDigest(upload.location, blob.digest);
    const sent = this.#requests.sent(blob.bytes());
    if (sent.chunked || blob.size === 0) upload.whole = false;
    if (random.chance(0.05)) {
      await this.#requests.putWrong(upload, digestOf(Buffer.from(random.hex(20))), sent);
      return false;
    }
    if (random.chance(0.04)) {
      await this.#requests.cancel(upload);
      const reply = await this.#requests.put(upload, blob, target, sent);
      return reply?.status === 201;
    }
    if (random.chance(0.04)) {
      // The cancel comes during the PUT.
      await Promise.all([this.#requests.put(upload, blob, target, sent), this.#requests.cancel(upload)]);
      return false;
    }
    if (random.chance(0.1)) {
      upload.endBegun = true;
      await this.#requests.cutFinal(repository.blobPush(blob), 'PUT blob', 'PUT', target, sent);
      // What came of an unknown length may have been kept.
      if (!upload.whole) return this.#finish(upload, blob, null);
    }
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await this.#requests.put(upload, blob, target, sent);
      if (reply?.status === 404 || reply?.status === 416) return false;
      if (reply === null) {
        if (!upload.whole) return this.#finish(upload, blob, null);
        continue;
      }
      await this.#afterwards(upload, blob, target, sent);
      return true;
    }
    return false;
  }

  /** A POST, PATCHes, and a PUT with the last bytes or none. */
  async #chunks(repository: RepositoryModel, blob: Blob): Promise<boolean> {
    const random = this.#random;
    const query = blob.digest.startsWith('sha512:') && random.chance(0.5) ? '?digest-algorithm=sha512' : '';
    const upload = await this.#requests.begin(repository, query);
    if (upload === null) return false;
    const bytes = blob.bytes();
    const chunks = random.between(1, 4);
    const ranged = random.chance(0.6);
    const lastInPut = random.chance(0.4);
    let at = 0;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const end =
        chunk === chunks - 1 ? bytes.length : Math.min(bytes.length, at + random.below(bytes.length + 1));
      if (chunk === chunks - 1 && lastInPut) break;
      if (random.chance(0.08) && !(await this.#outOfOrder(upload, at))) return false;
      if (random.chance(0.03)) {
        await this.#requests.cancel(upload);
        await this.#requests.expectGone(upload);
        return false;
      }
      const moved = await this.#append(upload, bytes, at, end, ranged);
      if (moved === null) return false;
      at = moved;
      if (random.chance(0.05)) {
        const stands = await this.#requests.status(upload);
        if (stands === null) return false;
        if (stands !== at && !(stands === 0 && at === 1))
          throw new Violation(`an upload that took ${at} bytes says that it has ${stands}`);
      }
    }
    if (random.chance(0.04)) return this.#endWrong(upload, bytes.subarray(at), at);
    if (random.chance(0.04)) {
      await this.#requests.cancel(upload);
      await this.#requests.expectGone(upload);
      return false;
    }
    return this.#finish(upload, blob, at);
  }

  /** Sends a chunk, whatever happens to it on the way. Gives where the upload then stands; null where it is lost. */
  async #append(
    upload: Upload,
    bytes: Buffer,
    from: number,
    to: number,
    ranged: boolean,
  ): Promise<number | null> {
    const random = this.#random;
    let at = from;
    let isSure = true;
    for (let tries = 0; tries < TRIES; tries++) {
      if (at >= to && tries > 0) return at;
      const body = bytes.subarray(at, to);
      const inPlace = (ranged || !isSure) && body.length > 0;
      const sent = {
        ...this.#requests.sent(body),
        ...(inPlace ? { headers: rangeOf(at, body.length) } : {}),
      };
      if (random.chance(tries === 0 ? 0.08 : 0)) {
        await this.#session.cut('PATCH', 'PATCH', upload.location, sent, random.below(body.length + 1));
      } else {
        const allowed = isSure ? [202] : [202, 416];
        const reply = await this.#requests.ask('PATCH', 'PATCH', upload, sent, allowed);
        if (reply?.status === 404) return null;
        if (reply?.status === 202) {
          upload.location = this.#requests.locationOf(reply);
          const stands = offsetOf(reply);
          if (stands !== to && to > 1)
            throw new Violation(`a PATCH up to ${to} says that the upload stands at ${stands}`);
          if (inPlace && random.chance(0.06)) await this.#repeat(upload, sent);
          return to;
        }
      }
      isSure = false;
      const stands = await this.#requests.status(upload);
      if (stands === null) return null;
      if (stands < from && !(stands === 0 && from === 1))
        throw new Violation(`an upload went back from ${from} to ${stands}`);
      if (stands > to) throw new Violation(`an upload has ${stands} bytes, and ${to} were sent`);
      // "0-0" is said of one byte as well as of none.
      at = stands === 0 && from === 1 ? 1 : stands;
    }
    return null;
  }

  /** The answer of a chunk was lost, the client believes, and sends it again. */
  async #repeat(upload: Upload, sent: Sent): Promise<void> {
    await this.#requests.ask('PATCH again', 'PATCH', upload, sent, [416]);
  }

  async #outOfOrder(upload: Upload, at: number): Promise<boolean> {
    const first = at + 1 + this.#random.below(1000);
    const body = Buffer.alloc(this.#random.between(1, 2000));
    const sent = { body, headers: rangeOf(first, body.length) };
    const reply = await this.#requests.ask('PATCH out of order', 'PATCH', upload, sent, [416]);
    if (reply === null) return (await this.#requests.status(upload)) !== null;
    if (reply.status === 404) return false;
    const stands = offsetOf(reply);
    if (stands !== at && !(at === 1 && stands === 0))
      throw new Violation(`a chunk out of order moves ${at} to ${stands}`);
    return true;
  }

  /** Ends an upload; `at` is where it surely stands, null where it may stand anywhere. */
  async #finish(upload: Upload, blob: Blob, at: number | null): Promise<boolean> {
    const random = this.#random;
    const bytes = blob.bytes();
    const target = () => withDigest(upload.location, blob.digest);
    let stands = at;
    for (let tries = 0; tries < TRIES; tries++) {
      if (stands === null) {
        const status = await this.#requests.status(upload);
        // Gone: it was cancelled, or a PUT whose answer was lost has ended it, which its repetition tells.
        stands = status ?? bytes.length;
        if (status === null && !upload.endBegun) return false;
      }
      const body = bytes.subarray(stands);
      const sent: Sent =
        body.length === 0 ? {} : { ...this.#requests.sent(body), headers: rangeOf(stands, body.length) };
      if (tries === 0 && random.chance(0.1)) {
        upload.endBegun = true;
        await this.#requests.cutFinal(upload.repository.blobPush(blob), 'PUT blob', 'PUT', target(), sent);
        stands = null;
        continue;
      }
      const isSure = tries === 0 && at !== null;
      const together = tries === 0 && random.chance(0.05);
      const [reply] = await Promise.all([
        this.#requests.put(upload, blob, target(), sent, isSure ? [] : [416]),
        ...(together ? [this.#requests.cancel(upload)] : []),
      ]);
      if (reply?.status === 201) {
        await this.#afterwards(upload, blob, target(), sent);
        return true;
      }
      if (reply?.status === 404) return false;
      stands = null;
    }
    return false;
  }

  /** What clients do with an upload that has ended: look at the blob, end it again, cancel it. */
  async #afterwards(upload: Upload, blob: Blob, target: string, sent: Sent): Promise<void> {
    const random = this.#random;
    if (random.chance(0.12)) {
      const pending = upload.repository.blobPush(blob);
      const reply = await this.#requests.final(pending, 'PUT blob again', 'PUT', target, sent, [201, 404]);
      // Others may have deleted the blob meanwhile, or cancelled the upload.
      const isExcused = reply !== null && upload.repository.mayLack(blob.digest, reply);
      if (reply?.status === 404 && !isExcused && !upload.cancelBegun && !this.#requests.isOld(upload))
        throw new Violation('the repetition of a final PUT is answered with 404, and the blob is there');
    }
    if (random.chance(0.12)) await this.#requests.cancel(upload);
  }

  /** A final PUT with a digest that is not that of the content. */
  async #endWrong(upload: Upload, rest: Buffer, at: number): Promise<false> {
    const wrong = digestOf(Buffer.from(this.#random.hex(20)));
    const sent = rest.length === 0 ? {} : { body: rest, headers: rangeOf(at, rest.length) };
    await this.#requests.putWrong(upload, wrong, sent);
    return false;
  }
}
