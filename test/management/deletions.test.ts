/** Deletions, restores and the history by the management API: who may, and what the answers say. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { digest as digestOf, imageManifest, type Manifest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { ADMIN, Api, GUARDED, type Json } from './api.ts';

const USERS = {
  reader: 'rita:the password of rita',
  writer: 'wanda:the password of wanda',
  maintainer: 'mara:the password of mara',
  limited: 'lima:the password of lima',
  stranger: 'stan:the password of stan',
};
const DAY_MS = 24 * 3600 * 1000;

eachHome((home) => {
  const api = new Api(home);
  const image = imageManifest();
  const path = '/repositories/team%2Fapp';

  const push = async (tag: string, manifest: Manifest, name = 'team/app') => {
    const headers = { Authorization: `Basic ${Buffer.from(ADMIN).toString('base64')}` };
    const request = (method: string, at: string, body: Buffer, type: string) =>
      fetch(new URL(at, home.url), {
        method,
        headers: { ...headers, 'Content-Type': type },
        body: body as BodyInit,
      });
    for (const bytes of manifest.blobs) {
      const started = await request('POST', `/v2/${name}/blobs/uploads/`, Buffer.alloc(0), 'a/b');
      await request('PUT', `${started.headers.get('Location')}&digest=${digestOf(bytes)}`, bytes, 'a/b');
    }
    const put = await request('PUT', `/v2/${name}/manifests/${tag}`, manifest.bytes, manifest.mediaType);
    assert.equal(put.status, 201, await put.text());
  };

  before(async () => {
    for (const user of Object.values(USERS)) {
      const [name, password] = user.split(/:(.*)/s);
      await api.made('POST', '/users', { name, password });
    }
    const rule = (name: string, role: string, tags: string | null = null) =>
      api.made('POST', '/rules', { subject: `user:${name}`, role, repositories: 'team/*', tags });
    await rule('rita', 'reader');
    await rule('wanda', 'writer');
    await rule('mara', 'maintainer');
    await rule('lima', 'maintainer', 'dev-*');
    for (const tag of ['v1', 'v2', 'dev-1']) await push(tag, tag === 'v1' ? image : imageManifest());
  });

  describe('who may', () => {
    const dryRun = { tags: ['v1'], dryRun: true };
    const rows: [
      what: string,
      user: keyof typeof USERS,
      method: string,
      at: string,
      body: object | undefined,
      want: number,
    ][] = [
      ['a stranger sees no repository', 'stranger', 'POST', '/deletions', dryRun, 404],
      ['a reader deletes nothing', 'reader', 'POST', '/deletions', dryRun, 403],
      ['a writer deletes nothing', 'writer', 'POST', '/deletions', dryRun, 403],
      ['a maintainer deletes', 'maintainer', 'POST', '/deletions', dryRun, 200],
      [
        'access to some tags deletes these',
        'limited',
        'POST',
        '/deletions',
        { ...dryRun, tags: ['dev-1'] },
        200,
      ],
      ['access to some tags deletes no others', 'limited', 'POST', '/deletions', dryRun, 403],
      [
        'access to some tags deletes not everything',
        'limited',
        'POST',
        '/deletions',
        { all: true, dryRun: true },
        403,
      ],
      ['a reader lists deletions', 'reader', 'GET', '/deletions', undefined, 200],
      ['a reader sees the history', 'reader', 'GET', '/history', undefined, 200],
      ['a stranger sees no history', 'stranger', 'GET', '/history', undefined, 404],
      [
        'a stranger sees no difference',
        'stranger',
        'GET',
        `/diff?from=${new Date().toISOString()}`,
        undefined,
        404,
      ],
      ['a reader restores nothing', 'reader', 'POST', '/restores', { tag: 'v1', dryRun: true }, 403],
      [
        'a restore sets no tag of an impossible name',
        'writer',
        'POST',
        '/restores',
        { tag: 'a b', digest: image.digest },
        400,
      ],
      [
        'a restore sets no tag that names a time',
        'writer',
        'POST',
        '/restores',
        { tag: 'v1--at--20261101T0900Z', digest: image.digest },
        400,
      ],
      [
        'a writer restores',
        'writer',
        'POST',
        '/restores',
        { tag: 'v1', digest: image.digest, dryRun: true },
        200,
      ],
      ['a writer purges nothing', 'writer', 'POST', '/purges', { deletion: 'x' }, 403],
      ['a maintainer purges what is there', 'maintainer', 'POST', '/purges', { deletion: 'x' }, 404],
    ];
    for (const [what, user, method, at, body, want] of rows) {
      it(what, async () => {
        const { status, text } = await api.call(method, `${path}${at}`, body, USERS[user]);
        assert.equal(status, want, text);
      });
    }

    it('a repository that a caller may not see answers as one that does not exist', async () => {
      const hidden = await api.call('GET', `${path}/history`, undefined, USERS.stranger);
      const missing = await api.call('GET', '/repositories/team%2Fnone/history', undefined, USERS.reader);
      assert.deepEqual([hidden.status, missing.status], [404, 404]);
      assert.equal(hidden.text.replaceAll('team/app', 'team/none'), missing.text);
    });
  });

  it('a deletion says what goes, how many bytes, when, and how to undo it', async () => {
    const { json: preview } = await api.call(
      'POST',
      `${path}/deletions`,
      { tags: ['v1'], dryRun: true },
      USERS.maintainer,
    );
    const { json } = await api.call('POST', `${path}/deletions`, { tags: ['v1', 'none'] }, USERS.maintainer);
    const size = image.blobs.reduce((sum, { length }) => sum + length, 0);
    // On one machine, small blobs are beside their links and not in the store.
    const bytes = home.name === 'disk' ? 0 : size;
    for (const answer of [preview, json]) {
      assert.deepEqual([answer.tagCount, answer.manifestCount, answer.bytes], [1, 1, bytes]);
      assert.deepEqual(answer.tags, [{ tag: 'v1', digest: image.digest }]);
      assert.deepEqual(answer.manifests, [
        { digest: image.digest, mediaType: image.mediaType, why: 'untagged' },
      ]);
      const days = (Date.parse(String(answer.undoUntil)) - Date.now()) / DAY_MS;
      assert.ok(days > 13.9 && days < 14.1, `${days}`);
      assert.equal(Date.parse(String(answer.freedBy)), Date.parse(String(answer.undoUntil)) + 2 * DAY_MS);
    }
    assert.deepEqual([preview.deletion, preview.undo, json.unknown], [null, null, ['none']]);
    const { id, actor } = json.deletion as Json;
    assert.equal(actor, 'user:mara');
    assert.equal(json.undo, `longshore restore team/app --deletion ${id}`);
    const { json: listed } = await api.call('GET', `${path}/deletions`, undefined, USERS.reader);
    assert.deepEqual(
      (listed.deletions as Json[]).map((entry) => entry.id),
      [id],
    );
    const again = await api.call('POST', `${path}/restores`, { deletion: id }, USERS.writer);
    assert.deepEqual([again.status, again.json.tagCount, again.json.conflicts], [200, 1, []]);
    const { json: history } = await api.call('GET', `${path}/history?tag=v1`, undefined, USERS.reader);
    assert.deepEqual(
      (history.moves as Json[]).map(({ why, actor }) => [why, actor]),
      [
        ['restore', 'user:wanda'],
        ['delete', 'user:mara'],
        ['push', 'user:admin'],
      ],
    );
    await home.settled();
    const { json: log } = await api.call('GET', '/audit?repository=team/app&n=10');
    const actions = (log.events as Json[])
      .filter(({ decision }) => decision === 'allowed')
      .map(({ action }) => action);
    assert.equal(
      actions.filter((action) => action === 'deletion.create').length,
      1,
      'a dry run is no change',
    );
    assert.ok(actions.includes('restore.create'));
  });

  it('a list of moves is read page by page, and each move is there once', async () => {
    for (let n = 0; n < 5; n++) await push(`page-${n}`, image);
    await api.made('POST', `${path}/deletions`, { tags: [0, 1, 2, 3, 4].map((n) => `page-${n}`) });
    const found: string[] = [];
    for (let next: string | null = `${path}/history?n=3`; next !== null; ) {
      const { json, headers } = await api.call('GET', next);
      found.push(...(json.moves as Json[]).map(({ tag, at, digest }) => `${tag} ${at} ${digest}`));
      const link: string | undefined = /<\/api\/v1([^>]+)>/.exec(headers.get('Link') ?? '')?.[1];
      next = link ?? null;
    }
    assert.equal(new Set(found).size, found.length);
    assert.equal(found.filter((entry) => entry.startsWith('page-')).length, 10);
    const { json } = await api.call('GET', `${path}/history?n=1000`);
    assert.equal((json.moves as Json[]).length, found.length);
  });

  it('two times are compared', async () => {
    const from = new Date().toISOString();
    const fresh = imageManifest();
    await push('v2', fresh);
    await push('v3', fresh);
    const { json } = await api.call('GET', `${path}/diff?from=${from}`);
    const tags = json.tags as Json[];
    assert.deepEqual(
      tags.map(({ tag, from, to }) => [tag, from === null, to]),
      [
        ['v2', false, fresh.digest],
        ['v3', true, fresh.digest],
      ],
    );
    const before = new Date(Date.now() - 20 * DAY_MS).toISOString();
    const { status, text } = await api.call('GET', `${path}/diff?from=${before}`);
    assert.equal(status, 404);
    assert.match(text, /kept for UNDO_DAYS/);
  });

  const wrong: [body: object, says: RegExp][] = [
    [{}, /names tags or manifests, or is for all/],
    [{ all: true, tags: ['v1'] }, /names tags or manifests, or is for all/],
    [{ manifests: ['v1'] }, /is a digest/],
  ];
  for (const [body, says] of wrong) {
    it(`a deletion of ${JSON.stringify(body)} is refused`, async () => {
      const { status, text } = await api.call('POST', `${path}/deletions`, body);
      assert.equal(status, 400);
      assert.match(text, says);
    });
  }

  it('what cannot be restored says why', async () => {
    const restore = (body: object) => api.call('POST', `${path}/restores`, body);
    const there = await restore({ tag: 'v2' });
    assert.deepEqual(
      [there.status, there.json.errors],
      [
        409,
        [
          {
            code: 'CONFLICT',
            message: there.text.includes('is there')
              ? 'the tag v2 of team/app is there: say the time (--at) or the digest that it is to lead to'
              : '',
          },
        ],
      ],
    );
    assert.equal((await restore({ tag: 'nothing' })).status, 404);
    assert.equal((await restore({ deletion: 'nothing' })).status, 404);
    assert.equal((await restore({ tag: 'v2', digest: `sha256:${'1'.repeat(64)}` })).status, 409);
  });

  it('a whole repository is deleted in one call, and comes back', async () => {
    await push('v1', image, 'team/whole');
    const at = '/repositories/team%2Fwhole';
    const deleted = await api.made('POST', `${at}/deletions`, { all: true });
    assert.equal(deleted.tagCount, 1);
    const headers = { Authorization: `Basic ${Buffer.from(ADMIN).toString('base64')}` };
    const get = () => fetch(new URL('/v2/team/whole/manifests/v1', home.url), { headers });
    assert.equal((await get()).status, 404);
    await api.made('POST', `${at}/restores`, { deletion: (deleted.deletion as Json).id });
    assert.equal((await get()).status, 200);
  });
}, GUARDED);
