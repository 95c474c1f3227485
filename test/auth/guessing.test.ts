/** Those who guess names and passwords: they are told nothing, neither by words nor by the work that is done, and must wait. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { GUARDED } from '../management/api.ts';
import { onHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { PASSWORD, Stage } from './attacks/stage.ts';

/** `the password of the file` */
const FILE = '$2b$05$xKSFEtlNLYC3PYZ7gotsWOKQqmPKV7/Mw9MfcZNOc7FJwHNjzkOpa';
const NAMES = ['missing', 'victim', 'disabled', 'elsewhere', 'admin', 'robot', 'old', '', '__proto__'];

onHome(
  'disk',
  (home) => {
    const stage = new Stage(home);
    before(() => stage.prepare());

    describe('enumeration', () => {
      for (const path of [
        '/token',
        '/token?scope=repository:private/app:pull',
        '/v2/',
        '/v2/private/app/tags/list',
        '/api/v1/me',
      ])
        it(`a failed login at ${path} gets the same answer for every name`, async () => {
          const said = new Set<string>();
          for (const name of NAMES) {
            const [answer] = await stage.refused(() => new Visitor(home, `${name}:wrong`).send('GET', path));
            const headers = [...(answer?.headers ?? [])].filter(([key]) => key !== 'date');
            said.add(JSON.stringify([answer?.status, headers, answer?.text]));
          }
          assert.deepEqual(said.size, 1, [...said].join('\n'));
        });

      it('a disabled user is told the same with the right password and a wrong one', async () => {
        const [right, wrong] = await stage.refused(async () => [
          await new Visitor(home, `disabled:${PASSWORD}`).send('GET', '/token'),
          await new Visitor(home, 'disabled:wrong').send('GET', '/token'),
        ]);
        assert.equal(right?.text, wrong?.text);
      });
    });

    describe('guessing', () => {
      for (const path of ['/token', '/v2/'])
        for (const name of ['victim', 'missing'])
          it(`a login makes the next attempt wait, and no other: ${name} at ${path}`, async () => {
            const guess = (at: number) =>
              new Visitor(home, `${name}:wrong at ${path} ${at}`).send('GET', path);
            const answers = [];
            for (let at = 0; at < 8; at++) answers.push(await guess(at));
            assert.equal(answers[0]?.status, 401);
            const last = answers.at(-1);
            assert.equal(last?.status, 429, last?.text);
            assert.equal(last?.code, 'TOOMANYREQUESTS');
            const seconds = Number(last?.headers.get('Retry-After'));
            assert.ok(seconds >= 1 && seconds <= 900, String(seconds));
            // The right password is not tried meanwhile, and no other client waits.
            if (name === 'victim') await stage.victim.must(429, 'GET', '/token');
            await stage.mallory.must(200, 'GET', '/token');
            await later(seconds * 1000);
            if (name === 'victim') await stage.victim.must(200, 'GET', '/token');
            else assert.equal((await guess(8)).status, 401);
            await later(24 * 3600_000);
          });

      it('the same login again and again is refused, and is one guess', async () => {
        const guess = () => new Visitor(home, 'victim:the password of last year').send('GET', '/token');
        const answers = [];
        for (let at = 0; at < 3; at++) answers.push(...(await Promise.all([1, 2, 3, 4].map(guess))));
        assert.deepEqual([...new Set(answers.map(({ status }) => status))], [401]);
        await stage.victim.must(200, 'GET', '/token');
      });

      it('a disabled user is let in with the password that was refused, once enabled again', async () => {
        const disabled = new Visitor(home, `disabled:${PASSWORD}`);
        await disabled.must(401, 'GET', '/token');
        await stage.api.made('PATCH', '/users/disabled', { disabled: false });
        await disabled.must(200, 'GET', '/token');
        await stage.api.made('PATCH', '/users/disabled', { disabled: true });
        await disabled.must(401, 'GET', '/token');
      });

      it('failed logins under many names make their address wait', async () => {
        const answers = [];
        for (let at = 0; at < 30; at++)
          answers.push((await new Visitor(home, `name-${at}:wrong`).send('GET', '/token')).status);
        assert.equal(answers[0], 401);
        assert.equal(answers.at(-1), 429);
        await later(24 * 3600_000);
        await stage.victim.must(200, 'GET', '/token');
      });

      let ahead = 0;
      const later = (ms: number) => {
        ahead += ms;
        return home.setClockAhead(ahead);
      };
    });
  },
  { vars: { ...GUARDED.vars, HTPASSWD: `old:${FILE}` } },
);
