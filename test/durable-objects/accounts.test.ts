/** Accounts: its users, tokens, rules and trusts, and what a lookup shows of them. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { TOKEN_USE_WRITTEN_MS } from '../../durable-objects/accounts/people.ts';
import type { Rule, Token, Trust, User } from '../../worker/access/model.ts';
import type { Listing } from '../../worker/oci/page.ts';
import { eachHome } from '../support/homes.ts';
import { Accounts, AHEAD, rule, token, trust } from './calls.ts';

const DAY_MS = 24 * 3600 * 1000;
const TABLES = ['users', 'tokens', 'rules', 'policies', 'trusts'];

/** Whose rules of RULES each query gets; everybody's groups and tokens are those of `people`. */
const RULES = [
  'user:bob',
  'user:eve',
  'group:dev',
  'group:ops',
  'token:ci',
  'token:bobs',
  'token:gone',
  'authenticated',
  'anonymous',
];
const LOOKUPS = [
  { name: 'anonymous', query: {}, want: ['anonymous'] },
  {
    name: 'a user with groups',
    query: { user: 'bob' },
    want: ['user:bob', 'group:dev', 'group:ops', 'authenticated', 'anonymous'],
  },
  { name: 'a user without groups', query: { user: 'eve' }, want: ['user:eve', 'authenticated', 'anonymous'] },
  { name: 'a user who is not kept here', query: { user: 'carol' }, want: ['authenticated', 'anonymous'] },
  {
    name: 'a user named like a subject',
    query: { user: 'eve,user:bob' },
    want: ['authenticated', 'anonymous'],
  },
  { name: 'a robot', query: { token: 'ci' }, want: ['token:ci', 'authenticated', 'anonymous'] },
  {
    name: 'a token of a user, as its owner',
    query: { token: 'bobs' },
    want: ['user:bob', 'group:dev', 'group:ops', 'authenticated', 'anonymous'],
  },
  { name: 'a token that is not there', query: { token: 'gone' }, want: ['authenticated', 'anonymous'] },
  { name: 'an issuer', query: { issuer: 'https://other.example' }, want: ['authenticated', 'anonymous'] },
];

/** Every search of a lookup, and the index that it must use. */
const SEARCHES = [
  ['SELECT * FROM users WHERE name = ?', 'PRIMARY KEY (name=?)'],
  ['SELECT * FROM tokens WHERE id = ?', 'PRIMARY KEY (id=?)'],
  ['SELECT * FROM tokens WHERE name = ? AND owner IS NULL', '(name=?)'],
  [
    'SELECT * FROM tokens WHERE owner IS NOT NULL AND substr(name, length(owner) + 2) = ? ORDER BY name LIMIT 1',
    'tokens_own_name (<expr>=?)',
  ],
  [
    'SELECT rules.* FROM json_each(?) AS wanted CROSS JOIN rules ON rules.subject = wanted.value',
    'rules_subject (subject=?)',
  ],
  ['SELECT * FROM trusts WHERE issuer = ? ORDER BY id', 'trusts_issuer (issuer=?)'],
  [
    'SELECT failures, wait_until FROM failed_logins WHERE kind = ? AND account = ? AND address = ?',
    '(kind=? AND account=? AND address=?)',
  ],
] as const;

