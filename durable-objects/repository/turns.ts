/**
 * Clients of the containerd family ask for a digest, and then start its upload without naming it. So that the upload can be told to be
 * for that digest, the answers to one caller are held back: each caller has a turn, from the answer for a missing digest until the
 * `POST` that follows. Turns are known only in memory. Without one, an upload is an ordinary one.
 *
 * A `POST` that does not come in time may still come during the turn of another digest, and the bucket would refuse its bytes. So after
 * that the caller gets no turns for a while.
 */
import type { Digest } from '../../worker/oci/digest.ts';

/** The `POST` comes within this time after the answer. A client may have to get another token before it. */
const TURN_MAX_MS = 3000;
/** An answer is held back no longer than this. */
const WAIT_MAX_MS = 8000;
/** How often an answer that is held back looks whether it has its turn. */
const LOOK_EVERY_MS = 20;
/** A `POST` that was waited for in vain comes no later than this. */
const LATE_MAX_MS = 60_000;
/** Answers to one caller that are held back, and callers of one repository. */
const WAITING_MAX = 100;
const CALLERS_MAX = 100;

/** A digest that a client was told is missing. */
export interface Turn {
  digest: Digest;
  /** False if its upload is an ordinary one. */
  isDirect: boolean;
}

interface Queue {
  /** The turn, and when it ends (Unix time, ms). */
  current: (Turn & { endsAt: number }) | null;
  waiting: Turn[];
  /** Until when there are no turns (Unix time, ms). */
  closedUntil: number;
}

export class Turns {
  readonly #queues = new Map<string, Queue>();
  /** Until when further callers get no turns (Unix time, ms). */
  #fullUntil = 0;

  /** Resolves when it is the turn of this digest, or when there is no turn for it. */
  async wait(caller: string, turn: Turn): Promise<void> {
    const queue = this.#queueOf(caller);
    if (queue === null) return;
    if (queue.waiting.length >= WAITING_MAX) close(queue);
    const givesUpAt = Date.now() + WAIT_MAX_MS;
    queue.waiting.push(turn);
    while (!hasTurn(queue, turn)) {
      // Closing answers all that wait, and none of their uploads can be told from another.
      if (Date.now() > givesUpAt) close(queue);
      if (queue.closedUntil > Date.now()) break;
      await scheduler.wait(LOOK_EVERY_MS);
    }
    queue.waiting = queue.waiting.filter((other) => other !== turn);
  }

  /** Ends the turn of a caller whose `POST` has come; null if there is none. */
  take(caller: string): Turn | null {
    const queue = this.#queues.get(caller);
    if (queue === undefined) return null;
    checkTime(queue);
    const { current } = queue;
    queue.current = null;
    return current;
  }

  #queueOf(caller: string): Queue | null {
    const known = this.#queues.get(caller);
    if (known !== undefined) return known;
    const now = Date.now();
    if (this.#fullUntil > now) return null;
    if (this.#queues.size >= CALLERS_MAX) this.#forgetIdle();
    if (this.#queues.size >= CALLERS_MAX) {
      // This caller would be known later, and then its first `POST` might be taken for another.
      this.#fullUntil = now + LATE_MAX_MS;
      return null;
    }
    const queue = { current: null, waiting: [], closedUntil: 0 };
    this.#queues.set(caller, queue);
    return queue;
  }

  #forgetIdle(): void {
    for (const [caller, queue] of this.#queues) {
      checkTime(queue);
      const isIdle = queue.current === null && queue.waiting.length === 0 && queue.closedUntil <= Date.now();
      if (isIdle) this.#queues.delete(caller);
    }
  }
}

/** Gives the turn to the first that waits. */
function hasTurn(queue: Queue, turn: Turn): boolean {
  checkTime(queue);
  const now = Date.now();
  if (queue.closedUntil > now || queue.current !== null || queue.waiting[0] !== turn) return false;
  queue.current = { ...turn, endsAt: now + TURN_MAX_MS };
  return true;
}

function checkTime(queue: Queue): void {
  if (queue.current !== null && queue.current.endsAt <= Date.now()) close(queue);
}

function close(queue: Queue): void {
  queue.current = null;
  queue.closedUntil = Date.now() + LATE_MAX_MS;
}
