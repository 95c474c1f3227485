/** The budget of memory: what requests hold and what caches keep stay under one limit, and who waits is served. */
import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import {
  BODIES_MAX,
  BODIES_OF_ONE_MAX,
  CountedCache,
  type Lease,
  MEMORY_LOST_MS,
  MemoryBudget,
  WHOLE_BODY_IDLE_MS,
} from '../../worker/memory/budget.ts';
import { OciError } from '../../worker/oci/errors.ts';

const KiB = 1024;
const LIMIT = 100 * KiB;

describe('the budget of memory', () => {
  it('the budget of memory gives no more than its limit, and again what was given back', () => {
    const budget = new MemoryBudget(LIMIT);
    const [one, other] = [budget.lease(), budget.lease()];
    assert.equal(one.tryTake(60 * KiB), true);
    assert.equal(other.tryTake(60 * KiB), false);
    one.give(30 * KiB);
    assert.equal(other.tryTake(60 * KiB), true);
    one.end();
    other.end();
    assert.equal(budget.leased, 0);
    assert.equal(budget.takePeak(), 90 * KiB);
    assert.equal(budget.takePeak(), 0);
  });

  it('the budget of memory never gives back more than a request holds', () => {
    const budget = new MemoryBudget(LIMIT);
    const lease = budget.lease();
    lease.tryTake(KiB);
    lease.give(2 * KiB);
    lease.end();
    assert.equal(budget.leased, 0);
  });

  it('the budget of memory receives a bounded number of bodies from one sender, and from all', () => {
    const budget = new MemoryBudget(LIMIT);
    const receive = (sender: string): Lease => {
      const lease = budget.lease();
      lease.receive(sender);
      return lease;
    };
    const tooMany = (error: unknown) => error instanceof OciError && error.status === 503;
    const [first] = Array.from({ length: BODIES_OF_ONE_MAX }, () => receive('one'));
    assert.throws(() => receive('one'), tooMany);
    receive('other').end();
    first?.end();
    receive('one');
    assert.throws(() => receive('one'), tooMany);
    for (let n = BODIES_OF_ONE_MAX; n < BODIES_MAX; n++) receive('');
    assert.throws(() => receive('other'), tooMany);
    assert.throws(() => receive(''), tooMany);
  });

  it('the budget of memory forgets a body whose request was ended silently', () => {
    const clock = mock.method(performance, 'now', () => 1000);
    const budget = new MemoryBudget(LIMIT);
    const leases = Array.from({ length: BODIES_OF_ONE_MAX }, () => budget.lease());
    for (const lease of leases) lease.receive('one');
    clock.mock.mockImplementation(() => 1001 + MEMORY_LOST_MS);
    for (const lease of leases.slice(1)) lease.seen();
    budget.lease().receive('one');
    assert.throws(() => budget.lease().receive('one'), OciError);
    clock.mock.restore();
  });

  it('the budget of memory counts a body while it is read, also where that takes long', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    const clock = mock.method(performance, 'now', () => 1000);
    const budget = new MemoryBudget(LIMIT);
    let isRead = () => {};
    const read = new Promise<void>((resolve) => {
      isRead = resolve;
    });
    const bodies = Array.from({ length: BODIES_OF_ONE_MAX }, () => budget.whileReceiving('one', () => read));
    clock.mock.mockImplementation(() => 1001 + MEMORY_LOST_MS);
    mock.timers.tick(WHOLE_BODY_IDLE_MS);
    await assert.rejects(
      budget.whileReceiving('one', async () => {}),
      OciError,
    );
    isRead();
    await Promise.all(bodies);
    await budget.whileReceiving('one', async () => {});
    await assert.rejects(
      budget.whileReceiving('one', () => Promise.reject(new Error('cut off'))),
      /cut off/,
    );
    for (let n = 0; n < BODIES_OF_ONE_MAX; n++) budget.lease().receive('one');
    mock.timers.reset();
    clock.mock.restore();
  });

  it('the budget of memory counts the bytes of a body that is read whole', async () => {
    const budget = new MemoryBudget(LIMIT);
    await budget.whileReceiving('one', async (arrived) => {
      await arrived(LIMIT / 4);
      assert.equal(budget.leased, LIMIT / 4);
    });
    assert.equal(budget.leased, 0);
  });

  it('the budget of memory gives a body that has stopped up, but only while memory is short', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    let now = 1000;
    const clock = mock.method(performance, 'now', () => now);
    const budget = new MemoryBudget(LIMIT);
    const stopped = (bytes: number) =>
      budget.whileReceiving('one', async (arrived) => {
        await arrived(bytes);
        await new Promise(() => {});
      });
    let isSecondOver = false;
    const first = stopped(LIMIT / 4);
    await Promise.resolve();
    now += WHOLE_BODY_IDLE_MS + 1;
    mock.timers.tick(WHOLE_BODY_IDLE_MS + 1);
    const second = stopped(LIMIT / 2).catch(() => {
      isSecondOver = true;
    });
    await Promise.resolve();
    now += WHOLE_BODY_IDLE_MS - 1;
    mock.timers.tick(WHOLE_BODY_IDLE_MS - 1);
    await assert.rejects(first, { code: 'UNAVAILABLE' });
    assert.equal(budget.leased, LIMIT / 2);
    assert.equal(isSecondOver, false);
    mock.timers.reset();
    clock.mock.restore();
    void second;
  });

  it('the budget of memory holds no memory for bytes that come after a body was given up', async () => {
    const budget = new MemoryBudget(LIMIT);
    let late: (bytes: number) => Promise<void> = async () => {};
    await budget.whileReceiving('one', async (arrived) => {
      late = arrived;
    });
    await assert.rejects(late(LIMIT / 4), { code: 'UNAVAILABLE' });
    assert.equal(budget.leased, 0);
  });

  it('the budget of memory takes memory from caches, from those that are dear last', () => {
    const budget = new MemoryBudget(LIMIT);
    const dear = new CountedCache<number>(budget, { entries: 100, bytes: LIMIT, last: true });
    const cheap = new CountedCache<number>(budget, { entries: 100, bytes: LIMIT });
    for (let n = 0; n < 40; n++) {
      dear.set(`${n}`, n, KiB);
      cheap.set(`${n}`, n, KiB);
    }
    const lease = budget.lease();
    assert.equal(lease.tryTake(40 * KiB), true);
    assert.equal(dear.get('0'), 0);
    assert.equal(cheap.get('0'), undefined);
    assert.equal(cheap.get('39'), 39);
    assert.equal(lease.tryTake(60 * KiB), true);
    assert.equal(budget.cached, 0);
    assert.ok(budget.takePeak() <= LIMIT + 2 * KiB);
  });

  it('the budget of memory keeps what caches add within what requests leave', () => {
    const budget = new MemoryBudget(LIMIT);
    const lease = budget.lease();
    lease.tryTake(90 * KiB);
    const cache = new CountedCache<number>(budget, { entries: 100, bytes: LIMIT });
    for (let n = 0; n < 100; n++) cache.set(`${n}`, n, KiB);
    assert.ok(budget.leased + budget.cached <= LIMIT);
    assert.equal(cache.get('99'), 99);
  });

  it('the budget of memory serves who has waited for longest first, and lets what is small pass', async () => {
    const budget = new MemoryBudget(LIMIT);
    await looking(async () => {
      const [holder, large, late] = [budget.lease(), budget.lease(), budget.lease()];
      holder.tryTake(80 * KiB);
      const waits = large.take(50 * KiB);
      assert.equal(late.tryTake(10 * KiB), false, 'another waits');
      await late.takeSmall(4 * KiB);
      holder.give(60 * KiB);
      await waits;
      assert.equal(late.tryTake(10 * KiB), true);
    });
  });

  it('the budget of memory answers 503 with Retry-After to a request that waits for too long', async () => {
    const budget = new MemoryBudget(LIMIT);
    await looking(async () => {
      budget.lease().tryTake(LIMIT);
      await assert.rejects(budget.lease().take(KiB), (error) => {
        assert.ok(error instanceof OciError);
        assert.equal(error.status, 503);
        assert.equal(error.headers?.['Retry-After'], '5');
        return true;
      });
      assert.equal(budget.lease().tryTake(1), false);
    });
  });

  it('the budget of memory releases what a request held when the request ended without releasing it', async () => {
    const budget = new MemoryBudget(LIMIT);
    const clock = mock.method(performance, 'now', () => 1000);
    const [lost, alive] = [budget.lease(), budget.lease()];
    lost.tryTake(50 * KiB);
    alive.tryTake(50 * KiB);
    clock.mock.mockImplementation(() => 1001 + MEMORY_LOST_MS);
    alive.seen();
    const next = budget.lease();
    assert.equal(next.tryTake(60 * KiB), false);
    assert.equal(next.tryTake(50 * KiB), true);
    lost.end();
    assert.equal(budget.leased, 100 * KiB);
    clock.mock.restore();
  });
});