eachHome((home) => {
  const accounts = new Accounts(home);
  const now = AHEAD;
  beforeEach(async () => {
    await home.stopClock(now);
    for (const table of TABLES) await accounts.rows(`DELETE FROM ${table}`);
  });

  describe('users', () => {
    it('users are made with what is given, and changed in that alone', async () => {
      assert.equal(await accounts.call('putUser', { name: 'bob' }), 'created');
      const bob = { name: 'bob', password: null, groups: [], disabled: false, createdAt: now };
      assert.deepEqual(await accounts.call('getUser', 'bob'), bob);
      await home.stopClock(now + 5);
      for (const change of [
        { password: 'hash' },
        { groups: ['dev', 'ops'] },
        { disabled: true },
        { password: null },
      ]) {
        assert.equal(await accounts.call('putUser', { name: 'bob', ...change }), 'updated');
        Object.assign(bob, change);
        await accounts.evict();
        assert.deepEqual(await accounts.call<User>('getUser', 'bob'), bob);
      }
      assert.equal(await accounts.call('getUser', 'eve'), null);
    });

    it('users are listed by page', async () => {
      for (const name of ['carol', 'bob', 'eve']) await accounts.call('putUser', { name });
      const names = async (last: string | null) => {
        const { entries, more } = await accounts.call<Listing<User>>('listUsers', { count: 2, last });
        return [...entries.map(({ name }) => name), more];
      };
      assert.deepEqual(await names(null), ['bob', 'carol', true]);
      assert.deepEqual(await names('carol'), ['eve', false]);
    });

    it('users are deleted with their tokens and their rules, and those of a robot stay', async () => {
      await people();
      assert.equal(await accounts.call('deleteUser', 'bob'), true);
      assert.equal(await accounts.call('deleteUser', 'bob'), false);
      const { entries } = await accounts.call<Listing<Token>>('listTokens', {}, { count: 9, last: null });
      assert.deepEqual(
        entries.map(({ name }) => name),
        ['ci'],
      );
      const rules = await accounts.call<Listing<Rule>>('listRules', { count: 99, last: null });
      const left = RULES.filter((subject) => subject !== 'user:bob');
      assert.deepEqual(
        rules.entries.map(({ subject }) => subject),
        left,
      );
    });
  });

  describe('tokens', () => {
    const lookups = [
      { name: 'a robot by its id', idOrName: 'ci-id', want: 'ci-id' },
      { name: 'a robot by its name, before the token of a user', idOrName: 'ci', want: 'ci-id' },
      { name: 'the token of a user by its name', idOrName: 'laptop', want: 'laptop-id' },
      { name: 'no token by the stored form of its name', idOrName: 'bob/laptop', want: undefined },
      { name: 'no token by the name of its owner', idOrName: 'bob', want: undefined },
    ];
    for (const { name, idOrName, want } of lookups) {
      it(`findToken finds ${name}`, async () => {
        await accounts.call('putUser', { name: 'bob' });
        await accounts.call('createToken', { ...token('ci', { owner: 'bob' }), id: 'bobs-ci' });
        await accounts.call('createToken', { ...token('ci'), id: 'ci-id' });
        await accounts.call('createToken', { ...token('laptop', { owner: 'bob' }), id: 'laptop-id' });
        assert.equal((await accounts.call<Token | null>('findToken', idOrName))?.id, want);
      });
    }

    const named = [
      { name: 'the name of a robot and of tokens of users', idOrName: 'ci', want: ['bobs', 'robot', 'eves'] },
      { name: 'the name of a token with its owner', idOrName: 'bob/ci', want: ['bobs'] },
      { name: 'an id', idOrName: 'robot', want: ['robot'] },
      { name: 'the beginning of a name', idOrName: 'c', want: [] },
      { name: 'the name of an owner', idOrName: 'bob', want: [] },
    ];
    for (const { name, idOrName, want } of named) {
      it(`listTokensNamed lists the tokens of ${name}, page after page`, async () => {
        for (const owner of ['bob', 'eve']) {
          await accounts.call('putUser', { name: owner });
          await accounts.call('createToken', { ...token('ci', { owner }), id: `${owner}s` });
          await accounts.call('createToken', token(`other of ${owner}`, { owner }));
        }
        await accounts.call('createToken', { ...token('ci'), id: 'robot' });
        const ids: string[] = [];
        let last: string | null = null;
        for (let more = true; more; ) {
          const page: Listing<Token> = await accounts.call('listTokensNamed', idOrName, { count: 1, last });
          ids.push(...page.entries.map(({ id }) => id));
          last =
            page.entries.map(({ owner, name }) => (owner === null ? name : `${owner}/${name}`))[0] ?? null;
          more = page.more;
        }
        assert.deepEqual(ids, want);
      });
    }

    it('tokens have a name of their own and an owner that is there', async () => {
      await people();
      assert.equal(await accounts.call('createToken', token('other', { name: 'ci' })), 'name taken');
      assert.equal(await accounts.call('createToken', token('other', { owner: 'carol' })), 'no owner');
      const grants = [{ role: 'writer', repositories: 'acme/*', tags: 'v*' }];
      const made = token('third', { owner: 'eve', grants, expiresAt: now + 1 });
      assert.equal(await accounts.call('createToken', made), 'created');
      await accounts.evict();
      assert.deepEqual((await accounts.lookup({ token: 'third' })).token, made);
    });

    it('tokens are listed of all owners, of robots and of one user', async () => {
      await people();
      const names = async (owner: Record<string, unknown>, last: string | null = null) => {
        const { entries, more } = await accounts.call<Listing<Token>>('listTokens', owner, {
          count: 1,
          last,
        });
        return [...entries.map(({ name }) => name), more];
      };
      assert.deepEqual(await names({}), ['bobs', true]);
      assert.deepEqual(await names({}, 'bobs'), ['ci', false]);
      assert.deepEqual(await names({ owner: null }), ['ci', false]);
      assert.deepEqual(await names({ owner: 'bob' }), ['bobs', false]);
      assert.deepEqual(await names({ owner: 'eve' }), [false]);
    });

    it('tokens leave no rule to the next of their name', async () => {
      await people();
      assert.equal(await accounts.call('deleteToken', 'ci'), true);
      assert.equal(await accounts.call('deleteToken', 'ci'), false);
      await accounts.call('createToken', token('new', { name: 'ci' }));
      const { rules } = await accounts.lookup({ token: 'new' });
      assert.deepEqual(
        rules.map(({ subject }) => subject),
        ['authenticated', 'anonymous'],
      );
    });

    const right = { token: 'ci', tokenHash: 'hash of ci' };
    const uses = [
      { name: 'the right secret', query: right, after: 0, want: now },
      { name: 'again, too soon', query: right, after: TOKEN_USE_WRITTEN_MS - 1, want: now },
      { name: 'again, later', query: right, after: TOKEN_USE_WRITTEN_MS, want: now + TOKEN_USE_WRITTEN_MS },
      {
        name: 'a wrong secret',
        query: { ...right, tokenHash: 'other' },
        after: 2 * TOKEN_USE_WRITTEN_MS,
        want: now,
      },
      { name: 'no secret', query: { token: 'ci' }, after: 2 * TOKEN_USE_WRITTEN_MS, want: now },
      { name: 'after its end', query: right, after: DAY_MS, want: now },
    ];
    for (const { name, query, after, want } of uses) {
      it(`tokens have their last use written: ${name}`, async () => {
        await accounts.call('createToken', token('ci', { expiresAt: now + DAY_MS }));
        await accounts.lookup(right);
        await home.stopClock(now + after);
        await accounts.lookup(query);
        assert.equal((await accounts.lookup({ token: 'ci' })).token?.lastUsedAt, want);
      });
    }
  });

  describe('a lookup', () => {
    for (const { name, query, want } of LOOKUPS) {
      it(`a lookup shows the rules for ${name}`, async () => {
        await people();
        const { rules } = await accounts.lookup(query);
        assert.deepEqual(rules.map(({ subject }) => subject).sort(), [...want].sort());
      });
    }

    it('a lookup shows the owner of a token, and all policies', async () => {
      await people();
      const policy = { kind: 'networks', repositories: 'acme/**', networks: ['192.0.2.0/24'] };
      const made = await accounts.call<{ id: string }>('createPolicy', policy);
      const { user, token: shown, policies } = await accounts.lookup({ token: 'bobs' });
      assert.deepEqual([user?.name, shown?.owner, policies], ['bob', 'bob', [{ ...policy, id: made.id }]]);
      assert.deepEqual(await accounts.call('listPolicies'), policies);
      assert.equal(await accounts.call('deletePolicy', made.id), true);
      assert.deepEqual((await accounts.lookup({})).policies, []);
    });

    it('a lookup shows the trusts of exactly its issuer', async () => {
      const issuer = 'https://issuer.example';
      for (const other of [issuer, `${issuer}/`, `${issuer}.evil`])
        await accounts.call('createTrust', trust(other, other));
      const trusts = await accounts.lookup({ issuer }).then((lookup) => lookup.trusts);
      assert.deepEqual(
        trusts.map(({ id, ...rest }) => [typeof id, rest]),
        [['string', trust(issuer, issuer)]],
      );
      assert.deepEqual((await accounts.lookup({ user: 'bob' })).trusts, []);
    });

    const first = [
      { what: 'a user', method: 'putUser', given: { name: 'bob' } },
      { what: 'a robot', method: 'createToken', given: token('ci') },
      { what: 'a trust', method: 'createTrust', given: trust('github', 'https://issuer.example') },
    ];
    for (const { what, method, given } of first) {
      it(`a lookup says that there are accounts once there is ${what}`, async () => {
        assert.equal((await accounts.lookup({})).hasAccounts, false);
        await accounts.call(method, given);
        assert.equal((await accounts.lookup({})).hasAccounts, true);
      });
    }

    for (const [search, index] of SEARCHES) {
      it(`a lookup reads by an index: ${search.slice(0, 40)}`, async () => {
        const values = search.replaceAll('?', "'1'");
        const plan = await accounts.rows(`EXPLAIN QUERY PLAN ${values}`);
        const steps = plan.map(({ detail }) => String(detail)).filter((step) => !step.includes('wanted'));
        assert.ok(
          steps.length === 1 && steps[0]?.includes(index) && !steps[0].startsWith('SCAN'),
          steps.join('; '),
        );
      });
    }
  });

  it('trusts are found by their name and by their id', async () => {
    const first = await accounts.call<Trust>('createTrust', trust('github', 'https://issuer.example'));
    const second = await accounts.call<Trust>('createTrust', trust(first.id, 'https://issuer.example'));
    assert.deepEqual(await accounts.call('listTrustsNamed', 'github'), [first]);
    assert.deepEqual(await accounts.call('listTrustsNamed', second.id), [second]);
    assert.deepEqual(await accounts.call('listTrustsNamed', first.id), [first, second]);
    assert.deepEqual(await accounts.call('listTrustsNamed', 'git'), []);
  });

  it('rules and trusts never get the id of one that is gone', async () => {
    const made = await accounts.call<Rule>('createRule', rule('user:bob'));
    assert.equal(await accounts.call('deleteRule', made.id), true);
    assert.equal(await accounts.call('deleteRule', made.id), false);
    const next = await accounts.call<Rule>('createRule', rule('user:eve'));
    assert.ok(Number(next.id) > Number(made.id));
    const page = await accounts.call<Listing<Rule>>('listRules', { count: 9, last: made.id });
    assert.deepEqual(page, { entries: [next], more: false });
    const first = await accounts.call<Trust>('createTrust', trust('github', 'https://issuer.example'));
    assert.equal(await accounts.call('createTrust', trust('github', 'https://other.example')), 'name taken');
    assert.deepEqual(await accounts.call('listTrusts'), [first]);
    assert.equal(await accounts.call('hasTrust', first.id), true);
    assert.equal(await accounts.call('deleteTrust', first.id), true);
    assert.equal(await accounts.call('hasTrust', first.id), false);
    const second = await accounts.call<Trust>('createTrust', trust('github', 'https://issuer.example'));
    assert.notEqual(second.id, first.id);
  });

  /** Bob with two groups and a token, Eve, a robot, and a rule for everybody. */
  async function people(): Promise<void> {
    await accounts.call('putUser', { name: 'bob', groups: ['dev', 'ops'] });
    await accounts.call('putUser', { name: 'eve' });
    await accounts.call('createToken', token('ci'));
    await accounts.call('createToken', token('bobs', { owner: 'bob' }));
    for (const subject of RULES) await accounts.call('createRule', rule(subject));
  }
});
