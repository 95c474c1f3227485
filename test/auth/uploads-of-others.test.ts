/** Uploads that another user began, and blobs of private repositories: knowing their names gives no access. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { GUARDED } from '../management/api.ts';
import { blob, digest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { begin as beginRaw } from '../support/socket.ts';
import { Visitor } from '../support/visitor.ts';
import { PASSWORD, Stage, secretBlob } from './attacks/stage.ts';
import { pushBlob } from './matrix/endpoints.ts';

eachHome((home) => {
  const stage = new Stage(home);
  const { victim, mallory, anonymous } = stage;
  const colleague = new Visitor(home, `colleague:${PASSWORD}`);
  const reader = new Visitor(home, `reader:${PASSWORD}`);
  const secret = digest(secretBlob);

  before(async () => {
    await stage.prepare();
    for (const [name, role] of [
      ['colleague', 'writer'],
      ['reader', 'reader'],
    ]) {
      await stage.api.made('POST', '/users', { name, password: PASSWORD });
      await stage.api.made('POST', '/rules', { subject: `user:${name}`, role, repositories: 'private/*' });
    }
  });

  const begin = async (who: Visitor, name: string) => {
    const { headers } = await who.must(202, 'POST', `/v2/${name}/blobs/uploads/`);
    return headers.get('Location') ?? '';
  };

  describe("the victim's upload", () => {
    const rows: {
      name: string;
      who: Visitor;
      altered: (location: string, own: string) => string;
      want: number;
    }[] = [
      { name: 'anonymous', who: anonymous, altered: (location) => location, want: 401 },
      { name: 'a user without access', who: mallory, altered: (location) => location, want: 401 },
      { name: 'a user who may only read', who: reader, altered: (location) => location, want: 401 },
      {
        name: 'by the name of another repository',
        who: mallory,
        altered: (location) => location.replace('private/app', 'own/app'),
        want: 404,
      },
      {
        name: 'by its id and the proof of another upload',
        who: mallory,
        altered: (location, own) =>
          `${location.split('?')[0]?.replace('private/app', 'own/app')}?${own.split('?')[1]}`,
        want: 404,
      },
      {
        name: 'without its proof',
        who: colleague,
        altered: (location) => location.split('?')[0] ?? '',
        want: 404,
      },
      {
        name: 'with a later end',
        who: colleague,
        altered: (location) => location.replace(/(token=sha256-)[0-9a-z]+/, '$1zzzzzz'),
        want: 404,
      },
      {
        name: 'of another algorithm',
        who: colleague,
        altered: (location) => location.replace('token=sha256', 'token=sha512'),
        want: 404,
      },
      {
        name: 'with another proof',
        who: colleague,
        altered: (location) => location.replace(/[0-9a-f]{64}/, '0'.repeat(64)),
        want: 404,
      },
    ];
    for (const { name, who, altered, want } of rows)
      it(`another user cannot continue the victim's upload: ${name}`, async () => {
        const location = await begin(victim, 'private/app');
        const path = altered(location, await begin(mallory, 'own/app'));
        const evil = blob();
        const and = path.includes('?') ? '&' : '?';
        await stage.refused(async () => [
          await who.must(want, 'PATCH', path, { body: evil }),
          await who.must(want, 'PUT', `${path}${and}digest=${digest(evil)}`, { body: evil }),
          await who.must(want, 'GET', path),
          await who.must(want, 'DELETE', path),
        ]);
        const own = blob();
        await victim.must(201, 'PUT', `${location}&digest=${digest(own)}`, { body: own });
      });

    it("a colleague who has its location continues the victim's upload", async () => {
      const location = await begin(victim, 'private/app');
      const bytes = blob();
      await colleague.must(201, 'PUT', `${location}&digest=${digest(bytes)}`, { body: bytes });
    });
  });

  describe("the victim's blob", () => {
    const mounts = async () => {
      const queries = [
        { mount: secret },
        { mount: secret, from: 'private/app' },
        { mount: secret, from: 'own/app' },
        { mount: secret, from: 'own/none' },
      ].map((query) => new URLSearchParams(query).toString());
      for (const query of queries) await mallory.must(202, 'POST', `/v2/own/new/blobs/uploads/?${query}`);
      await mallory.must(404, 'GET', `/v2/own/new/blobs/${secret}`);
      await mallory.must(404, 'GET', `/v2/own/app/blobs/${secret}`);
      const pullToken = await anonymous.bearer(
        'repository:public/app:pull,push',
        'repository:private/app:pull',
      );
      for (const query of queries)
        await anonymous.must(401, 'POST', `/v2/public/app/blobs/uploads/?${query}`, {
          authorization: pullToken,
        });
    };

    it("another user does not mount the victim's blob by its digest", async () => {
      await stage.harmless(async () => {
        await mounts();
        return [];
      });
    });

    it("another user does not get the victim's blob by a push of other content under its digest", async () => {
      const location = await begin(mallory, 'own/app');
      await stage.refused(() =>
        mallory.must(400, 'PUT', `${location}&digest=${secret}`, { body: blob(secretBlob.length) }),
      );
      await mounts();
    });

    for (const how of ['PUT', 'POST'])
      it(`another user does not get the victim's blob by a ${how} of its digest that merely began`, async () => {
        const location =
          how === 'PUT' ? `${await begin(mallory, 'own/app')}&` : '/v2/own/app/blobs/uploads/?';
        await home.reset({ at: 'BLOB_SHARD.link', how: 'wait' });
        const socket = beginRaw(home.url, {
          method: how,
          target: `${location}digest=${secret}`,
          lines: [`Authorization: ${mallory.basic}`, 'Content-Length: 100000', 'Connection: keep-alive'],
          body: blob(),
        });
        try {
          // The shard has the link, and then the bytes are waited for.
          await home.reached();
          await mounts();
          await home.goOn();
          await mounts();
        } finally {
          socket.destroy();
        }
      });

    it("another user does not get the victim's blob by a manifest that refers to it", async () => {
      const descriptor = { mediaType: 'application/octet-stream', digest: secret, size: secretBlob.length };
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      const body = JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [descriptor] });
      const sent = { body, headers: { 'Content-Type': mediaType } };
      await stage.refused(() => mallory.must(400, 'PUT', '/v2/own/app/manifests/evil', sent));
      await mounts();
    });

    it("the victim's blob can be pushed again by a client that has its bytes", async () => {
      await mallory.must(201, 'POST', `/v2/own/mine/blobs/uploads/?digest=${secret}`, { body: secretBlob });
      assert.equal(
        (await mallory.must(200, 'GET', `/v2/own/mine/blobs/${secret}`)).text,
        secretBlob.toString(),
      );
      assert.notEqual(await pushBlob(mallory, 'own/mine'), secret);
    });
  });
}, GUARDED);
