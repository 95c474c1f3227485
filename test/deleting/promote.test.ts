/** Promotions of large images, and promotions during which the source or the target changes. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import {
  artifact,
  blob,
  imageIndex,
  imageManifest,
  type Manifest,
  repositoryName,
} from '../support/fixtures.ts';
import type { Home } from '../support/homes.ts';
import { eachHome, Kept } from './client.ts';

const CHILDREN = 500;
const REFERRERS = 1500;
/** A request of the Free plan may make 50 subrequests. */
const CALLS_MAX = 40;

interface Answer {
  status: number;
  text: string;
  state?: string;
  digest?: string;
  from?: string;
  tags?: { before: string | null }[];
  manifests?: { total: number; copied: number };
  blobs?: { total: number; linked: number; remaining: number };
  leftOut?: { what: string; why: string }[];
}

async function step(client: Kept, target: string, body: object): Promise<Answer> {
  const at = `/api/v1/repositories/${encodeURIComponent(target)}/promotions`;
  const headers = { 'Content-Type': 'application/json' };
  const answer = await client.send('POST', at, { body: Buffer.from(JSON.stringify(body)), headers });
  const text = answer.body.toString();
  return { status: answer.status, text, ...(JSON.parse(text) as object) };
}

/** All steps, as the command does them. `between` comes after each that is not the last. */
async function promote(
  client: Kept,
  target: string,
  body: object,
  between: () => Promise<void> = async () => {},
): Promise<Answer & { steps: number }> {
  let answer = await step(client, target, body);
  let steps = 1;
  for (; answer.state === 'running'; steps++) {
    assert.ok(steps < 20, 'it does not end');
    await between();
    answer = await step(client, target, { ...body, digest: answer.digest });
  }
  return { ...answer, steps };
}

/** Calls of one request, and of what follows it. */
async function calls(home: Home, run: () => Promise<unknown>): Promise<string[]> {
  await home.settled();
  await home.reset();
  await run();
  const { calls } = await home.counts();
  return calls;
}

