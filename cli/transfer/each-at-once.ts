// Work on many items, several at once.
import { deferred } from './deferred.ts';

/**
 * Does `work` for each item, `count` at once. After the first failure no item is begun, `stop` is aborted, and what runs is waited for.
 *
 * Throws the first failure.
 */
export async function eachAtOnce<Item>(
  items: AsyncIterable<Item>,
  count: number,
  stop: AbortController,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failed = deferred<never>();
  failed.promise.catch(() => {});
  const iterator = items[Symbol.asyncIterator]();
  try {
    while (true) {
      // The next item can take long to be ready, and a failure must not wait for it.
      const next = await Promise.race([failed.promise, iterator.next()]);
      if (next.done === true) break;
      const one = work(next.value)
        .catch(failed.reject)
        .finally(() => running.delete(one));
      running.add(one);
      while (running.size >= count) await Promise.race([failed.promise, ...running]);
    }
    await Promise.race([failed.promise, Promise.all(running)]);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(running);
    throw error;
  }
}
