/**
 * The alarm of a Durable Object. An object has only one, so several due times share it. The platform repeats a failed alarm up
 * to six times and then drops it (Cloudflare docs, "Alarms"). So an alarm here never throws, and sets itself again after an error.
 */

/** How soon something that failed is tried again. */
export const RETRY_MS = 30_000;
/** The delay doubles with each further failure, up to this. */
const RETRY_MAX_MS = 3600 * 1000;

/** What an object does when its alarm rings. */
export interface AlarmTasks {
  /** Does a bounded part of what is due. If it throws, the error is logged and it runs again later. */
  run(now: number): void | Promise<void>;
  /** When `run` is due next (Unix time, ms), according to the tables; null for never. A time in the past means now. */
  nextDue(now: number): number | null;
}

export class Alarm {
  readonly #ctx: DurableObjectState;
  readonly #tasks: AlarmTasks;
  /** When the alarm rings, if this instance knows; 0 if not. Reading the alarm costs as much as reading a row. */
  #ringsAt = 0;
  #isRinging = false;
  #failures = 0;

  constructor(ctx: DurableObjectState, tasks: AlarmTasks) {
    this.#ctx = ctx;
    this.#tasks = tasks;
  }

  /** Makes sure that the alarm rings no later than `at` (Unix time, ms). */
  async ringBy(at: number): Promise<void> {
    if (this.#ringsAt > Date.now() && this.#ringsAt <= at) return;
    const { storage } = this.#ctx;
    const set = await storage.getAlarm();
    if (set === null || set > at) await storage.setAlarm(at);
    this.#ringsAt = set === null ? at : Math.min(set, at);
  }

  /** Call this in `alarm()` of the object. Does not throw. */
  async ring(): Promise<void> {
    this.#isRinging = true;
    const next = await this.#run(Date.now());
    this.#isRinging = false;
    this.#ringsAt = 0;
    // A request may have set an earlier alarm meanwhile.
    if (next !== null) await this.ringBy(next);
  }

  /**
   * Call this once when the object starts and has tables. If something is due and no alarm is set, the platform has dropped it, and
   * it is set again. No request waits for this. If the object starts because its alarm rings, there is nothing to do.
   */
  check(): void {
    this.#ctx.waitUntil(this.#check());
  }

  async #run(now: number): Promise<number | null> {
    try {
      await this.#tasks.run(now);
      const next = this.#tasks.nextDue(now);
      this.#failures = 0;
      return next;
    } catch (error) {
      const delayMs = Math.min(RETRY_MS * 2 ** this.#failures++, RETRY_MAX_MS);
      console.error(`an alarm failed, and will run again in ${delayMs / 1000} seconds`, error);
      return Date.now() + delayMs;
    }
  }

  async #check(): Promise<void> {
    await scheduler.wait(0);
    if (this.#isRinging) return;
    try {
      const due = this.#tasks.nextDue(Date.now());
      if (due !== null) await this.ringBy(due);
    } catch (error) {
      console.error('could not check whether an alarm is missing', error);
    }
  }
}
