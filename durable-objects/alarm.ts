/** A Durable Object has one alarm; these let several due times share it. */

/** When an alarm will ring, where this instance knows it: asking costs as much as a row. */
const ringsAt = new WeakMap<DurableObjectStorage, number>();

/** Makes sure that the alarm rings no later than `at` (Unix time, ms). */
export async function ringBy(storage: DurableObjectStorage, at: number): Promise<void> {
  const known = ringsAt.get(storage);
  if (known !== undefined && known > Date.now() && known <= at) return;
  const set = await storage.getAlarm();
  if (set === null || set > at) await storage.setAlarm(at);
  ringsAt.set(storage, set === null ? at : Math.min(set, at));
}

/** Sets the alarm to the earliest of the times that are due, or to none. */
export async function ringNext(storage: DurableObjectStorage, due: (number | null)[]): Promise<void> {
  const times = due.filter((time) => time !== null);
  if (times.length > 0) await storage.setAlarm(Math.min(...times));
  ringsAt.delete(storage);
}
