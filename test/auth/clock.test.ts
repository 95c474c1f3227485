/** A registry that was first started by a clock that was far ahead. */
import { it } from 'node:test';
import { ADMIN, GUARDED } from '../management/api.ts';
import { eachHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

const DAY_MS = 24 * 3600_000;

eachHome((home) => {
  it('a registry issues tokens at once when the clock is corrected, with and without a restart', async () => {
    await home.setClockAhead(400 * DAY_MS);
    const admin = new Visitor(home, ADMIN);
    await admin.must(200, 'GET', '/token');
    await home.setClockAhead(0);
    const token = await admin.token();
    await admin.must(200, 'GET', '/v2/', { authorization: `Bearer ${token}` });
    if (home.name === 'r2') return;
    await home.restart();
    await admin.must(200, 'GET', '/v2/', {
      authorization: `Bearer ${await admin.token('repository:a:pull')}`,
    });
  });
}, GUARDED);
