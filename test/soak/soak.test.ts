/**
 * A short soak on each home. `npm run soak` is the long one, in which blobs are collected as well and memory, descriptors and
 * files have to stay flat.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from './soak.ts';

const SECONDS = 5;

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
      access: true,
      log: (line) => console.log(line),
    });
    console.log(`${home}: ${report.operations} operations, seed ${seed}`);
    const { violations } = report;
    const again = `SOAK_SEED=${seed} node --test test/soak/soak.test.ts`;
    assert.equal(violations.length, 0, `${violations.slice(0, 5).join('\n')}\nrepeat it with ${again}`);
  });
}
