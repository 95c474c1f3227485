/** Quotas: what a repository may hold, held exactly at the PUT of a manifest, and before the bytes of a blob where its size is known. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Registry } from '../budgets/client.ts';
import { AHEAD } from '../durable-objects/calls.ts';
import { ADMIN, Api, GUARDED, type Json } from '../management/api.ts';
import { artifact, blob, digest, imageManifest, type Manifest, repositoryName } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { basic } from '../support/visitor.ts';
import { countersOf } from './counters.ts';

const LOGIN = basic(ADMIN);
const KB = 1000;
const QUOTA_KB = 100;

/** An image of exactly this many bytes. */
const image = (size: number, ...layers: Buffer[]) =>
  imageManifest({ config: blob(100), layers: [...layers, blob(size - 100 - sizeOf(layers))] });
const sizeOf = (blobs: Buffer[]) => blobs.reduce((sum, { length }) => sum + length, 0);

eachHome((home) => {
  const api = new Api(home);
  let id = '';
  const spread = async () => {
    while (await home.ringDue('CATALOG', 'catalog'));
  };
  const add = async (policy: Json) => {
    const made = await api.made('POST', '/lifecycle', {
      kind: 'quota',
      repositories: 'limited/**',
      ...policy,
    });
    await spread();
    return (made.policy as { id: string }).id;
  };
  const remove = async (policy: string) => {
    await api.made('DELETE', `/lifecycle/${policy}`);
    await spread();
  };
  const repository = (prefix = 'limited') =>
    new Registry(home, LOGIN, `${prefix}/${repositoryName('x').slice(2)}`);
  const put = async (registry: Registry, tag: string, { bytes, mediaType }: Manifest) => {
    const response = await fetch(`${home.url}/v2/${registry.name}/manifests/${tag}`, {
      method: 'PUT',
      headers: { Authorization: LOGIN, 'Content-Type': mediaType },
      body: bytes as BodyInit,
    });
    const text = await response.text();
    const [error] = text === '' ? [] : (JSON.parse(text) as { errors: Json[] }).errors;
    return { status: response.status, ...(error && { code: error.code, message: error.message }) };
  };
  const push = async (registry: Registry, tag: string, manifest: Manifest) => {
    for (const bytes of manifest.blobs) await registry.pushAtOnce(bytes);
    return put(registry, tag, manifest);
  };
  const usageOf = (registry: Registry) =>
    api.made('GET', `/repositories/${encodeURIComponent(registry.name)}/usage`);
  const expectCounted = async (registry: Registry) => {
    const counters = await countersOf(home, registry.name);
    assert.deepEqual(counters?.found, counters?.wanted);
  };

  // The platform rings no alarm between the steps of a test.
  before(() => home.stopClock(AHEAD));

  describe('a quota of bytes', () => {
    before(async () => {
      id = await add({ bytes: QUOTA_KB * KB });
    });
    after(() => remove(id));

    it('takes a manifest that fills it to the last byte, and refuses one byte more', async () => {
      const registry = repository();
      assert.deepEqual(await push(registry, 'v1', image(60 * KB)), { status: 201 });
      const over = image(40 * KB + 1);
      assert.deepEqual(await push(registry, 'v2', over), {
        status: 403,
        code: 'DENIED',
        message: `the manifest was not stored: with it, the repository ${registry.name} would hold 100 kB, 1 byte more than its quota of 100 kB (lifecycle policy ${id}). Delete tags that are not needed (longshore rm ${registry.name}:TAG), or ask an admin for a larger quota`,
      });
      await registry.send('HEAD', 'manifests/v2', 404);
      await registry.send('HEAD', `manifests/${over.digest}`, 404);
      await expectCounted(registry);
      assert.deepEqual(await push(registry, 'v2', image(40 * KB)), { status: 201 });
      const { bytes, tags, quotas } = await usageOf(registry);
      assert.deepEqual([bytes, tags], [QUOTA_KB * KB, 2]);
      const full = {
        policy: id,
        what: 'bytes',
        limit: QUOTA_KB * KB,
        used: QUOTA_KB * KB,
        left: 0,
        hard: true,
      };
      assert.deepEqual(quotas, [full]);
    });

    it('counts a blob once, and takes what adds nothing when it is full', async () => {
      const registry = repository();
      const base = blob(80 * KB);
      const first = image(100 * KB, base);
      assert.equal((await push(registry, 'v1', first)).status, 201);
      assert.equal((await put(registry, 'again', first)).status, 201);
      const config = first.blobs[0] as Buffer;
      assert.equal((await push(registry, 'v2', imageManifest({ config, layers: [base] }))).status, 201);
      assert.equal((await push(registry, 'v3', image(80 * KB + 200, base))).status, 403);
      await expectCounted(registry);
    });

    it('has room again at once when a tag is deleted, although it can be restored', async () => {
      const registry = repository();
      await push(registry, 'v1', image(90 * KB));
      const next = image(90 * KB);
      assert.equal((await push(registry, 'v2', next)).status, 403);
      const path = `/repositories/${encodeURIComponent(registry.name)}/deletions`;
      await api.made('POST', path, { tags: ['v1'] });
      assert.equal((await put(registry, 'v2', next)).status, 201);
      const { bytes, trashedBytes } = await usageOf(registry);
      assert.deepEqual([bytes, trashedBytes], [90 * KB, 90 * KB]);
    });

    it('is held by pushes at the same time: one of two that exceed it together is refused', async () => {
      for (let round = 0; round < 5; round++) {
        const registry = repository();
        const images = [image(60 * KB), image(60 * KB)] as const;
        for (const { blobs } of images) for (const bytes of blobs) await registry.pushAtOnce(bytes);
        const answers = await Promise.all(images.map((manifest, at) => put(registry, `v${at}`, manifest)));
        assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 403]);
        await expectCounted(registry);
      }
    });

    it('refuses a blob that does not fit alone before its bytes, once a client has asked for it', async () => {
      const registry = repository();
      await push(registry, 'v1', image(60 * KB));
      const large = blob(41 * KB);
      await registry.send('HEAD', `blobs/${digest(large)}`, 404);
      const response = await fetch(`${home.url}/v2/${registry.name}/blobs/uploads/?digest=${digest(large)}`, {
        method: 'POST',
        headers: { Authorization: LOGIN },
        body: large as BodyInit,
      });
      assert.equal(response.status, 403);
      const { errors } = (await response.json()) as { errors: Json[] };
      assert.equal(
        errors[0]?.message,
        `the blob was not stored: it has 41 kB, and the repository ${registry.name} has 40 kB left of its quota of 100 kB (lifecycle policy ${id}). Delete tags that are not needed (longshore rm ${registry.name}:TAG), or ask an admin for a larger quota`,
      );
      await registry.pushAtOnce(blob(40 * KB));
    });

    it('is no matter of other repositories', async () => {
      const registry = repository('free');
      assert.equal((await push(registry, 'v1', image(200 * KB))).status, 201);
    });
  });

  it('a quota of tags counts new tags, not pushes', async () => {
    const policy = await add({ tags: 2 });
    const registry = repository();
    const [first, second] = [image(KB), image(KB)];
    for (const tag of ['v1', 'v2']) assert.equal((await push(registry, tag, first)).status, 201);
    assert.equal((await push(registry, 'v2', second)).status, 201, 'a tag moves');
    assert.match(
      String((await put(registry, 'v3', second)).message),
      /would hold 3 tags, 1 tag more than its quota of 2 tags/,
    );
    assert.equal((await put(registry, second.digest, second)).status, 201);
    const refers = artifact({ subject: second.descriptor });
    assert.equal((await push(registry, refers.digest, refers)).status, 201);
    await registry.send('DELETE', 'manifests/v1', 202);
    assert.equal((await put(registry, 'v3', second)).status, 201);
    await remove(policy);
  });

  it('a repository that already holds more than a new quota takes no more, and gives room', async () => {
    const registry = repository();
    await push(registry, 'v1', image(150 * KB));
    const policy = await add({ bytes: QUOTA_KB * KB });
    assert.equal((await push(registry, 'v2', image(KB))).status, 403);
    await registry.send('DELETE', 'manifests/v1', 202);
    await remove(policy);
  });

  it('a soft quota refuses nothing, and quotas are events at 85 % and when they are exceeded', async () => {
    const policy = await add({ bytes: QUOTA_KB * KB, hard: false });
    const registry = repository();
    for (const [tag, size] of [
      ['v1', 85],
      ['v2', 5],
      ['v3', 5],
      ['v4', 10],
      ['v5', 10],
    ] as const)
      assert.equal((await push(registry, tag, image(size * KB))).status, 201);
    await home.settled();
    const { events } = (await api.made('GET', `/audit?repository=${registry.name}&action=quota.warning`)) as {
      events: { rule: string; actor: string; action: string }[];
    };
    const warnings = events.filter(({ action }) => action === 'quota.warning');
    assert.deepEqual(
      warnings.map(({ rule, actor }) => `${actor}: ${rule}`),
      [
        `user:admin: 105 % of its bytes are used: 105 kB of 100 kB (lifecycle policy ${policy})`,
        `user:admin: 90 % of its bytes are used: 90 kB of 100 kB (lifecycle policy ${policy})`,
      ],
    );
    await remove(policy);
  });

  it('a repository that has not heard of its quotas asks for them before its next manifest', async () => {
    const policy = await add({ bytes: QUOTA_KB * KB });
    const registry = repository();
    const large = image(150 * KB);
    const statuses = await Promise.all(large.blobs.map((bytes) => registry.pushAtOnce(bytes)));
    assert.equal(statuses.length, 2);
    await home.settled();
    // As in a repository of an earlier release.
    await home.rows('REPOSITORY', registry.name, 'UPDATE repository SET policies = NULL');
    await home.evict('REPOSITORY', registry.name);
    assert.equal((await put(registry, 'v1', large)).status, 403);
    await remove(policy);
  });

  it('repositories are listed with what they hold, page by page', async () => {
    const registries = [repository('listed'), repository('listed'), repository('listed')];
    for (const registry of registries) await push(registry, 'v1', image(3 * KB));
    const all: Json[] = [];
    for (let last = 'listed'; ; ) {
      const page = await api.call('GET', `/usage?n=2&last=${encodeURIComponent(last)}`);
      const { repositories } = page.json as { repositories: Json[] };
      all.push(...repositories.filter(({ repository }) => String(repository).startsWith('listed/')));
      if (!page.headers.has('Link')) break;
      last = String(repositories.at(-1)?.repository);
    }
    assert.deepEqual(
      all,
      registries
        .map(({ name }) => name)
        .sort()
        .map((name) => ({
          repository: name,
          bytes: 3 * KB,
          trashedBytes: 0,
          tags: 1,
          manifests: 1,
          isCounted: true,
        })),
    );
  });
}, GUARDED);
