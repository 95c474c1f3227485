/**
 * A client that pulls lazily, as stargz-snapshotter does: it probes with `bytes=0-1` whether ranges work, keeps the URL that
 * it is redirected to and reads ranges there for as long as they last, and asks the registry again when they do not.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blob } from '../support/fixtures.ts';
import { eachHome, type Home, onHome } from '../support/homes.ts';
import { type Answer, follow, locationOf, pushBlob, send } from './client.ts';

const SIZE = 500_000;
const LIFETIME_MS = 1200_000;
const WINDOW_MS = 300_000;

describe('at the own blob host', () => {
  eachHome((home) => pullsLazily(home, (ms) => home.setClockAhead(ms)), {
    vars: { BLOB_DELIVERY: 'redirect' },
  });
});

describe('at a blob domain', () => {
  onHome(
    'r2',
    (home) =>
      pullsLazily(home, async (ms) => {
        await send(home.blobDomain, `/clock?ahead=${ms}`);
        await home.setClockAhead(ms);
      }),
    { blobDomain: { secrets: ['secret'], ttl: 1500 } },
  );
});

function pullsLazily(home: Home, setAhead: (ms: number) => Promise<void>): void {
  it('a lazy client probes, reads ranges at the URL that it keeps, and refreshes it when it has expired', async () => {
    const pushed = await pushBlob(home, blob(SIZE));
    const { path, bytes } = pushed;
    const is = (answer: Answer, first: number, last: number) => {
      assert.equal(answer.status, 206);
      assert.equal(answer.headers['content-range'], `bytes ${first}-${last}/${SIZE}`);
      assert.ok(answer.body.equals(bytes.subarray(first, last + 1)));
    };
    const read = async (url: string, first: number, last: number) =>
      follow(url, { headers: { Range: `bytes=${first}-${last}` } });

    const probe = await send(home.url, path, { headers: { Range: 'bytes=0-1' } });
    is(probe, 0, 1);

    const kept = await locationOf(home, pushed, { Range: `bytes=${SIZE - 51}-${SIZE - 1}` });
    const wanted = [
      [SIZE - 51, SIZE - 1],
      [0, 1],
      [0, 65_535],
      [123_456, 345_678],
    ] as const;
    for (const [first, last] of wanted) is(await read(kept, first, last), first, last);
    // It reads several at a time.
    const answers = await Promise.all(wanted.map(([first, last]) => read(kept, first, last)));
    for (const [index, [first, last]] of wanted.entries()) is(answers[index] ?? probe, first, last);

    // The URL lives as long as is promised, whenever in a window it was made.
    await setAhead(LIFETIME_MS - 60_000);
    is(await read(kept, 5, 9), 5, 9);

    await setAhead(LIFETIME_MS + WINDOW_MS);
    const expired = await read(kept, 5, 9);
    assert.equal(expired.status, 403);
    assert.ok(!expired.body.includes(bytes.subarray(5, 10)));

    const refreshed = await locationOf(home, pushed, { Range: 'bytes=5-9' });
    assert.notEqual(refreshed, kept);
    is(await read(refreshed, 5, 9), 5, 9);
    assert.equal((await read(kept, 5, 9)).status, 403, 'the old one stays expired');
  });
}
