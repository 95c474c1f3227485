/**
 * How long what was given holds: tokens that expire, uploads that outlive them, rights that are revoked, credentials that an
 * isolate remembers, and that none of it costs a pull anything.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { type Answer, Visitor } from '../support/visitor.ts';
import { pushBlob } from './matrix/endpoints.ts';

const minute = 60_000;
const PASSWORD = 'the password of a user';
const PULL = 'repository:own/app:pull';
const PUSH = 'repository:own/app:pull,push';

eachHome((home) => {
  const api = new Api(home);
  const admin = new Visitor(home, ADMIN);
  let held = '';
  let numbered = 0;

  before(async () => {
    held = await pushBlob(admin, 'own/app');
  });

  /** Time only ever goes on: failures that lie ahead of it would be waited for. */
  let ahead = 0;
  const later = (ms: number) => {
    ahead += ms;
    return home.setClockAhead(ahead);
  };

  /** A new user, who may push to own/*. */
  async function newcomer(): Promise<{ visitor: Visitor; name: string; rule: string }> {
    const name = `user-${++numbered}`;
    await api.made('POST', '/users', { name, password: PASSWORD });
    const given = { subject: `user:${name}`, role: 'writer', repositories: 'own/*' };
    const { id } = await api.made('POST', '/rules', given);
    return { visitor: new Visitor(home, `${name}:${PASSWORD}`), name, rule: String(id) };
  }
  const authorized = (token: string) => ({ authorization: `Bearer ${token}` });
  const locationOf = ({ headers }: Answer) => headers.get('Location') ?? '';

  describe('an expired token', () => {
    it('an expired token is refused as invalid', async () => {
      const { visitor } = await newcomer();
      const sent = authorized(await visitor.token(PUSH));
      await visitor.must(200, 'GET', `/v2/own/app/blobs/${held}`, sent);
      await later(5 * minute + 1000);
      for (const [method, path] of [
        ['GET', `/v2/own/app/blobs/${held}`],
        ['GET', '/v2/'],
        ['POST', '/v2/own/app/blobs/uploads/'],
        ['DELETE', `/v2/own/app/blobs/${held}`],
      ] as const) {
        const { challenge } = await visitor.must(401, method, path, sent);
        assert.equal(challenge.error, 'invalid_token', `${method} ${path}`);
      }
    });

    for (const chunked of [true, false])
      it(`an expired token finishes the upload that it began${chunked ? ', in chunks' : ''}`, async () => {
        const { visitor } = await newcomer();
        const sent = authorized(await visitor.token(PUSH));
        const bytes = blob();
        let location = locationOf(await visitor.must(202, 'POST', '/v2/own/app/blobs/uploads/', sent));
        await later(60 * minute);
        if (chunked)
          location = locationOf(await visitor.must(202, 'PATCH', location, { ...sent, body: bytes }));
        await visitor.must(204, 'GET', location, sent);
        const last = chunked ? sent : { ...sent, body: bytes };
        await visitor.must(201, 'PUT', `${location}&digest=${digest(bytes)}`, last);
        await admin.must(200, 'GET', `/v2/own/app/blobs/${digest(bytes)}`);
      });

    it('an expired token does not go on with an upload that another user began later', async () => {
      const { visitor } = await newcomer();
      const sent = authorized(await visitor.token(PUSH));
      await later(6 * minute);
      const location = locationOf(await admin.must(202, 'POST', '/v2/own/app/blobs/uploads/'));
      const evil = blob();
      for (const [method, path] of [
        ['PATCH', location],
        ['PUT', `${location}&digest=${digest(evil)}`],
        ['GET', location],
        ['DELETE', location],
      ] as const) {
        const body = method === 'PATCH' || method === 'PUT' ? { body: evil } : {};
        const { challenge } = await visitor.must(401, method, path, { ...sent, ...body });
        assert.equal(challenge.error, 'invalid_token', method);
      }
      await admin.must(404, 'HEAD', `/v2/own/app/blobs/${digest(evil)}`);
      const own = blob();
      await admin.must(201, 'PUT', `${location}&digest=${digest(own)}`, { body: own });
    });

    it('an expired token of a day ago finishes nothing', async () => {
      const { visitor } = await newcomer();
      const sent = authorized(await visitor.token(PUSH));
      const location = locationOf(await visitor.must(202, 'POST', '/v2/own/app/blobs/uploads/', sent));
      await later(25 * 60 * minute);
      const { status } = await visitor.send('PATCH', location, { ...sent, body: blob() });
      assert.ok(status === 401 || status === 404, String(status));
    });
  });

  describe('what is revoked gives no new tokens at once', () => {
    type Newcomer = Awaited<ReturnType<typeof newcomer>>;
    const rows: { name: string; revoke: (who: Newcomer) => Promise<unknown>; known: boolean }[] = [
      {
        name: 'a password that is changed',
        revoke: ({ name }) => api.made('PATCH', `/users/${name}`, { password: 'quite another password' }),
        known: false,
      },
      {
        name: 'a password that is taken away',
        revoke: ({ name }) => api.made('PATCH', `/users/${name}`, { password: null }),
        known: false,
      },
      {
        name: 'a user who is disabled',
        revoke: ({ name }) => api.made('PATCH', `/users/${name}`, { disabled: true }),
        known: false,
      },
      {
        name: 'a user who is removed',
        revoke: ({ name }) => api.made('DELETE', `/users/${name}`),
        known: false,
      },
      {
        name: 'a rule that is removed',
        revoke: ({ rule }) => api.made('DELETE', `/rules/${rule}`),
        known: true,
      },
    ];
    for (const { name, revoke, known } of rows)
      it(`what is revoked gives no new tokens at once: ${name}`, async () => {
        const who = await newcomer();
        await ends(who.visitor, () => revoke(who), known);
      });

    it('a token that is removed gives no new tokens at once', async () => {
      const { name } = await newcomer();
      const made = await api.made('POST', '/tokens', { name: `of-${name}`, owner: name });
      await ends(
        new Visitor(home, `any:${made.token}`),
        () => api.made('DELETE', `/tokens/${made.id}`),
        false,
      );
    });

    it('the tokens of a user who is removed give no new tokens at once', async () => {
      const { name } = await newcomer();
      const made = await api.made('POST', '/tokens', { name: `of-${name}`, owner: name });
      await ends(new Visitor(home, `any:${made.token}`), () => api.made('DELETE', `/users/${name}`), false);
    });

    /** `known`: the credentials still say who it is. */
    async function ends(visitor: Visitor, revoke: () => Promise<unknown>, known: boolean): Promise<void> {
      const sent = authorized(await visitor.token(PULL));
      const path = `/v2/own/app/blobs/${held}`;
      await visitor.must(200, 'GET', path, sent);
      await visitor.must(200, 'GET', path);
      await revoke();
      const { text } = await visitor.must(known ? 200 : 401, 'GET', `/token?scope=${PULL}`);
      if (known) {
        const { challenge } = await visitor.must(401, 'GET', path, authorized(JSON.parse(text).token));
        assert.equal(challenge.error, 'insufficient_scope');
      }
      await later(5 * minute + 1000);
      await visitor.must(401, 'GET', path, sent);
      await visitor.must(401, 'GET', path);
    }
  });

  describe('costs', () => {
    const callsOf = async (requests: () => Promise<unknown>) => {
      await home.reset();
      await requests();
      // What is written after the answer does not delay it.
      return (await home.counts()).calls.filter(
        (call) => !/^(?:AUDIT|CATALOG\.announce|BLOB_SHARD\.release)/.test(call),
      );
    };

    it('Basic credentials are looked up once, and then not again', async () => {
      const { visitor } = await newcomer();
      const path = `/v2/own/app/blobs/${held}`;
      await admin.must(200, 'HEAD', path);
      const first = await callsOf(() => visitor.must(200, 'HEAD', path));
      assert.equal(first.filter((call) => call === 'ACCOUNTS.lookup').length, 1, String(first));
      assert.deepEqual(await callsOf(() => visitor.must(200, 'HEAD', path)), []);
    });

    it('a token is verified without asking anybody', async () => {
      const { visitor } = await newcomer();
      const path = `/v2/own/app/blobs/${held}`;
      await admin.must(200, 'HEAD', path);
      const sent = authorized(await visitor.token(PULL));
      assert.deepEqual(await callsOf(() => visitor.must(200, 'HEAD', path, sent)), []);
      const unknown = await callsOf(() =>
        visitor.must(404, 'HEAD', `/v2/own/app/blobs/${digest(blob())}`, sent),
      );
      assert.deepEqual(unknown.length, 1, String(unknown));
    });

    it('a token is issued for one call', async () => {
      const { visitor } = await newcomer();
      await visitor.token(PULL);
      const calls = await callsOf(() => visitor.token(PUSH));
      assert.deepEqual(calls.length, 1, String(calls));
    });

    it('a push with access control costs what it costs without', async () => {
      const { visitor } = await newcomer();
      // Not own/app, where the registry looks after an upload that an earlier test did not finish.
      const sent = authorized(await visitor.token('repository:own/cost:pull,push'));
      const bytes = blob();
      const calls = await callsOf(async () => {
        const location = locationOf(await visitor.must(202, 'POST', '/v2/own/cost/blobs/uploads/', sent));
        await visitor.must(201, 'PUT', `${location}&digest=${digest(bytes)}`, { ...sent, body: bytes });
      });
      const objects = calls.filter((call) => /^[A-Z_]+\./.test(call) && !call.startsWith('BLOBS.'));
      assert.deepEqual(
        objects.filter((call) => call.startsWith('ACCOUNTS')),
        [],
      );
      assert.equal((await home.counts()).classA <= 1, true);
      assert.equal(
        objects.filter((call) => /^(?:REPOSITORY|BLOB_SHARD|UPLOAD_SESSION)/.test(call)).length,
        home.name === 'disk' ? 1 : 2, // On disk, a small blob is beside its link.
        String(calls),
      );
    });
  });
}, GUARDED);