eachHome((home) => {
  const client = new Kept(home, repositoryName('source'));
  let image: Manifest = imageManifest();

  before(async () => {
    // Each child has a config of its own, so all shards are asked.
    const shared = blob();
    const manifests = Array.from({ length: CHILDREN }, () => imageManifest({ layers: [shared] }));
    image = imageIndex(manifests);
    await client.pushBlob(client.name, shared);
    for (let at = 0; at < CHILDREN; at += 10) {
      await Promise.all(
        manifests.slice(at, at + 10).map(async (manifest) => {
          await client.pushBlob(client.name, manifest.blobs[0] as Buffer);
          assert.equal((await client.putManifest(client.name, manifest.digest, manifest)).status, 201);
        }),
      );
    }
    assert.equal((await client.putManifest(client.name, 'large', image)).status, 201);
  });

  test('an index of 500 children is promoted in steps, each within the calls of a request, and seen whole', async () => {
    const target = new Kept(home, repositoryName('target'));
    const body = { from: `${client.name}:large`, tags: ['v1'] };
    let answer: Answer = { status: 0, text: '' };
    let steps = 0;
    for (; answer.state !== 'done'; steps++) {
      assert.ok(steps < 20);
      const made = await calls(home, async () => {
        answer = await step(client, target.name, {
          ...body,
          ...(answer.digest && { digest: answer.digest }),
        });
      });
      assert.equal(answer.status, 200, answer.text);
      assert.ok(made.length <= CALLS_MAX, `${made.length} calls: ${made.join(' ')}`);
      const isDone = answer.state === 'done';
      assert.equal(await target.statusOf('manifests/v1'), isDone ? 200 : 404);
      assert.equal(await target.statusOf(`manifests/${image.digest}`), isDone ? 200 : 404);
    }
    assert.equal(steps > 1, home.name === 'r2');
    assert.deepEqual(
      [answer.manifests, answer.blobs?.total],
      [{ total: CHILDREN + 1, copied: CHILDREN + 1 }, CHILDREN + 1],
    );
    assert.equal(await target.pullManifest(target.name, 'v1'), image.digest);
    assert.deepEqual(await home.violations(), []);
  });

  test('of a subject with many referrers as many are promoted as one promotion may, and the answer says so', async () => {
    const subject = imageManifest();
    await client.pushManifest(client.name, 'subject', subject);
    const one = artifact({ subject: subject.descriptor });
    await client.pushManifest(client.name, one.digest, one);
    const numbers = `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${REFERRERS})`;
    const digest = `'sha256:bbbb' || printf('%060x', n)`;
    const columns = 'media_type, size, subject, artifact_type, annotations, pushed_at';
    for (const statement of [
      `INSERT INTO manifests (digest, ${columns}, generation) SELECT ${digest}, ${columns}, n FROM n, manifests WHERE digest = '${one.digest}'`,
      `INSERT INTO manifest_bytes (digest, seq, bytes) SELECT ${digest}, seq, bytes FROM n, manifest_bytes WHERE digest = '${one.digest}'`,
      `INSERT INTO manifest_names (manifest, digests) SELECT ${digest}, digests FROM n, manifest_names WHERE manifest = '${one.digest}'`,
    ])
      await home.rows('REPOSITORY', client.name, `${numbers} ${statement}`);
    const target = new Kept(home, repositoryName('target'));
    const answer = await promote(client, target.name, { from: `${client.name}:subject`, tags: ['v1'] });
    assert.deepEqual(answer.leftOut, [{ what: subject.digest, why: 'referrers over the limit' }]);
    assert.deepEqual(answer.manifests, { total: 1001, copied: 1001 });
    assert.equal((await target.referrersOf(subject.digest)).length, 1000);
    assert.deepEqual(await home.violations(), []);
  });

  describe('while a promotion runs', () => {
    /** Promotes an image, with something that happens before the last call of the promotion. */
    const during = async (happens: (target: Kept, source: Kept) => Promise<unknown>) => {
      const source = new Kept(home, repositoryName('source'));
      const target = new Kept(home, repositoryName('target'));
      const [promoted, other] = [imageManifest(), imageManifest()];
      await source.pushManifest(source.name, 'v1', promoted);
      await target.pushManifest(target.name, 'v1', other);
      await home.reset({ at: 'REPOSITORY.linkBlobs', how: 'wait' });
      const running = step(source, target.name, { from: `${source.name}:v1`, tags: ['v1'] });
      await home.reached();
      await happens(target, source);
      await home.goOn();
      const answer = await running;
      await home.reset();
      return { source, target, promoted, other, answer };
    };

    test('its source is deleted: nothing is tagged, and it says so', async () => {
      const { target, other, promoted, answer } = await during((_, source) =>
        source.delete({ tags: ['v1'] }),
      );
      assert.equal(answer.status, 409, answer.text);
      assert.match(answer.text, /while it was promoted: nothing was tagged/);
      assert.equal(await target.pullManifest(target.name, 'v1'), other.digest);
      assert.equal(await target.statusOf(`manifests/${promoted.digest}`), 404);
    });

    test('the tag of its source moves: what it led to at first is promoted', async () => {
      const { target, promoted, answer } = await during((_, source) =>
        source.pushManifest(source.name, 'v1', imageManifest()),
      );
      assert.equal(answer.state, 'done', answer.text);
      assert.equal(await target.pullManifest(target.name, 'v1'), promoted.digest);
    });

    test('the target is pushed: the promotion comes after it, and the history has both', async () => {
      const pushed = imageManifest();
      const { target, promoted, other, answer } = await during((target) =>
        target.pushManifest(target.name, 'v1', pushed),
      );
      assert.equal(answer.state, 'done', answer.text);
      const moves = (await target.moves('v1')).map(({ digest, why }) => [digest, why]);
      assert.deepEqual(moves, [
        [promoted.digest, 'promote'],
        [pushed.digest, 'push'],
        [other.digest, 'push'],
      ]);
    });

    test('a blob is deleted in the target: it is linked again', async () => {
      let linked = '';
      const { source, target, promoted, answer } = await during(async (target) => {
        const [row] = await home.rows(
          'REPOSITORY',
          target.name,
          `SELECT b.digest FROM blobs b WHERE NOT EXISTS
          (SELECT 1 FROM named_by n WHERE n.digest = b.digest)`,
        );
        linked = String(row?.digest);
        assert.equal(await target.statusOf(`blobs/${linked}`, 'DELETE'), 202);
      });
      assert.equal(answer.state, 'running', answer.text);
      assert.equal(await target.statusOf(`manifests/${promoted.digest}`), 404);
      const body = { from: `${source.name}:v1`, tags: ['v1'] };
      assert.equal((await promote(source, target.name, body)).state, 'done');
      assert.equal(await target.pullManifest(target.name, 'v1'), promoted.digest);
    });

    test('the target is deleted: it is there again, with the image', async () => {
      const { target, promoted, answer } = await during((target) => target.delete({ all: true }));
      assert.ok(answer.state === 'done' || answer.state === 'running', answer.text);
      const { source } = { source: answer.from?.split(/[:@]/)[0] ?? '' };
      if (answer.state === 'running')
        await promote(target, target.name, { from: `${source}:v1`, tags: ['v1'] });
      assert.equal(await target.pullManifest(target.name, 'v1'), promoted.digest);
    });
  });

  test('a later step promotes what the first one found, and the history does not name a tag that has moved', async () => {
    const source = new Kept(home, repositoryName('source'));
    const target = new Kept(home, repositoryName('target'));
    const image = imageManifest();
    await source.pushManifest(source.name, 'v1', image);
    await source.pushManifest(source.name, 'v1', imageManifest());
    const body = { from: `${source.name}:v1`, tags: ['v1'], digest: image.digest };
    const answer = await step(source, target.name, body);
    assert.deepEqual(
      [answer.state, answer.digest, answer.from],
      ['done', image.digest, `${source.name}@${image.digest}`],
    );
  });

  test('an image whose source lacks a layer is not promoted', async () => {
    const source = new Kept(home, repositoryName('source'));
    const image = imageManifest({ layers: [blob(100_000)] });
    await source.pushManifest(source.name, 'v1', image);
    const [row] = await home.rows(
      'REPOSITORY',
      source.name,
      `SELECT digest, key FROM blobs WHERE size = 100000`,
    );
    await home.call('REPOSITORY', source.name, 'dropLostBlob', row?.digest, row?.key);
    const answer = await step(source, repositoryName('target'), { from: `${source.name}:v1`, tags: ['v1'] });
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, /lacks 1 of what the image references: push it there again/);
  });
});
