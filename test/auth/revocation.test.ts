/** When a credential that was revoked stops working: at once on one machine, and everywhere within 30 seconds. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { blob } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { pushBlob } from './matrix/endpoints.ts';

const PASSWORD = 'the password of a user';
const SCOPE = 'repository:own/app:pull,push';
const EVERYWHERE_MS = 31_000;

interface Newcomer {
  name: string;
  visitor: Visitor;
}

eachHome((home) => {
  const api = new Api(home);
  let held = '';
  let ahead = 0;
  let numbered = 0;

  before(async () => {
    held = `/v2/own/app/blobs/${await pushBlob(new Visitor(home, ADMIN), 'own/app')}`;
  });

  async function newcomer(): Promise<Newcomer> {
    const name = `user-${++numbered}`;
    await api.made('POST', '/users', { name, password: PASSWORD });
    await api.made('POST', '/rules', { subject: `user:${name}`, role: 'writer', repositories: 'own/*' });
    return { name, visitor: new Visitor(home, `${name}:${PASSWORD}`) };
  }

  /** On one machine nothing has to pass; elsewhere 30 seconds do. */
  const everywhere = async () => {
    if (home.name === 'disk') return;
    ahead += EVERYWHERE_MS;
    await home.setClockAhead(ahead);
  };
  const bearer = async (visitor: Visitor) => ({ authorization: `Bearer ${await visitor.token(SCOPE)}` });

  const WAYS: { name: string; revoke: (of: Newcomer) => Promise<unknown> }[] = [
    {
      name: 'another password',
      revoke: ({ name }) => api.made('PATCH', `/users/${name}`, { password: 'quite another password' }),
    },
    {
      name: 'a password that the user changes',
      revoke: ({ visitor }) =>
        visitor.must(204, 'PUT', '/api/v1/me/password', {
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ current: PASSWORD, new: 'quite another password' }),
        }),
    },
    { name: 'disabling', revoke: ({ name }) => api.made('PATCH', `/users/${name}`, { disabled: true }) },
    { name: 'removal', revoke: ({ name }) => api.made('DELETE', `/users/${name}`) },
  ];

  describe('a user loses access by', () => {
    for (const { name, revoke } of WAYS)
      it(`a user loses the password, access tokens and uploads that have begun by ${name}`, async () => {
        const who = await newcomer();
        const sent = await bearer(who.visitor);
        await who.visitor.must(200, 'GET', held, sent);
        await who.visitor.must(200, 'GET', held);
        const begun = await who.visitor.must(202, 'POST', '/v2/own/app/blobs/uploads/', sent);
        await revoke(who);
        await everywhere();
        const { challenge } = await who.visitor.must(401, 'GET', held, sent);
        assert.equal(challenge.error, 'invalid_token');
        await who.visitor.must(401, 'GET', held);
        const location = begun.headers.get('Location') ?? '';
        await who.visitor.must(401, 'PATCH', location, { ...sent, body: blob() });
      });
  });

  it('a named token that is removed ends what was issued for it', async () => {
    const { name } = await newcomer();
    for (const body of [
      { name: `of-${name}`, owner: name },
      { name: `robot-${name}`, grants: [{ role: 'writer', repositories: 'own/*' }] },
    ]) {
      const { id, token } = await api.made('POST', '/tokens', body);
      const visitor = new Visitor(home, `any:${token}`);
      const sent = await bearer(visitor);
      await visitor.must(200, 'GET', held, sent);
      await visitor.must(200, 'GET', held);
      await api.made('DELETE', `/tokens/${id}`);
      await everywhere();
      await visitor.must(401, 'GET', held, sent);
      await visitor.must(401, 'GET', held);
    }
  });

  it('a new password works in the same second, and its tokens with it', async () => {
    const { name } = await newcomer();
    await api.made('PATCH', `/users/${name}`, { password: 'quite another password' });
    const visitor = new Visitor(home, `${name}:quite another password`);
    await visitor.must(200, 'GET', held, await bearer(visitor));
  });

  it('other users keep their tokens after a revocation', async () => {
    const [one, other] = [await newcomer(), await newcomer()];
    const sent = await bearer(other.visitor);
    await api.made('PATCH', `/users/${one.name}`, { disabled: true });
    await everywhere();
    await other.visitor.must(200, 'GET', held, sent);
  });

  it('all tokens of oneself are revoked by one request', async () => {
    const { name, visitor } = await newcomer();
    const made = await api.made('POST', '/tokens', { name: `of-${name}`, owner: name });
    const sent = await bearer(visitor);
    const named = new Visitor(home, `any:${made.token}`);
    await named.must(200, 'GET', held);
    await visitor.must(204, 'DELETE', '/api/v1/me/tokens');
    await everywhere();
    await named.must(401, 'GET', held);
    await visitor.must(401, 'GET', held, sent);
    await visitor.must(200, 'GET', held);
  });

  it('an admin revokes all tokens of a user', async () => {
    const { name, visitor } = await newcomer();
    const sent = await bearer(visitor);
    await api.made('DELETE', `/users/${name}/tokens`);
    await everywhere();
    await visitor.must(401, 'GET', held, sent);
    await visitor.must(200, 'GET', held, await bearer(visitor));
  });

  describe('the signing keys', () => {
    it('the signing keys are rotated on demand, and earlier tokens stay valid until they expire', async () => {
      const { visitor } = await newcomer();
      const sent = await bearer(visitor);
      const [before] = await kids();
      await api.made('POST', '/keys/rotate', {});
      await everywhere();
      await visitor.must(200, 'GET', held, sent);
      assert.notEqual(kidOf(await visitor.token(SCOPE)), before);
      assert.ok((await kids()).includes(before ?? ''));
    });

    it('the signing keys are dropped on demand, which ends all earlier tokens', async () => {
      const { visitor } = await newcomer();
      const sent = await bearer(visitor);
      await api.made('POST', '/keys/rotate', { dropOld: true });
      await everywhere();
      await visitor.must(401, 'GET', held, sent);
      await visitor.must(200, 'GET', held, await bearer(visitor));
      assert.equal((await kids()).length, 1);
    });
  });

  async function kids(): Promise<string[]> {
    const { text } = await new Visitor(home, null).must(200, 'GET', '/.well-known/jwks.json');
    return (JSON.parse(text) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
  }

  function kidOf(token: string): string {
    return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid;
  }
}, GUARDED);
