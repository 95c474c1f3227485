/**
 * Every call that an operation makes fails once, loses its answer once, and is once the last thing that workerd does before
 * SIGKILL. Nothing half-done is ever seen, the client's next try succeeds, and in the end nothing is left behind.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Home } from '../support/homes.ts';
import { Client } from './client.ts';
import { eachHome, onHome } from './homes.ts';
import { KINDS, type Kind, type Operation } from './pushes.ts';
import { expectNoRemains, letTimePass, stored } from './remains.ts';

const STEPS_MAX = 60;

/** Ends `operation` somehow, with whatever fault it met. */
type Disturb = (
  home: Home,
  at: number,
  operation: Operation,
) => Promise<{ failed: boolean; calls: string[] }>;

eachHome((home) => {
  for (const kind of KINDS) {
    for (const how of ['before', 'after'] as const) {
      test(`${kind.name}: ${how === 'before' ? 'each call fails' : "each call's answer is lost"}`, async () => {
        await atEveryStep(home, kind, async (_home, at, operation) => {
          await home.reset({ at, how });
          const failed = await fails(operation);
          const { calls } = await home.counts();
          await home.reset();
          return { failed, calls };
        });
      });
    }
  }
});

onHome('disk', (home) => {
  for (const kind of KINDS) {
    test(`${kind.name}: SIGKILL at each call`, async () => {
      await atEveryStep(home, kind, async (_home, at, operation) => {
        await home.reset({ at, how: 'hang' });
        const running = fails(operation);
        await Promise.race([running, home.reached().catch(() => undefined)]);
        const { calls } = await home.counts();
        await home.crash();
        return { failed: await running, calls };
      });
    });
  }
});

async function atEveryStep(home: Home, kind: Kind, disturb: Disturb): Promise<void> {
  let steps = 0;
  for (let done = false; !done; steps++) {
    assert.ok(steps < STEPS_MAX, 'the operation does not end');
    const before = await stored(home);
    const client = new Client(home);
    const operation = await kind.prepare(client);
    const { failed, calls } = await disturb(home, steps, operation);
    done = calls.length <= steps;
    try {
      assert.ok(!(done && failed), 'it fails without a fault');
      await operation.check();
      if (failed) await operation.again();
      await operation.finish();
      await letTimePass(client);
      await operation.afterwards();
      await expectNoRemains(client, before, unheard(calls[steps] ?? ''));
    } catch (fault) {
      throw new Error(`call ${steps}, ${calls[steps] ?? 'none'}, of ${calls.join(' ')}`, { cause: fault });
    }
  }
  assert.ok(steps > 1, 'the operation made no call');
}

/** The multipart uploads whose id the registry may not know, because this call failed: R2 ends them automatically after a week. */
function unheard(call: string): number {
  return call === 'R2.createMultipartUpload' || call === 'UPLOAD_SESSION.advance' ? 1 : 0;
}

async function fails(operation: Operation): Promise<boolean> {
  return operation.run().then(
    () => false,
    () => true,
  );
}
