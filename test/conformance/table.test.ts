// The conformance table against Longshore in both of its homes. Here nothing is optional: a warning or
// an option that was declined is a failure.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { eachHome } from '../support/homes.ts';
import { Registry } from './registry.ts';
import { type Row, runRow } from './row.ts';
import { rows } from './rows.ts';

eachHome((home) => {
  const titles = rows.map(({ section, what }) => `${section}: ${what}`);
  let registry: Registry | undefined;
  after(() => registry?.[Symbol.dispose]());

  it('has a title of its own for every row', () => {
    assert.deepEqual(titles, [...new Set(titles)]);
  });

  // In order, since the last rows judge what was answered to the others.
  for (const [section, members] of Map.groupBy(rows, (row) => row.section)) {
    describe(section, () => {
      for (const row of members) {
        it(titleOf(row), async () => {
          registry ??= new Registry(home.url);
          // The limits of production are for one request; what is counted is a row at most.
          await home.reset();
          const { outcome, why } = await runRow(row, registry);
          assert.equal(outcome, 'passed', why);
        });
      }
    });
  }
});

function titleOf({ level, end, what }: Row): string {
  return [level, end, what].filter((word) => word !== undefined).join(' ');
}
