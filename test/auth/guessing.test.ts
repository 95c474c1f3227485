/** Those who guess names and passwords: they are told nothing, neither by words nor by the work that is done, and must wait. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { before, describe, it, mock } from 'node:test';
import bcrypt from 'bcryptjs';
import type { Lookup, User } from '../../worker/auth/rules/rules.ts';
import { GUARDED } from '../management/api.ts';
import { onHome } from '../support/homes.ts';
import { PASSWORD, Stage } from './attacks/stage.ts';
import { Visitor } from './visitor.ts';

/** `the password of the file` */
const FILE = '$2b$05$xKSFEtlNLYC3PYZ7gotsWOKQqmPKV7/Mw9MfcZNOc7FJwHNjzkOpa';
const NAMES = ['nobody', 'victim', 'disabled', 'elsewhere', 'admin', 'robot', 'old', '', '__proto__'];

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
        it(`${path} says the same of every name`, async () => {
          const said = new Set<string>();
          for (const name of NAMES) {
            const [answer] = await stage.refused(() => new Visitor(home, `${name}:wrong`).send('GET', path));
            const headers = [...(answer?.headers ?? [])].filter(([key]) => key !== 'date');
            said.add(JSON.stringify([answer?.status, headers, answer?.text]));
          }
          assert.deepEqual(said.size, 1, [...said].join('\n'));
        });

      it('a disabled user is told no more with the right password', async () => {
        const [right, wrong] = await stage.refused(async () => [
          await new Visitor(home, `disabled:${PASSWORD}`).send('GET', '/token'),
          await new Visitor(home, 'disabled:wrong').send('GET', '/token'),
        ]);
        assert.equal(right?.text, wrong?.text);
      });
    });

    describe('guessing', () => {
      for (const path of ['/token', '/v2/'])
        for (const name of ['victim', 'nobody'])
          it(`${name} at ${path} makes the next attempt wait, and no other`, async () => {
            const guess = () => new Visitor(home, `${name}:wrong`).send('GET', path);
            const answers = [];
            for (let at = 0; at < 8; at++) answers.push(await guess());
            assert.equal(answers[0]?.status, 401);
            const last = answers.at(-1);
            assert.equal(last?.status, 429, last?.text);
            assert.equal(last?.code, 'TOOMANYREQUESTS');
            const seconds = Number(last?.headers.get('Retry-After'));
            assert.ok(seconds >= 1 && seconds <= 900, String(seconds));
            // The right password is not tried meanwhile, and nobody else waits.
            if (name === 'victim') await stage.victim.must(429, 'GET', '/token');
            await stage.mallory.must(200, 'GET', '/token');
            await later(seconds * 1000);
            if (name === 'victim') await stage.victim.must(200, 'GET', '/token');
            else assert.equal((await guess()).status, 401);
            await later(24 * 3600_000);
          });

      it('many names from one address make it wait', async () => {
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

describe('the work for a wrong password', () => {
  const user = (over: Partial<User> = {}): User => {
    const kept = { name: 'bob', groups: [], disabled: false, createdAt: 0 };
    return { ...kept, password: STORED, ...over };
  };
  const STORED = `scrypt$16384$8$5$${Buffer.alloc(16).toString('base64url')}$${Buffer.alloc(32).toString('base64url')}`;
  const rows: { name: string; shown: string; user: User | null }[] = [
    { name: 'a user', shown: 'bob', user: user() },
    { name: 'nobody of this name', shown: 'nobody', user: null },
    { name: 'a disabled user', shown: 'bob', user: user({ disabled: true }) },
    { name: 'a user without a password', shown: 'bob', user: user({ password: null }) },
    { name: 'the admin', shown: 'admin', user: null },
    { name: 'a user of the file', shown: 'old', user: null },
    { name: 'a user whose hash is broken', shown: 'bob', user: user({ password: 'x' }) },
  ];
  for (const [setting, htpasswd, want] of [
    ['without an htpasswd file', new Map<string, string>(), ['scrypt 16384 8 5']],
    ['with one', new Map([['old', FILE]]), ['bcrypt', 'scrypt 16384 8 5']],
  ] as const)
    for (const { name, shown, user: known } of rows)
      it(`is the same ${setting}: ${name}`, async () => {
        assert.deepEqual(await hashesOf(shown, known, htpasswd), want);
      });

  /** The slow hashes that an attempt costs. */
  async function hashesOf(
    name: string,
    known: User | null,
    htpasswd: ReadonlyMap<string, string>,
  ): Promise<string[]> {
    const hashes: string[] = [];
    const scrypt = crypto.scryptSync;
    mock.method(crypto, 'scryptSync', (...args: Parameters<typeof crypto.scryptSync>) => {
      const { N, r, p } = args[3] ?? {};
      hashes.push(`scrypt ${N} ${r} ${p}`);
      return scrypt(...args);
    });
    syncBuiltinESMExports();
    const compare = mock.method(bcrypt, 'compare', async () => {
      hashes.push('bcrypt');
      return false;
    });
    try {
      const { Credentials } = await import('../../worker/auth/credentials/credentials.ts');
      const { authSettings } = await import('../../worker/auth/settings.ts');
      const lookup: Lookup = {
        waitMs: 0,
        user: known,
        token: null,
        trusts: [],
        rules: [],
        policies: [],
        hasFailed: false,
        isNew: false,
        hasAccounts: true,
        revision: 0,
      };
      const accounts = {
        lookup: async () => lookup,
        mayTry: async () => true,
        attempted: async () => undefined,
      };
      const env = { ACCOUNTS: { getByName: () => accounts } } as never;
      const settings = { ...authSettings(env), adminPassword: 'x', htpasswd: new Map(htpasswd) };
      const tokens = { verifyLogin: async () => null } as never;
      const credentials = new Credentials(env, settings, tokens, {} as never);
      const attempt = credentials.identify(
        { name, password: 'wrong' },
        { address: '', certificate: null },
        '',
      );
      await assert.rejects(attempt, /wrong name or password/);
      return hashes.sort();
    } finally {
      compare.mock.restore();
      mock.restoreAll();
      syncBuiltinESMExports();
    }
  }
});
