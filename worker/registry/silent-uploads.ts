/**
 * Finds uploads that began and brought no bytes (`durable-objects/repository/abandoned.ts` says why). An ordinary push costs no call more:
 * the isolate remembers the uploads that it has offered, and forgets each when its bytes come. It asks about one that is left over when
 * the next upload of that repository begins. The bytes of an upload may have met another isolate, so the session and the
 * repository are asked. This is why an isolate that gets bytes for an upload that it has not offered tells the repository.
 */
import { waitUntil } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import { CountedCache, memory } from '../memory/budget.ts';
import type { SilentUpload } from '../objects/repository.ts';
import { platformOf } from '../platform.ts';
import { repositoryOf, sessionOf } from '../stubs.ts';

/** A client that has got a Location sends its bytes within this time. docker waits longer before it tries again. */
const SILENT_AFTER_MS = 4000;
/** A request that the runtime has ended without a sign counts as running for this long. */
const RECEIVING_MAX_MS = 3600 * 1000;
/** Uploads of one repository that an isolate remembers, and those that it asks about at once. */
const OFFERS_MAX = 50;
const ASKED_MAX = 5;
/** An upload that waits for its Location waits no longer than this for the answer about others. */
const ANSWER_MAX_MS = 1000;
/** Clients are warned this long after an abandoned upload began. */
const WARNED_MS = 24 * 3600 * 1000;
/** How near to a limit of the platform a body ended that was cut there. What is in flight is lost, and a limit may be meant in MiB. */
const CUT_FROM = 0.8;
const CUT_TO = 1.05;
const ENTRY_BYTES = 300;

type Offer = Pick<SilentUpload, 'offeredAt' | 'userAgent'>;

interface Offers {
  /** Id -> the upload. */
  open: Map<string, Offer>;
  /** Uploads whose bytes are arriving here. */
  receiving: Map<string, Offer & { since: number }>;
}

const repositories = new CountedCache<Offers>(memory, { entries: 1000, bytes: 4 * 1024 * 1024 });
/** Repository -> when its latest abandoned upload began (Unix time, ms). */
const abandoned = new CountedCache<number>(memory, { entries: 1000, bytes: 1024 * 1024 });

/** The uploads of one repository. Does nothing on a platform that refuses no body. */
export class SilentUploads {
  readonly #env: Env;
  readonly #repository: string;
  readonly #limits: readonly number[];

  constructor(env: Env, repository: string) {
    this.#env = env;
    this.#repository = repository;
    const { BODY_LIMIT_BYTES: limit } = env;
    this.#limits = limit ? [Number(limit)] : platformOf(env).bodyLimits;
  }

  /**
   * A client gets the Location of an upload. Before, this asks about uploads that are silent. Returns whether uploads of the
   * repository were abandoned lately.
   */
  async offered(id: string, userAgent: string): Promise<boolean> {
    if (this.#limits.length === 0) return false;
    const silent = this.#takeSilent();
    if (silent.length > 0) {
      const asked = this.#ask(silent);
      waitUntil(asked);
      await Promise.race([asked, scheduler.wait(ANSWER_MAX_MS)]);
    }
    const { open } = this.#offers();
    setWithin(OFFERS_MAX, open, id, { offeredAt: Date.now(), userAgent });
    return (abandoned.get(this.#repository) ?? 0) > Date.now() - WARNED_MS;
  }

  /** Bytes of an upload begin to arrive. `isWhole`: all of them, so that no session hears of it. */
  began(id: string, isWhole: boolean): void {
    if (this.#limits.length === 0) return;
    const { open, receiving } = this.#offers();
    const offer = open.get(id);
    const now = Date.now();
    setWithin(OFFERS_MAX, receiving, id, { ...(offer ?? { offeredAt: now, userAgent: '' }), since: now });
    if (open.delete(id) || !isWhole) return;
    waitUntil(
      repositoryOf(this.#env, this.#repository)
        .uploadBegan(id)
        .catch(() => undefined),
    );
  }

  /** A client asks about an upload, or ends it. The session hears of it too. */
  heardOf(id: string): void {
    repositories.get(this.#repository)?.open.delete(id);
  }

  ended(id: string): void {
    repositories.get(this.#repository)?.receiving.delete(id);
  }

  /** The connection broke after this many bytes of a body whose length the client did not tell. */
  broke(id: string, bytes: number): void {
    if (!this.#limits.some((limit) => bytes >= limit * CUT_FROM && bytes <= limit * CUT_TO)) return;
    const { offeredAt = Date.now(), userAgent = '' } = this.#offers().receiving.get(id) ?? {};
    waitUntil(this.#record([{ id, offeredAt, userAgent, wasCut: true }]));
  }

  /** What the repository has said about its abandoned uploads. */
  heard(at: number | null): void {
    if (at === null) abandoned.delete(this.#repository);
    else abandoned.set(this.#repository, at, 0);
  }

  /** Uploads that no bytes came for. Empty while others arrive: their blobs are not linked yet, and the repository might count them. */
  #takeSilent(): SilentUpload[] {
    const { open, receiving } = this.#offers();
    const now = Date.now();
    for (const [id, { since }] of receiving) if (since < now - RECEIVING_MAX_MS) receiving.delete(id);
    if (receiving.size > 0) return [];
    const silent: SilentUpload[] = [];
    for (const [id, upload] of open) {
      if (upload.offeredAt > now - SILENT_AFTER_MS) continue;
      open.delete(id);
      silent.push({ id, ...upload, wasCut: false });
    }
    return silent.slice(-ASKED_MAX);
  }

  async #ask(silent: SilentUpload[]): Promise<void> {
    const asked = await Promise.all(
      silent.map(async ({ id }) => {
        // A session that does not answer may have the bytes.
        const status = await sessionOf(this.#env, id)
          .status(id)
          .catch(() => ({ status: 'gone' }));
        return status.status === 'none';
      }),
    );
    const unknown = silent.filter((_, at) => asked[at]);
    if (unknown.length > 0) await this.#record(unknown);
  }

  async #record(uploads: SilentUpload[]): Promise<void> {
    try {
      const repository = repositoryOf(this.#env, this.#repository);
      this.heard(await repository.recordAbandoned(this.#repository, uploads));
    } catch (error) {
      console.error('an abandoned upload could not be counted', error);
    }
  }

  #offers(): Offers {
    const known = repositories.get(this.#repository);
    if (known !== undefined) return known;
    const offers: Offers = { open: new Map(), receiving: new Map() };
    repositories.set(this.#repository, offers, OFFERS_MAX * ENTRY_BYTES);
    return offers;
  }
}

function setWithin<V>(max: number, map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > max && oldest !== undefined) map.delete(oldest);
}