describe('a counted cache', () => {
  it('a counted cache forgets what was not used for longest where there are too many entries', () => {
    const cache = new CountedCache<string>(new MemoryBudget(LIMIT), { entries: 2, bytes: LIMIT });
    cache.set('a', 'a', 1);
    cache.set('b', 'b', 1);
    cache.get('a');
    cache.set('c', 'c', 1);
    assert.deepEqual(
      ['a', 'b', 'c'].map((key) => cache.get(key)),
      ['a', undefined, 'c'],
    );
  });

  it('a counted cache holds no bytes once it is cleared', () => {
    const cache = new CountedCache<string>(new MemoryBudget(LIMIT), { entries: 10, bytes: LIMIT });
    cache.set('a', 'a', 1);
    cache.clear();
    assert.equal(cache.get('a'), undefined);
    assert.equal(cache.bytes, 0);
  });

  it('a counted cache counts a replaced entry once, and keeps nothing that is larger than itself', () => {
    const cache = new CountedCache<string>(new MemoryBudget(LIMIT), { entries: 10, bytes: 10 * KiB });
    for (let n = 0; n < 100; n++) cache.set('a', 'a', 5 * KiB);
    assert.equal(cache.get('a'), 'a');
    cache.set('b', 'b', 20 * KiB);
    assert.equal(cache.get('b'), undefined);
    assert.equal(cache.bytes, 0);
  });
});

/** Runs with the runtime's `scheduler.wait`, in a time of its own. */
async function looking(run: () => Promise<void>): Promise<void> {
  let now = 0;
  const clock = mock.method(performance, 'now', () => now);
  const wait = (ms: number) =>
    new Promise<void>((resolve) => {
      setImmediate(() => {
        now += ms;
        resolve();
      });
    });
  Object.assign(globalThis, { scheduler: { wait } });
  try {
    await run();
  } finally {
    clock.mock.restore();
  }
}
