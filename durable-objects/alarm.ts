/**
 * The alarm of a Durable Object. There is one, so several due times share it. The platform repeats an alarm that fails six
 * times, and then never again (Cloudflare docs, "Alarms"): here no error leaves it, and what fails is repeated for as long
 * as it takes.
 */

/** How soon something that failed is tried again. */
export const RETRY_MS = 30_000;
/** The delay doubles with each further failure, up to this. */
const RETRY_MAX_MS = 3600 * 1000;

/** What an object does when its alarm rings. */
export interface AlarmTasks {
  /** Does what is due, some of it at a time. What it throws is logged, and it runs again later. */
  run(now: number): void | Promise<void>;
  /** When there is something to do next (Unix time, ms), by what is stored; null for never. A time that has passed is now. */
  nextDue(now: number): number | null;
}

export class Alarm {
  readonly #ctx: DurableObjectState;
  readonly #tasks: AlarmTasks;
  /** When it rings, where this instance knows: asking costs as much as a row. */
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

  /** To be called when the alarm rings. Does not throw. */
  async ring(): Promise<void> {
    this.#isRinging = true;
    const next = await this.#run(Date.now());
    this.#isRinging = false;
    this.#ringsAt = 0;
    // A request may have set an earlier one meanwhile.
    if (next !== null) await this.ringBy(next);
  }

  /**
   * To be called once when the object starts and has tables: where something is due and no alarm is set, it was dropped, and
   * is set again. No request waits for this. An object that starts because its alarm rings has nothing to look for.
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
      console.error(`an alarm failed, and rings again in ${delayMs / 1000} seconds`, error);
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
      console.error('whether an alarm is missing could not be checked', error);
    }
  }
}
