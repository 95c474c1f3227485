/** Lifecycle policies: what the API takes, how the repositories learn of them, and what they refuse. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Registry } from '../budgets/client.ts';
import { AHEAD } from '../durable-objects/calls.ts';
import { blob, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import { eachHome, type Home } from '../support/homes.ts';
import { basic } from '../support/visitor.ts';
import { ADMIN, Api, GUARDED, type Json } from './api.ts';

const RETENTION = { kind: 'retention', repositories: 'team/**', keep: [{ lastPushed: 10 }], after: 'P30D' };

const ADMIN_LOGIN = basic(ADMIN);

eachHome((home) => {
  const api = new Api(home);
  // The platform rings no alarm between the steps of a test.
  before(() => home.stopClock(AHEAD));

  describe('a lifecycle policy', () => {
    it('is added with its defaults, listed, shown, replaced and deleted', async () => {
      const made = await api.made('POST', '/lifecycle', { ...RETENTION, repositories: 'nothing/here' });
      const { id } = made.policy as { id: string };
      const policy = {
        id,
        kind: 'retention',
        repositories: 'nothing/here',
        tags: null,
        keep: [{ lastPushed: 10 }],
        after: 30,
        untaggedAfter: null,
        deletesImmutable: false,
      };
      assert.deepEqual(made, { policy, repositories: 0, following: 0 });
      assert.deepEqual(await api.made('GET', '/lifecycle'), { policies: [policy] });
      assert.deepEqual(await api.made('GET', `/lifecycle/${id}`), made);
      const tags = { kind: 'tags', repositories: 'nothing/*', semver: true };
      const replaced = await api.made('PUT', `/lifecycle/${id}`, tags);
      assert.deepEqual(replaced.policy, { id, immutable: [], protected: [], except: [], ...tags });
      assert.deepEqual(await api.made('DELETE', `/lifecycle/${id}`), replaced);
      assert.deepEqual(await api.made('GET', '/lifecycle'), { policies: [] });
      const another = await api.made('POST', '/lifecycle', tags);
      assert.notEqual((another.policy as { id: string }).id, id, 'an id is never used again');
      await api.made('DELETE', `/lifecycle/${(another.policy as { id: string }).id}`);
    });

    const add = (fields: Json, omit: string[] = []): [string, string, Json] => [
      'POST',
      '/lifecycle',
      Object.fromEntries(
        Object.entries({ ...RETENTION, ...fields }).filter(([name]) => !omit.includes(name)),
      ),
    ];
    api.table([
      { name: 'of another kind', request: add({ kind: 'other' }), want: 400, says: /kind/ },
      { name: 'without `after`', request: add({}, ['after']), want: 400, says: /after/ },
      { name: 'with a time of another unit', request: add({ after: 'P1M' }), want: 400, says: /P30D/ },
      { name: 'with a negative time', request: add({ after: -1 }), want: 400, says: /after/ },
      { name: 'that keeps none', request: add({ keep: [{ lastPushed: 0 }] }), want: 400, says: /keep/ },
      {
        name: 'with two conditions in one rule',
        request: add({ keep: [{ lastPushed: 1, running: true }] }),
        want: 400,
        says: /keep/,
      },
      { name: 'with an unknown rule', request: add({ keep: [{ oldest: 1 }] }), want: 400, says: /keep/ },
      { name: 'with a wrong pattern', request: add({ tags: '***' }), want: 400, says: /tags/ },
      {
        name: 'with more rules than 20',
        request: add({ keep: Array(21).fill({ signed: true }) }),
        want: 400,
        says: /keep/,
      },
      {
        name: 'that is not there',
        request: ['GET', '/lifecycle/999'],
        want: 404,
        says: /no lifecycle policy/,
      },
      { name: 'that is not there', request: ['PUT', '/lifecycle/999', RETENTION], want: 404 },
      { name: 'that is not there', request: ['DELETE', '/lifecycle/999'], want: 404 },
    ]);
  });

  describe('a change of the lifecycle policies', () => {
    let many: string[] = [];
    before(async () => {
      many = Array.from({ length: 45 }, (_, at) => `many/${String(at).padStart(2, '0')}`);
      for (const name of many) await new Registry(home, ADMIN_LOGIN, name).pushAtOnce(blob());
      await home.settled();
    });

    it('reaches the repositories that it is about, in steps of 40', async () => {
      await home.reset();
      const made = await api.made('POST', '/lifecycle', { ...RETENTION, repositories: 'many/*' });
      assert.equal(made.repositories, 45);
      await spread(home);
      const { calls } = await home.counts();
      assert.deepEqual(told(calls), 45);
      const { id } = made.policy as { id: string };
      for (const name of many) assert.deepEqual(await idsIn(home, name), [id]);
      assert.equal((await api.made('GET', `/lifecycle/${id}`)).following, 0);

      await home.reset();
      const other = await api.made('POST', '/lifecycle', { ...RETENTION, repositories: 'many/07' });
      await spread(home);
      assert.equal(told((await home.counts()).calls), 1, 'no other repository is told');
      assert.deepEqual(await idsIn(home, 'many/07'), [id, (other.policy as { id: string }).id]);

      await home.reset();
      await api.made('DELETE', `/lifecycle/${id}`);
      await api.made('DELETE', `/lifecycle/${(other.policy as { id: string }).id}`);
      await spread(home);
      for (const name of many) assert.deepEqual(await idsIn(home, name), []);
    });

    it('reaches repositories although one of them did not answer', async () => {
      await home.rows('REPOSITORY', 'many/03', 'ALTER TABLE repository RENAME TO hidden');
      await home.evict('REPOSITORY', 'many/03');
      const made = await api.made('POST', '/lifecycle', { ...RETENTION, repositories: 'many/*' });
      const { id } = made.policy as { id: string };
      await home.ringDue('CATALOG', 'catalog');
      assert.equal((await api.made('GET', `/lifecycle/${id}`)).following, 45);
      await home.rows('REPOSITORY', 'many/03', 'ALTER TABLE hidden RENAME TO repository');
      await home.evict('REPOSITORY', 'many/03');
      await home.stopClock(AHEAD + 60_000);
      await spread(home);
      for (const name of many) assert.deepEqual(await idsIn(home, name), [id]);
      await api.made('DELETE', `/lifecycle/${id}`);
      await spread(home);
    });

    it('reaches a new repository with the answer to its first message', async () => {
      const made = await api.made('POST', '/lifecycle', { ...RETENTION, repositories: 'fresh/**' });
      await spread(home);
      const registry = new Registry(home, ADMIN_LOGIN, repositoryName('fresh'));
      await home.reset();
      await registry.pushAtOnce(blob());
      await home.settled();
      assert.deepEqual(await idsIn(home, registry.name), [(made.policy as { id: string }).id]);
      const { calls } = await home.counts();
      assert.deepEqual(
        calls.filter((call) => call.startsWith('CATALOG')),
        ['CATALOG.announce'],
      );
      await home.evict('REPOSITORY', registry.name);
      assert.deepEqual(await idsIn(home, registry.name), [(made.policy as { id: string }).id]);
      await api.made('DELETE', `/lifecycle/${(made.policy as { id: string }).id}`);
      await spread(home);
    });
  });

  describe('a tag', () => {
    const repository = `frozen/${repositoryName('x').slice(2)}`;
    const registry = new Registry(home, ADMIN_LOGIN, repository);
    let first: Manifest;
    let second: Manifest;
    let writer = '';
    let ids: string[] = [];

    before(async () => {
      for (const [name, role] of [
        ['wendy', 'writer'],
        ['mary', 'maintainer'],
      ]) {
        await api.made('POST', '/users', { name, password: `the password of ${name}` });
        await api.made('POST', '/rules', { subject: `user:${name}`, role, repositories: '**' });
      }
      writer = await registry.token('wendy:the password of wendy', 'pull,push');
      first = await pushed(registry, '1.4.2', '1.4', 'prod');
      second = await pushed(registry, 'other');
      for (const policy of [
        { kind: 'tags', repositories: 'frozen/**', semver: true, except: ['0.*'] },
        { kind: 'tags', repositories: repository, protected: ['prod'] },
      ])
        ids.push(String(((await api.made('POST', '/lifecycle', policy)).policy as Json).id));
      await spread(home);
    });

    const send = async (method: string, reference: string, as: string, body?: Manifest) =>
      refusalIn(
        await fetch(`${home.url}/v2/${repository}/manifests/${reference}`, {
          method,
          headers: { Authorization: as, ...(body && { 'Content-Type': body.mediaType }) },
          ...(body && { body: body.bytes as BodyInit }),
        }),
      );
    const put = (as: string, tag: string, manifest: Manifest) => send('PUT', tag, as, manifest);
    const remove = (as: string, reference: string) => send('DELETE', reference, as);
    const has = async (tag: string) => (await send('HEAD', tag, writer)).status === 200;

    it('that is immutable takes the same digest again, and no other', async () => {
      assert.deepEqual(await put(writer, '1.4.2', first), { status: 201 });
      assert.deepEqual(await put(ADMIN_LOGIN, '1.4.2', second), {
        status: 403,
        code: 'DENIED',
        message: `the tag 1.4.2 was not moved: it is immutable (semver, lifecycle policy ${ids[0]}) and has another digest. Push another tag, or ask an admin to change the policy`,
      });
      assert.deepEqual(await put(writer, '1.4', second), { status: 201 });
      assert.deepEqual(await put(writer, '1.4.3', second), { status: 201 }, 'a new tag is set');
    });

    it('that is immutable stops a push of several tags, and nothing is written', async () => {
      const image = await pushed(registry, 'another');
      const both = `${image.digest}?tag=fresh&tag=1.4.2`;
      assert.equal((await put(writer, both, image)).status, 403);
      assert.equal(await has('fresh'), false);
    });

    it('that is immutable is not deleted, and its manifest is not', async () => {
      assert.match(
        (await remove(ADMIN_LOGIN, '1.4.2')).message ?? '',
        /1\.4\.2 was not deleted: it is immutable/,
      );
      assert.match((await remove(ADMIN_LOGIN, first.digest)).message ?? '', /1\.4\.2 was not deleted/);
      assert.equal(await has('1.4.2'), true);
    });

    it('has policies that those may see who may pull it', async () => {
      const path = `/repositories/${encodeURIComponent(repository)}/lifecycle`;
      const { policies } = await api.made('GET', path, undefined, 'wendy:the password of wendy');
      assert.deepEqual(
        (policies as { id: string }[]).map(({ id }) => id),
        ids,
      );
      await api.made('POST', '/users', { name: 'carol', password: 'the password of carol' });
      const hidden = await api.call('GET', path, undefined, 'carol:the password of carol');
      assert.equal(hidden.status, 404);
      assert.match(hidden.text, /there is no repository frozen/);
      const wrong = await api.call('GET', '/repositories/..%2Fx/lifecycle');
      assert.equal(wrong.status, 400);
      assert.match(wrong.text, /NAME_INVALID/);
    });

    it('that is protected is moved and deleted by maintainers only', async () => {
      const mary = await registry.token('mary:the password of mary', 'pull,push');
      const refused = await put(writer, 'prod', second);
      assert.equal(refused.status, 403);
      assert.match(
        refused.message ?? '',
        /^the tag prod was not moved: it is protected .* Only a maintainer/,
      );
      assert.deepEqual(await put(writer, 'prod', first), { status: 201 }, 'the same digest');
      assert.deepEqual(await put(mary, 'prod', second), { status: 201 });
      const deleting = await registry.token('mary:the password of mary', 'pull,delete');
      assert.deepEqual(await remove(deleting, 'prod'), { status: 202 });
      assert.deepEqual(await put(writer, 'prod', first), { status: 201 }, 'a new tag is set');
    });

    it('that a policy refused to move is in the audit log', async () => {
      await put(writer, 'prod', second);
      await home.settled();
      const { events } = await api.made('GET', `/audit?repository=${encodeURIComponent(repository)}`);
      const refusals = (events as Json[]).filter(({ decision }) => decision === 'denied');
      // Refusals of one caller may be counted together.
      assert.match(JSON.stringify(refusals), /"actor":"user:wendy".*the tag prod was not moved/);
    });

    it('of a repository that was never told asks once', async () => {
      await home.rows('REPOSITORY', repository, 'UPDATE repository SET policies = NULL');
      await home.evict('REPOSITORY', repository);
      await home.reset();
      assert.equal((await put(writer, '1.4.2', second)).status, 403);
      assert.equal((await put(writer, '1.4.2', second)).status, 403);
      const { calls } = await home.counts();
      assert.equal(calls.filter((call) => call === 'CATALOG.policiesOf').length, 1);
      await home.evict('REPOSITORY', repository);
      await home.reset();
      assert.equal((await put(writer, '1.4.2', second)).status, 403);
      assert.equal((await home.counts()).calls.includes('CATALOG.policiesOf'), false);
    });

    it('moves again when the policy is gone', async () => {
      for (const id of ids) await api.made('DELETE', `/lifecycle/${id}`);
      ids = [];
      await spread(home);
      assert.deepEqual(await put(writer, '1.4.2', second), { status: 201 });
      assert.deepEqual(await remove(ADMIN_LOGIN, '1.4.2'), { status: 202 });
    });
  });
}, GUARDED);

/** Rings the alarm of the catalog until all repositories have been told. */
async function spread(home: Home): Promise<void> {
  await home.settled();
  while (await home.ringDue('CATALOG', 'catalog'));
}

function told(calls: string[]): number {
  return calls.filter((call) => call === 'REPOSITORY.setPolicies').length;
}

async function idsIn(home: Home, name: string): Promise<string[]> {
  const known = await home.call<{ policies: { id: string }[] } | null>('REPOSITORY', name, 'policies');
  return known?.policies.map(({ id }) => id) ?? [];
}

async function pushed(registry: Registry, ...tags: string[]): Promise<Manifest> {
  const image = imageManifest();
  for (const bytes of image.blobs) await registry.pushAtOnce(bytes);
  for (const tag of tags)
    await registry.send('PUT', `manifests/${tag}`, 201, image.bytes, { 'Content-Type': image.mediaType });
  return image;
}

async function refusalIn(response: Response): Promise<{ status: number; code?: string; message?: string }> {
  const text = await response.text();
  if (response.status < 400 || text === '') return { status: response.status };
  const { errors } = JSON.parse(text) as { errors: [{ code: string; message: string }] };
  const [{ code, message }] = errors;
  return { status: response.status, code, message };
}
