/** Tables that a newer release wrote: after a rollback the registry works with them where it can, and says so where it cannot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { eachHome, type Home } from '../support/homes.ts';

/** A version that no release has yet. */
const VERSION = 999;

eachHome((home) => {
  test('tables of a newer release that older code can work with are worked with', async () => {
    const { repository, digest } = await push(home);
    await setVersion(home, repository, 1);
    assert.equal((await fetch(`${home.url}/v2/${repository}/blobs/${digest}`)).status, 200);
    const bytes = blob();
    const url = `${home.url}/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`;
    assert.equal((await fetch(url, { method: 'POST', body: bytes })).status, 201);
    assert.deepEqual(await home.rows('REPOSITORY', repository, 'SELECT version FROM schema_version'), [
      { version: VERSION },
    ]);
  });

  const requests: [method: string, path: (digest: string) => string][] = [
    ['GET', (digest) => `blobs/${digest}`],
    ['GET', () => 'manifests/v1'],
    ['GET', () => 'tags/list'],
    ['GET', (digest) => `referrers/${digest}`],
    ['DELETE', (digest) => `blobs/${digest}`],
    ['PUT', () => 'manifests/v1'],
  ];
  test('tables of a newer release that older code cannot work with are an error that says what to do', async () => {
    const { repository, digest } = await push(home);
    await setVersion(home, repository, VERSION);
    for (const [method, path] of requests) {
      const body = method === 'PUT' ? { body: '{"schemaVersion":2,"manifests":[]}' } : {};
      const headers = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
      const response = await fetch(`${home.url}/v2/${repository}/${path(digest)}`, {
        method,
        headers,
        ...body,
      });
      const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
      assert.deepEqual([response.status, errors[0]?.code], [503, 'UNAVAILABLE'], `${method} ${path(digest)}`);
      assert.match(
        errors[0]?.message ?? '',
        /newer release of Longshore.*version 999.*deploy that release again/,
      );
      assert.ok(response.headers.has('Retry-After'));
    }
  });
});

async function push(home: Home): Promise<{ repository: string; digest: string }> {
  const [repository, bytes] = [repositoryName('newer'), blob()];
  const digest = digestOf(bytes);
  const url = `${home.url}/v2/${repository}/blobs/uploads/?digest=${digest}`;
  assert.equal((await fetch(url, { method: 'POST', body: bytes })).status, 201);
  return { repository, digest };
}

/** As a newer release leaves it. */
async function setVersion(home: Home, repository: string, readableFrom: number): Promise<void> {
  const query = `UPDATE schema_version SET version = ${VERSION}, readable_from = ${readableFrom}`;
  await home.rows('REPOSITORY', repository, query);
  await home.evict('REPOSITORY', repository);
}
