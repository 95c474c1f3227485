// The conformance table against Longshore in both of its homes. Here nothing is optional: a warning or
// an option that was declined is a failure.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { CHUNK_RECOMMENDED_BYTES } from '../../worker/oci/limits.ts';
import { blob } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { expectHeader } from './answer.ts';
import { Registry } from './registry.ts';
import { type Row, runRow } from './row.ts';
import { rows } from './rows.ts';
import { closeUpload, patchAll } from './upload.ts';

/**
 * Longshore only recommends a length of 32 MiB and accepts shorter chunks. The rows use shorter ones, since each byte costs
 * processor time in the simulator; one test below uses the recommended length. These are longer than what one row holds.
 */
const CHUNK_MIN_BYTES = 2 * 1024 * 1024;

eachHome((home) => {
  const titles = rows.map(({ section, what }) => `${section}: ${what}`);
  let registry: Registry | undefined;
  after(() => registry?.[Symbol.dispose]());

  it('the conformance table has a title of its own for every row', () => {
    assert.deepEqual(titles, [...new Set(titles)]);
  });

  it('the conformance table pushes and pulls a blob in chunks of the recommended length', async () => {
    using recommended = new Registry(home.url);
    const repository = recommended.repository();
    const begun = await repository.postUpload();
    expectHeader(begun, 'OCI-Chunk-Min-Length', String(CHUNK_RECOMMENDED_BYTES));
    const chunks = [blob(CHUNK_RECOMMENDED_BYTES), blob(CHUNK_RECOMMENDED_BYTES + 1)];
    const location = await patchAll(repository, begun.location(), chunks);
    await closeUpload(repository, location, Buffer.concat(chunks));
  });

  // In order, since the last rows judge what was answered to the others.
  for (const [section, members] of Map.groupBy(rows, (row) => row.section)) {
    describe(section, () => {
      for (const row of members) {
        it(titleOf(row), async () => {
          registry ??= new Registry(home.url, null, CHUNK_MIN_BYTES);
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
