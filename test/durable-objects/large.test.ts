/**
 * A registry that holds much: what a request reads and writes does not grow with it. The rows are put there by SQL, which a
 * hundred thousand pushes would put there too.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { REFERRERS_PAGE_BYTES } from '../../durable-objects/repository/manifests.ts';
import {
  artifact,
  blob,
  digest as digestOf,
  imageManifest,
  type Manifest,
  repositoryName,
} from '../support/fixtures.ts';
import { type Binding, eachHome } from '../support/homes.ts';

const MANY = 100_000;
/** Rows that a request may read beside those of its page, and those of a step. */
const FEW = 150;
const STEP_ROWS = 4_000;
const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** What clients read of a list of referrers. */
const CLIENT_BYTES = 4 * 1024 * 1024;

/** As a table: `n` is 1 to MANY. */
const NUMBERS = `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${MANY})`;

/** Small blobs have rows in a shard on one machine too: what is counted here is what they cost. */
const WITHOUT_INLINE = { vars: { INLINE_BLOB_BYTES: '0' } };

eachHome((home) => {
  const repository = repositoryName('large');
  const image = imageManifest();
  const [config = Buffer.alloc(0)] = image.blobs;
  const digest = digestOf(config);
  const shard = digest.slice(7, 9);
  const v2 = (path: string, init: RequestInit = {}) => fetch(`${home.url}/v2/${path}`, init);
  const pushBlob = async (name: string, bytes: Buffer) => {
    const url = `${name}/blobs/uploads/?digest=${digestOf(bytes)}`;
    assert.equal((await v2(url, { method: 'POST', body: bytes })).status, 201);
  };
  const pushManifest = async (name: string, reference: string, { bytes, mediaType }: Manifest) => {
    const headers = { 'Content-Type': mediaType };
    const answer = await v2(`${name}/manifests/${reference}`, { method: 'PUT', headers, body: bytes });
    assert.equal(answer.status, 201, await answer.text());
  };
  /** The rows that something reads and writes. */
  const rowsOf = async (run: () => Promise<unknown>) => {
    await home.settled();
    await home.reset();
    await run();
    await home.settled();
    const { rowsRead, rowsWritten } = await home.counts();
    return { read: rowsRead, written: rowsWritten };
  };
  const isFew = async (run: () => Promise<unknown>, read = FEW, written = FEW) => {
    const rows = await rowsOf(run);
    assert.ok(rows.read <= read, `${rows.read} rows read`);
    assert.ok(rows.written <= written, `${rows.written} rows written`);
  };
  const insert = (binding: Binding, name: string, statement: string) =>
    home.rows(binding, name, `${NUMBERS} ${statement}`);

  before(async () => {
    for (const bytes of image.blobs) await pushBlob(repository, bytes);
    await pushManifest(repository, 'v1', image);
    const unknown = `'sha256:' || printf('%064x', n)`;
    await insert(
      'BLOB_SHARD',
      shard,
      `INSERT INTO objects (digest, key, size, stored) SELECT ${unknown}, 'blobs/' || n, 1, 1 FROM numbers`,
    );
    await insert(
      'BLOB_SHARD',
      shard,
      `INSERT INTO links (digest, key, repository, id) SELECT '${digest}', o.key, 'all/' || n, 'link-' || n
         FROM numbers, objects o WHERE o.digest = '${digest}'`,
    );
    await insert(
      'REPOSITORY',
      repository,
      `INSERT INTO blobs (digest, key, size, link, expires_at)
         SELECT ${unknown}, 'blobs/' || n, 1, 'link-' || n, ${Date.now() + 100 * DAY_MS} FROM numbers`,
    );
    await insert(
      'REPOSITORY',
      repository,
      `INSERT INTO tags (name, digest, updated_at, generation)
         SELECT 'tag-' || printf('%06d', n), m.digest, 1, m.generation FROM numbers, manifests m`,
    );
    await insert(
      'REPOSITORY',
      repository,
      `INSERT INTO manifests (digest, media_type, size, subject, artifact_type, pushed_at)
         SELECT ${unknown}, 'application/json', 1, 'sha256:${'5'.repeat(64)}', 'a/b', 1 FROM numbers`,
    );
  });
  test('a blob is pushed, read and mounted by as few rows in a registry that holds much', async () => {
    await isFew(() => pushBlob(repository, blob()));
    await isFew(() => v2(`${repository}/blobs/${digest}`, { method: 'HEAD' }));
    await isFew(() => pushBlob(repositoryName('other'), config));
    const mount = `mount=${digest}&from=${repository}`;
    await isFew(() => v2(`${repositoryName('other')}/blobs/uploads/?${mount}`, { method: 'POST' }));
  });

  test('pushes of a digest that fail hide no content that is there', async () => {
    const [bytes, name] = [blob(), repositoryName('hidden')];
    await pushBlob(name, bytes);
    const asked = digestOf(bytes);
    await insert(
      'BLOB_SHARD',
      asked.slice(7, 9),
      `INSERT INTO objects (digest, key, size, stored) SELECT '${asked}', 'blobs/' || printf('%08d', n), 1, 0 FROM numbers`,
    );
    await isFew(async () => {
      const mount = `mount=${asked}&from=${name}`;
      const answer = await v2(`${repositoryName('other')}/blobs/uploads/?${mount}`, { method: 'POST' });
      assert.equal(answer.status, 201);
    });
    const keys = await home.storedKeys();
    await isFew(() => pushBlob(repositoryName('other'), bytes));
    assert.deepEqual(await home.storedKeys(), keys, 'the bytes were there');
  });

  const mounts = [
    { what: 'from any repository', among: [], want: true },
    { what: 'by a pattern that names one of them', among: [[`all/${MANY}`]], want: true },
    { what: 'by a pattern that begins with letters', among: [['**'], ['nothing/*', 'all/99*']], want: true },
    { what: 'by patterns of which none matches', among: [['nothing/*', 'other']], want: false },
  ];
  for (const { what, among, want } of mounts) {
    test(`a mount without a source, ${what}, reads a few of many holders`, async () => {
      const request = { link: crypto.randomUUID(), digest, repository: 'x', content: { among } };
      let found: unknown = null;
      await isFew(async () => {
        found = await home.call('BLOB_SHARD', shard, 'link', request);
      });
      assert.equal(found !== null, want);
    });
  }

  test('referrers of a type that none has are found to be none by a few rows', async () => {
    const subject = `sha256:${'5'.repeat(64)}`;
    await isFew(async () => {
      const answer = await v2(`${repository}/referrers/${subject}?artifactType=c/d`);
      assert.deepEqual(((await answer.json()) as { manifests: unknown[] }).manifests, []);
    });
  });

  test('tokens and trusts are found by name by a few rows, also where many have the name', async () => {
    const insertTokens = (id: string, name: string, owner: string) =>
      insert(
        'ACCOUNTS',
        'accounts',
        `INSERT INTO tokens (id, name, owner, hash, grants, created_at)
           SELECT '${id}-' || n, ${name}, ${owner}, '', '[]', 1 FROM numbers`,
      );
    await insertTokens('robot', `'robot-' || n`, 'NULL');
    await insertTokens('laptop', `'user-' || n || '/laptop'`, `'user-' || n`);
    await insert(
      'ACCOUNTS',
      'accounts',
      `INSERT INTO trusts (name, issuer, audience, conditions, grants)
         SELECT 'trust-' || n, 'https://issuer.example', 'here', '{}', '[]' FROM numbers`,
    );
    const searches = [
      { path: 'tokens?n=2&name=robot-77777', want: ['robot-77777'] },
      { path: 'tokens?n=2&name=user-77777/laptop', want: ['laptop-77777'] },
      { path: 'tokens?n=2&name=laptop-77777', want: ['laptop-77777'] },
      { path: 'tokens?n=2&name=laptop', want: ['laptop-1', 'laptop-10'] },
      { path: 'trusts?name=trust-77777', want: ['77777'] },
      { path: 'trusts?name=77777', want: ['77777'] },
    ];
    for (const { path, want } of searches) {
      await isFew(async () => {
        const answer = await fetch(`${home.url}/api/v1/${path}`);
        assert.equal(answer.status, 200, path);
        const [found = []] = Object.values((await answer.json()) as Record<string, { id: string }[]>);
        assert.deepEqual(
          found.map(({ id }) => id),
          want,
          path,
        );
      });
    }
  });

  test('a page of tags reads no more rows than it has tags', async () => {
    await isFew(async () => {
      const answer = await v2(`${repository}/tags/list?n=100&last=tag-050000`);
      const { tags } = (await answer.json()) as { tags: string[] };
      assert.deepEqual([tags.length, tags[0], tags[99]], [100, 'tag-050001', 'tag-050100']);
    });
  });

  test('a manifest of many tags is deleted in steps, and its tags are gone at once', async () => {
    const other = imageManifest();
    // The platform's clock is behind: no alarm rings but by this test.
    await home.setClockAhead(HOUR_MS);
    for (const bytes of other.blobs) await pushBlob(repository, bytes);
    await pushManifest(repository, 'zzz', other);
    await pushManifest(repository, 'tag-000500', other);
    const path = `${repository}/manifests/${image.digest}`;
    // The usage of the repository counts the tags that go, once, in their index.
    await isFew(() => v2(path, { method: 'DELETE' }), MANY + 3 * STEP_ROWS, STEP_ROWS);
    // None is there, for any way to ask.
    assert.equal((await v2(path)).status, 404);
    for (const tag of ['v1', 'tag-000001', 'tag-090000']) {
      assert.equal((await v2(`${repository}/manifests/${tag}`)).status, 404, tag);
      assert.equal((await v2(`${repository}/manifests/${tag}`, { method: 'DELETE' })).status, 404, tag);
    }
    assert.deepEqual(await allTags(v2, repository), ['tag-000500', 'zzz']);
    // Pushed again, it has none of them.
    for (const bytes of image.blobs) await pushBlob(repository, bytes);
    await isFew(() => pushManifest(repository, 'tag-090000', image));
    assert.equal((await v2(`${repository}/manifests/tag-080000`)).status, 404);
    assert.deepEqual(await allTags(v2, repository), ['tag-000500', 'tag-090000', 'zzz']);
    let steps = 0;
    for (; await home.ringDue('REPOSITORY', repository); steps++) {
      assert.ok(steps <= MANY / 200, 'it does not end');
      if (steps === 3) await home.evict('REPOSITORY', repository);
      if (steps === 7) assert.deepEqual(await allTags(v2, repository), ['tag-000500', 'tag-090000', 'zzz']);
    }
    const count = async (table: string) =>
      (await home.rows('REPOSITORY', repository, `SELECT COUNT(*) AS count FROM ${table}`))[0]?.count;
    assert.deepEqual([await count('tags'), await count('deleted_manifests')], [3, 0]);
    assert.deepEqual(await allTags(v2, repository), ['tag-000500', 'tag-090000', 'zzz']);
  });

  test('a step of the alarm writes a bounded number of rows, whatever is due', async () => {
    const due = Date.now() + 2 * HOUR_MS;
    await home.setClockAhead(3 * HOUR_MS);
    const isLarge = `link GLOB 'link-*'`;
    await home.rows('REPOSITORY', repository, `UPDATE blobs SET expires_at = ${due} WHERE ${isLarge}`);
    await home.rows(
      'REPOSITORY',
      repository,
      `INSERT INTO expiries (at, digest) SELECT ${due}, digest FROM blobs WHERE ${isLarge}`,
    );
    await isFew(() => home.ring('REPOSITORY', repository), 5 * STEP_ROWS, 2 * STEP_ROWS);
    const [left] = await home.rows(
      'REPOSITORY',
      repository,
      `SELECT COUNT(*) AS count FROM blobs WHERE ${isLarge}`,
    );
    assert.deepEqual(left, { count: MANY - 1000 });
    await home.setClockAhead(0);
  });

  test('a page of referrers is of no more bytes than clients read, whatever the annotations hold', async () => {
    const [name, subject] = [repositoryName('referrers'), imageManifest()];
    const texts = ['€'.repeat(200_000), '"\\\n'.repeat(150_000), '\u0001'.repeat(100_000)];
    const pushed: string[] = [];
    for (const text of [...texts, ...texts, ...texts]) {
      const referrer = artifact({ subject: subject.descriptor, annotations: { text } });
      for (const bytes of referrer.blobs) await pushBlob(name, bytes);
      await pushManifest(name, referrer.digest, referrer);
      pushed.push(referrer.digest);
    }
    const found: string[] = [];
    let next: string | null = `/v2/${name}/referrers/${subject.digest}`;
    let pages = 0;
    for (; next !== null; pages++) {
      const answer: Response = await fetch(`${home.url}${next}`);
      const body = Buffer.from(await answer.arrayBuffer());
      assert.ok(body.length <= CLIENT_BYTES, `${body.length} bytes`);
      found.push(
        ...(JSON.parse(String(body)) as { manifests: { digest: string }[] }).manifests.map(
          (one) => one.digest,
        ),
      );
      next = /<([^>]+)>/.exec(answer.headers.get('Link') ?? '')?.[1] ?? null;
    }
    assert.deepEqual(found, pushed.sort());
    assert.ok(pages > 1 && REFERRERS_PAGE_BYTES < CLIENT_BYTES);
    assert.deepEqual(await home.violations(), []);
  });
}, WITHOUT_INLINE);

/** All pages, by their links. */
async function allTags(v2: (path: string) => Promise<Response>, repository: string): Promise<string[]> {
  const found: string[] = [];
  let next: string | null = `${repository}/tags/list`;
  for (let pages = 0; next !== null; pages++) {
    assert.ok(pages <= MANY / 1000, 'it does not end');
    const answer: Response = await v2(next);
    found.push(...((await answer.json()) as { tags: string[] }).tags);
    next = /<\/v2\/([^>]+)>/.exec(answer.headers.get('Link') ?? '')?.[1] ?? null;
  }
  return found;
}
