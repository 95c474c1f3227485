/** Promotions by the management API: what comes along, who may, and what the history, the audit log and the answers say. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  artifact,
  blob,
  digest as digestOf,
  imageIndex,
  imageManifest,
  type Manifest,
} from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { ADMIN, Api, GUARDED, type Json } from './api.ts';

const USERS = {
  promoter: 'paula:the password of paula',
  reader: 'rita:the password of rita',
  stranger: 'stan:the password of stan',
  blind: 'bill:the password of bill',
  limited: 'lima:the password of lima',
  narrow: 'nora:the password of nora',
};
/** In the store on one machine too. */
const LARGE = 100 * 1024;

eachHome((home) => {
  const api = new Api(home);
  const send = (method: string, at: string, body?: Buffer, type = 'application/octet-stream') =>
    fetch(new URL(at, home.url), {
      method,
      headers: { Authorization: `Basic ${Buffer.from(ADMIN).toString('base64')}`, 'Content-Type': type },
      ...(body === undefined ? {} : { body: body as BodyInit }),
    });
  const push = async (name: string, reference: string, manifest: Manifest) => {
    for (const bytes of manifest.blobs) {
      const started = await send('POST', `/v2/${name}/blobs/uploads/`);
      const put = await send('PUT', `${started.headers.get('Location')}&digest=${digestOf(bytes)}`, bytes);
      assert.equal(put.status, 201, await put.text());
    }
    const at = `/v2/${name}/manifests/${reference}`;
    const put = await send('PUT', at, manifest.bytes, manifest.mediaType);
    assert.equal(put.status, 201, await put.text());
  };
  const digestAt = async (name: string, reference: string) => {
    const found = await send('GET', `/v2/${name}/manifests/${reference}`);
    return found.status === 200 ? digestOf(Buffer.from(await found.arrayBuffer())) : null;
  };
  /** All that an image references can be pulled. */
  const isWhole = async (name: string, manifest: Manifest) => {
    assert.equal(await digestAt(name, manifest.digest), manifest.digest);
    for (const bytes of manifest.blobs) {
      const found = await send('GET', `/v2/${name}/blobs/${digestOf(bytes)}`);
      assert.equal(digestOf(Buffer.from(await found.arrayBuffer())), digestOf(bytes));
    }
  };
  const referrersOf = async (name: string, digest: string) => {
    const found = (await (await send('GET', `/v2/${name}/referrers/${digest}`)).json()) as {
      manifests: { digest: string; artifactType: string; annotations?: Record<string, string> }[];
    };
    return found.manifests;
  };
  const promote = (target: string, body: object, as: string = USERS.promoter) =>
    api.call('POST', `/repositories/${encodeURIComponent(target)}/promotions`, body, as);
  const promoted = async (target: string, body: object, as?: string) => {
    const { status, text, json } = await promote(target, body, as);
    assert.equal(status, 200, text);
    return json;
  };

  const children = [imageManifest({ layers: [blob(LARGE)] }), imageManifest()];
  const image = imageIndex(children);
  const [first] = children as [Manifest];
  const sbom = artifact({ subject: image.descriptor });
  const signatureOfSbom = artifact({ subject: sbom.descriptor });
  const cosign = imageManifest();
  const cosignTag = `${image.digest.replace(':', '-')}.sig`;

  before(async () => {
    for (const user of Object.values(USERS)) {
      const [name, password] = user.split(/:(.*)/s);
      await api.made('POST', '/users', { name, password });
    }
    const rule = (name: string, role: string, repositories: string, tags: string | null = null) =>
      api.made('POST', '/rules', { subject: `user:${name}`, role, repositories, tags });
    await rule('paula', 'reader', 'dev/*');
    await rule('paula', 'writer', 'prod/*');
    await rule('rita', 'reader', '**');
    await rule('bill', 'writer', 'prod/*');
    await rule('lima', 'reader', 'dev/*');
    await rule('lima', 'writer', 'prod/*', 'rc-*');
    await rule('nora', 'reader', 'dev/*');
    await rule('nora', 'writer', 'new/*');
    for (const child of children) await push('dev/api', child.digest, child);
    await push('dev/api', 'sha-abc', image);
    await push('dev/api', sbom.digest, sbom);
    await push('dev/api', signatureOfSbom.digest, signatureOfSbom);
    await push('dev/api', cosignTag, cosign);
  });

  it('a dry run says what would be done, and does nothing', async () => {
    const answer = await promoted('prod/dry', { from: 'dev/api:sha-abc', tags: ['1.0'], dryRun: true });
    assert.deepEqual(
      [answer.dryRun, answer.state, answer.digest, answer.tags, answer.manifests],
      [
        true,
        'done',
        image.digest,
        [{ tag: '1.0', digest: image.digest, before: null }],
        { total: 6, copied: 6 },
      ],
    );
    const blobs = new Set(
      [...children, sbom, signatureOfSbom, cosign].flatMap((one) =>
        one.blobs.map((bytes) => digestOf(bytes)),
      ),
    );
    assert.deepEqual(answer.blobs, { total: blobs.size, linked: 0, remaining: blobs.size });
    assert.equal((await send('GET', '/v2/prod/dry/tags/list')).status, 404);
  });

  it('an index comes with its children, referrers and signatures, and no bytes are stored', async () => {
    await home.reset();
    const body = { from: 'dev/api:sha-abc', tags: ['1.4.2', '1.4'] };
    const answer = await promoted('prod/api', body);
    const { classA, classB } = await home.counts();
    assert.deepEqual([classA, classB], [0, 0], 'the store is not asked');
    assert.deepEqual([answer.state, answer.from, answer.leftOut], ['done', 'dev/api:sha-abc', []]);
    for (const tag of ['1.4.2', '1.4']) assert.equal(await digestAt('prod/api', tag), image.digest);
    assert.equal(await digestAt('prod/api', cosignTag), cosign.digest);
    for (const one of [...children, sbom, signatureOfSbom, cosign]) await isWhole('prod/api', one);
    assert.deepEqual(
      (await referrersOf('prod/api', image.digest)).map(({ digest }) => digest),
      [sbom.digest],
    );
    const again = await promoted('prod/api', body);
    assert.deepEqual(
      [again.manifests, again.blobs],
      [
        { total: 6, copied: 0 },
        { ...(answer.blobs as Json), linked: 0, remaining: 0 },
      ],
    );
  });

  it('the history and the audit log say who promoted what from where', async () => {
    const { json } = await api.call('GET', '/repositories/prod%2Fapi/history?tag=1.4.2');
    const moves = (json.moves as Json[]).map(({ why, source, actor, digest }) => ({
      why,
      source,
      actor,
      digest,
    }));
    const want = { why: 'promote', source: 'dev/api:sha-abc', actor: 'user:paula', digest: image.digest };
    assert.deepEqual(moves, [want], 'what is promoted again is no move');
    await home.settled();
    const { json: log } = await api.call('GET', '/audit?repository=prod/api&n=50');
    const events = (log.events as Json[]).filter(({ action }) => action === 'promotion.create');
    assert.deepEqual(
      new Set(events.map(({ actor, reference }) => `${actor} ${reference}`)),
      new Set([`user:paula 1.4.2 1.4 ${image.digest} from dev/api:sha-abc`]),
    );
    assert.match(String(events[0]?.rule), /writer of prod\/\*/);
  });

  it('an attestation is attached once for the same promotion', async () => {
    const body = { from: `dev/api@${image.digest}`, tags: ['2.0'], attest: true };
    const answer = await promoted('prod/attested', body);
    const found = await referrersOf('prod/attested', image.digest);
    const attestation = found.find(({ artifactType }) => artifactType === 'application/vnd.in-toto+json');
    assert.equal(attestation?.digest, answer.attestation);
    const { layers } = (await (
      await send('GET', `/v2/prod/attested/manifests/${attestation?.digest}`)
    ).json()) as { layers: { digest: string; mediaType: string }[] };
    const statement = (await (
      await send('GET', `/v2/prod/attested/blobs/${layers[0]?.digest}`)
    ).json()) as Json & { predicate: Json };
    assert.deepEqual(statement.subject, [
      { name: 'prod/attested', digest: { sha256: image.digest.slice('sha256:'.length) } },
    ]);
    const { at, ...predicate } = statement.predicate;
    assert.ok(Date.parse(String(at)) > 0);
    assert.deepEqual(predicate, {
      source: `dev/api@${image.digest}`,
      target: 'prod/attested',
      tags: ['2.0'],
      actor: 'user:paula',
    });
    const again = await promoted('prod/attested', body);
    assert.equal(again.attestation, answer.attestation);
    assert.equal((await referrersOf('prod/attested', image.digest)).length, 2);
    const other = await promoted('prod/attested', { ...body, tags: ['2.1'] });
    assert.notEqual(other.attestation, answer.attestation);
  });

  it('a promotion of a promotion takes the attestation along', async () => {
    await promoted('prod/next', { from: 'prod/attested:2.0', tags: ['2.0'] });
    assert.equal((await referrersOf('prod/next', image.digest)).length, 3);
  });

  it('signatures that the target has already stay', async () => {
    const own = imageManifest();
    await push('prod/signed', cosignTag, own);
    const answer = await promoted('prod/signed', { from: 'dev/api:sha-abc', tags: ['1.0'] });
    assert.deepEqual(answer.leftOut, [{ what: cosignTag, why: 'tag is there' }]);
    assert.equal(await digestAt('prod/signed', cosignTag), own.digest);
    assert.equal(await digestAt('prod/signed', cosign.digest), null);
    assert.equal(await digestAt('prod/signed', '1.0'), image.digest);
  });

  it('a tag of the same repository can be promoted to another tag', async () => {
    const answer = await promoted('dev/api', { from: 'dev/api:sha-abc', tags: ['stable'] }, ADMIN);
    assert.deepEqual(answer.manifests, { total: 6, copied: 0 });
    assert.equal(await digestAt('dev/api', 'stable'), image.digest);
  });

  it('what is in the trash of the target comes back, and what the source has deleted is not promoted', async () => {
    const other = imageManifest();
    await push('dev/api', 'other', other);
    await promoted('prod/trash', { from: 'dev/api:other', tags: ['v1'] });
    await send('DELETE', `/v2/prod/trash/manifests/${other.digest}`);
    assert.equal(await digestAt('prod/trash', 'v1'), null);
    await promoted('prod/trash', { from: 'dev/api:other', tags: ['v1'] });
    await isWhole('prod/trash', other);
    await send('DELETE', `/v2/dev/api/manifests/${other.digest}`);
    const { status, text } = await promote('prod/trash', { from: 'dev/api:other', tags: ['v2'] });
    assert.equal(status, 404, text);
    assert.match(text, /dev\/api has no manifest other/);
  });

  describe('who may', () => {
    const from = 'dev/api:sha-abc';
    const rows: [
      what: string,
      user: keyof typeof USERS,
      target: string,
      body: object,
      want: number,
      says: RegExp,
    ][] = [
      ['pull there and push here', 'promoter', 'prod/who', { from, tags: ['v1'] }, 200, /"done"/],
      [
        'no access to the target',
        'stranger',
        'prod/who',
        { from, tags: ['v1'] },
        404,
        /no repository prod\/who/,
      ],
      [
        'pull of the target only',
        'reader',
        'prod/who',
        { from, tags: ['v1'] },
        403,
        /needs push on prod\/who/,
      ],
      ['no pull of the source', 'blind', 'prod/who', { from, tags: ['v1'] }, 404, /no repository dev\/api/],
      [
        'the other way round',
        'promoter',
        'dev/api',
        { from: 'prod/who:v1', tags: ['v1'] },
        403,
        /needs push on dev\/api/,
      ],
      ['a tag that the access covers', 'limited', 'prod/fresh', { from, tags: ['rc-1'] }, 200, /"done"/],
      [
        'a tag that it does not cover',
        'limited',
        'prod/fresh',
        { from, tags: ['rc-1', '1.0'] },
        403,
        /the tag 1.0 of prod\/fresh may not be set/,
      ],
      [
        'no such source',
        'promoter',
        'prod/who',
        { from: 'dev/none:v1', tags: ['v1'] },
        404,
        /no repository dev\/none/,
      ],
      [
        'no such tag',
        'promoter',
        'prod/who',
        { from: 'dev/api:none', tags: ['v1'] },
        404,
        /has no manifest none/,
      ],
      [
        'a source without a tag',
        'promoter',
        'prod/who',
        { from: 'dev/api', tags: ['v1'] },
        400,
        /REPOSITORY:TAG or REPOSITORY@DIGEST/,
      ],
      [
        'a source with a malformed digest',
        'promoter',
        'prod/who',
        { from: 'dev/api@sha256:abc', tags: ['v1'] },
        400,
        /REPOSITORY:TAG or REPOSITORY@DIGEST/,
      ],
      ['no tags', 'promoter', 'prod/who', { from, tags: [] }, 400, /tags/],
      [
        'a tag of the past as target',
        'promoter',
        'prod/who',
        { from, tags: ['v1--at--20261101T0900Z'] },
        400,
        /can only be pulled/,
      ],
      [
        'a tag of the past as source',
        'promoter',
        'prod/who',
        { from: 'dev/api:v1--at--20261101T0900Z', tags: ['v1'] },
        400,
        /promote its digest/,
      ],
    ];
    for (const [what, user, target, body, want, says] of rows) {
      it(what, async () => {
        const { status, text } = await promote(target, body, USERS[user]);
        assert.equal(status, want, text);
        assert.match(text, says);
      });
    }

    it('a source that the caller may not pull answers as one that does not exist', async () => {
      const hidden = await promote('prod/who', { from, tags: ['v1'] }, USERS.blind);
      const missing = await promote('prod/who', { from: 'dev/none:v1', tags: ['v1'] }, USERS.promoter);
      assert.equal(hidden.text.replaceAll('dev/api', 'dev/none'), missing.text);
    });

    it('access to some tags brings no signature tags, and no referrers to what others have tagged', async () => {
      const fresh = await promoted('prod/limited', { from, tags: ['rc-1'] }, USERS.limited);
      assert.deepEqual(fresh.leftOut, [{ what: cosignTag, why: 'tag not covered' }]);
      assert.equal((await referrersOf('prod/limited', image.digest)).length, 1);
      await push('prod/shared', first.digest, first);
      const shared = await promoted('prod/shared', { from, tags: ['rc-1'] }, USERS.limited);
      assert.deepEqual(shared.leftOut, [{ what: image.digest, why: 'referrers not covered' }]);
      assert.equal((await referrersOf('prod/shared', image.digest)).length, 0);
      const attest = await promote('prod/shared', { from, tags: ['rc-2'], attest: true }, USERS.limited);
      assert.equal(attest.status, 403, attest.text);
      assert.match(attest.text, /cannot attach an attestation/);
    });

    it('a repository that no policy lets the caller create is not created', async () => {
      const { id } = await api.made('POST', '/policies', { kind: 'create', repositories: 'prod/**' });
      const refused = await promote('new/api', { from, tags: ['v1'] }, USERS.narrow);
      await api.call('DELETE', `/policies/${id}`);
      assert.equal(refused.status, 403, refused.text);
      assert.match(refused.text, /needs push on new\/api/);
      assert.equal((await promote('new/api', { from, tags: ['v1'] }, USERS.narrow)).status, 200);
    });

    it('a lifecycle policy of the target holds', async () => {
      const other = imageManifest();
      await push('dev/api', 'other', other);
      await promoted('prod/frozen', { from, tags: ['1.0.0', 'latest'] });
      const policy = { kind: 'tags', repositories: 'prod/frozen', semver: true };
      const { id } = await api.made('POST', '/lifecycle', policy);
      await home.settled();
      const body = { from: 'dev/api:other', tags: ['1.0.0', 'latest'] };
      for (const dryRun of [true, false]) {
        const refused = await promote('prod/frozen', { ...body, dryRun });
        assert.equal(refused.status, 403, refused.text);
        assert.match(refused.text, /the tag 1.0.0 was not moved: it is immutable/);
      }
      assert.equal(await digestAt('prod/frozen', 'latest'), image.digest, 'no tag has moved');
      assert.equal(await digestAt('prod/frozen', other.digest), null, 'nothing was written');
      await promoted('prod/frozen', { from, tags: ['1.0.0'] });
      await promoted('prod/frozen', { ...body, tags: ['latest'] });
      await api.call('DELETE', `/lifecycle/${id}`);
    });

    it('a quota of the target holds, and an image that does not fit is refused before a blob is linked', async () => {
      await promoted('prod/quota', { from, tags: ['rc-1'] });
      const policy = { kind: 'quota', repositories: 'prod/quota', bytes: 2 * LARGE };
      const made = await api.made('POST', '/lifecycle', policy);
      await home.settled();
      while (await home.ringDue('CATALOG', 'catalog'));
      const other = imageManifest({ layers: [blob(2 * LARGE)] });
      await push('dev/api', 'large', other);
      for (const dryRun of [true, false]) {
        const refused = await promote('prod/quota', { from: 'dev/api:large', tags: ['v1'], dryRun });
        assert.equal(refused.status, 403, refused.text);
        assert.match(refused.text, /the image was not promoted: it adds .* left of its quota/);
      }
      assert.equal(
        (await send('HEAD', `/v2/prod/quota/blobs/${digestOf(other.blobs[1] as Buffer)}`)).status,
        404,
      );
      await api.call('DELETE', `/lifecycle/${(made.policy as Json).id}`);
    });
  });
}, GUARDED);
