/**
 * A short soak on each home. `npm run soak` is the long one, in which blobs are collected as well and memory, descriptors and
 * files have to stay flat.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from './soak.ts';

const SECONDS = 6;

for (const [home, where] of [
  ['disk', 'one machine (disk)'],
  ['r2', 'Cloudflare (R2 simulator)'],
] as const) {
  test(`forty clients at random see what a registry may answer, on ${where}`, async () => {
    const seed = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000);
    const { report } = await soak({
      home,
      seed,
      clients: 40,
      seconds: SECONDS,
      graceSeconds: 0,
      crashAfterSeconds: 2,
      log: (line) => console.log(line),
    });
    console.log(`${home}: ${report.operations} operations, seed ${seed}`);
    assert.ok(report.operations > 100, 'the clients did next to nothing');
    assert.deepEqual(
      report.violations,
      [],
      `SOAK_SEED=${seed} node --test test/soak/soak.test.ts repeats it`,
    );
  });
}
