/** A proxy on one machine that TRUSTED_PROXIES does not name. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { GUARDED } from '../management/api.ts';
import { Home } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';

const WARNING = /X-Forwarded-For.*TRUSTED_PROXIES/;

describe('a header of a proxy', () => {
  for (const { name, trusted, want } of [
    { name: 'that is not trusted is told of once, with the setting', trusted: '', want: 1 },
    { name: 'that is trusted is not told of', trusted: '127.0.0.0/8', want: 0 },
  ])
    describe(name, () => {
      const log: string[] = [];
      const vars = { ...GUARDED.vars, ...(trusted === '' ? {} : { TRUSTED_PROXIES: trusted }) };
      const home = new Home('disk', { vars, onLog: (text) => log.push(text) });
      before(() => home.start());
      after(() => home.stop());

      it(`a header of a proxy, ${name}, writes ${want} warnings`, async () => {
        const headers = { 'X-Forwarded-For': '192.0.2.1' };
        for (let at = 0; at < 3; at++) await new Visitor(home, 'a:b').send('GET', '/v2/', { headers });
        await home.restart();
        assert.equal(
          log
            .join('')
            .split('\n')
            .filter((line) => WARNING.test(line)).length,
          want,
        );
      });
    });
});
