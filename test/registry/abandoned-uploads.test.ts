/**
 * What the registry sees of a body that Cloudflare refuses: an upload that brings no bytes, after a client asked for its digest. It is
 * counted, the next upload of the repository is answered with a warning, and nothing else looks like it.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Client } from '../faults/client.ts';
import { blob, digest, repositoryName } from '../support/fixtures.ts';
import { type Home, onHome } from '../support/homes.ts';
import { send } from '../support/http.ts';
import { Visitor } from '../support/visitor.ts';
import { startWall } from '../support/wall.ts';

const SECOND_MS = 1000;
const DAY_MS = 24 * 3600 * SECOND_MS;
const LIMIT = 20_000_000;

interface Started {
  id: string;
  location: string;
  warning: string | null;
}

/** A client that pushes to a repository of its own, at a time of its own. */
class Pusher {
  readonly name = repositoryName('abandoned');
  readonly #home: Home;
  readonly #visitor: Visitor;
  #ahead: number;

  constructor(home: Home, ahead: number) {
    this.#home = home;
    this.#visitor = new Visitor(home, null);
    this.#ahead = ahead;
  }

  async wait(ms: number): Promise<void> {
    this.#ahead += ms;
    await this.#home.setClockAhead(this.#ahead);
  }

  async asks(bytes: Buffer): Promise<number> {
    return (await this.#visitor.send('HEAD', `/v2/${this.name}/blobs/${digest(bytes)}`)).status;
  }

  async starts(userAgent = 'skopeo/1.18'): Promise<Started> {
    const answer = await this.#visitor.send('POST', `/v2/${this.name}/blobs/uploads/`, {
      headers: { 'User-Agent': userAgent },
    });
    assert.equal(answer.status, 202);
    return {
      id: answer.headers.get('Docker-Upload-UUID') ?? '',
      location: answer.headers.get('Location') ?? '',
      warning: answer.headers.get('Warning'),
    };
  }

  async sends(method: 'PUT' | 'PATCH', location: string, bytes: Buffer): Promise<number> {
    const path = method === 'PUT' ? `${location}&digest=${digest(bytes)}` : location;
    return (await this.#visitor.send(method, path, { body: bytes })).status;
  }

  async pushesAtOnce(bytes: Buffer): Promise<number> {
    const path = `/v2/${this.name}/blobs/uploads/?digest=${digest(bytes)}`;
    return (await this.#visitor.send('POST', path, { body: bytes })).status;
  }

  async cancels({ location }: Started): Promise<void> {
    assert.equal((await this.#visitor.send('DELETE', location)).status, 204);
  }

  /** What a push over the limit leaves, seen when the next one begins. */
  async isRefused(bytes = blob()): Promise<Started> {
    await this.asks(bytes);
    await this.starts();
    await this.wait(5 * SECOND_MS);
    return this.starts();
  }

  async listed(): Promise<{ count: number; userAgent: string; lastAt: string } | undefined> {
    await this.#home.settled();
    const { text } = await this.#visitor.must(200, 'GET', '/api/v1/abandoned-uploads');
    const { repositories } = JSON.parse(text) as {
      repositories: { repository: string; count: number; userAgent: string; lastAt: string }[];
    };
    return repositories.find(({ repository }) => repository === this.name);
  }
}

onHome(
  'r2',
  (home) => {
    let tests = 0;
    let pusher: Pusher;
    // Times only go forward, because all tests share the registry.
    beforeEach(async () => {
      pusher = new Pusher(home, ++tests * 20 * DAY_MS);
      await pusher.wait(0);
    });

    describe('an upload that brings no bytes', () => {
      it('an upload that brings no bytes is counted when the next one begins, which is warned', async () => {
        const bytes = blob();
        assert.equal(await pusher.asks(bytes), 404);
        assert.equal((await pusher.starts('crane/0.20')).warning, null);
        await pusher.wait(5 * SECOND_MS);
        const { warning } = await pusher.starts('podman/5');
        assert.match(warning ?? '', /^299 - "[^"\\]*"$/);
        assert.match(warning ?? '', /100 MB.*\/cli\.tgz push --to /);
        assert.ok((warning?.length ?? 0) < 4096);
        const { count, userAgent } = (await pusher.listed()) ?? {};
        assert.deepEqual([count, userAgent], [1, 'crane/0.20']);
      });

      it('an upload that brings no bytes is counted once', async () => {
        await pusher.isRefused();
        await pusher.starts();
        assert.equal((await pusher.listed())?.count, 1);
      });

      it('an upload that brings no bytes is counted each time that its client tries again', async () => {
        const bytes = blob();
        for (let tries = 0; tries < 3; tries++) {
          await pusher.isRefused(bytes);
          await pusher.wait(5 * SECOND_MS);
        }
        // The last upload of each try is silent, too.
        assert.equal((await pusher.listed())?.count, 5);
        const rows = await home.rows('REPOSITORY', pusher.name, 'SELECT times FROM abandoned_uploads');
        assert.deepEqual(rows, [{ times: 5 }]);
      });

      it('an upload that brings no bytes is known to an isolate that has not seen it, after it was asked for a blob', async () => {
        await pusher.isRefused();
        await home.restart();
        await pusher.wait(0);
        assert.equal((await pusher.starts()).warning, null);
        await pusher.asks(blob());
        assert.notEqual((await pusher.starts()).warning, null);
      });

      it('an upload that brings no bytes is told for a day, counted for 7 days, and then nothing is left', async () => {
        await pusher.isRefused();
        await pusher.wait(DAY_MS);
        assert.equal((await pusher.starts()).warning, null);
        await pusher.wait(5 * DAY_MS);
        assert.notEqual(await pusher.listed(), undefined);
        await pusher.wait(2 * DAY_MS);
        assert.equal(await pusher.listed(), undefined);
        assert.equal(await home.ringDue('REPOSITORY', pusher.name), true);
        assert.equal(await home.isEmpty('REPOSITORY', pusher.name), true);
      });

      it('an upload that brings no bytes is forgotten when its blob arrives by another way', async () => {
        const bytes = blob();
        const { location } = await pusher.isRefused(bytes);
        assert.equal(await pusher.sends('PUT', location, bytes), 201);
        assert.equal(await pusher.listed(), undefined);
        await pusher.asks(blob());
        assert.equal((await pusher.starts()).warning, null);
      });

      it('an upload that brings no bytes is not reported to longshore, which cuts bodies itself', async () => {
        await pusher.isRefused();
        assert.equal((await pusher.starts('longshore')).warning, null);
        assert.notEqual((await pusher.starts('docker/28')).warning, null);
      });

      it('an upload that brings no bytes does not fill the repository', async () => {
        const offeredAt = Date.now();
        for (let n = 0; n < 103; n++) {
          const upload = { id: `upload-${n}`, offeredAt, userAgent: 'x'.repeat(1000), wasCut: true };
          await home.call('REPOSITORY', pusher.name, 'recordAbandoned', pusher.name, [upload]);
        }
        const query = 'SELECT COUNT(*) AS rows, MAX(LENGTH(user_agent)) AS longest FROM abandoned_uploads';
        assert.deepEqual(await home.rows('REPOSITORY', pusher.name, query), [{ rows: 100, longest: 200 }]);
      });
    });

    describe('not counted is', () => {
      const notCounted: { name: string; before: () => Promise<unknown> }[] = [
        { name: 'a probe, whose client asked for no digest', before: () => pusher.starts() },
        {
          name: 'an upload that began before its client asked for a digest',
          before: async () => {
            await pusher.starts();
            await pusher.wait(SECOND_MS);
            await pusher.asks(blob());
          },
        },
        {
          name: 'an upload that was cancelled',
          before: async () => {
            await pusher.asks(blob());
            await pusher.cancels(await pusher.starts());
          },
        },
        {
          name: 'an upload that was cancelled in another isolate',
          before: async () => {
            await pusher.asks(blob());
            const { id } = await pusher.starts();
            await home.call('UPLOAD_SESSION', id, 'cancel', id, claim());
          },
        },
        {
          name: 'a blob that arrived in one PUT',
          before: async () => {
            const bytes = blob();
            await pusher.asks(bytes);
            assert.equal(await pusher.sends('PUT', (await pusher.starts()).location, bytes), 201);
          },
        },
        {
          name: 'an upload that has got a chunk',
          before: async () => {
            const bytes = blob();
            await pusher.asks(bytes);
            assert.equal(await pusher.sends('PATCH', (await pusher.starts()).location, bytes), 202);
          },
        },
        {
          name: 'an upload whose chunk met another isolate',
          before: async () => {
            await pusher.asks(blob());
            const { id } = await pusher.starts();
            await home.call('UPLOAD_SESSION', id, 'begin', id, claim(), { at: 0, reserve: 1, tailMax: 0 });
          },
        },
        {
          name: 'an upload whose PUT met another isolate, and is still arriving',
          before: async () => {
            await pusher.asks(blob());
            const { id } = await pusher.starts();
            await home.call('REPOSITORY', pusher.name, 'uploadBegan', id);
          },
        },
        {
          name: 'an upload of which the repository cannot know, because it has started since',
          before: async () => {
            const bytes = blob();
            await pusher.asks(bytes);
            await pusher.starts();
            await pusher.wait(SECOND_MS);
            await home.evict('REPOSITORY', pusher.name);
            await pusher.asks(bytes);
          },
        },
      ];

      for (const { name, before } of notCounted) {
        it(`an upload is not counted as abandoned: ${name}`, async () => {
          await before();
          await pusher.wait(5 * SECOND_MS);
          assert.equal((await pusher.starts()).warning, null);
          assert.equal(await pusher.listed(), undefined);
        });
      }

      it('an upload that began a moment ago is not counted as abandoned', async () => {
        await pusher.asks(blob());
        await pusher.starts();
        await pusher.wait(3 * SECOND_MS);
        assert.equal((await pusher.starts()).warning, null);
        assert.equal(await pusher.listed(), undefined);
      });

      it('an upload of a repository into which another body is arriving is not counted as abandoned', async () => {
        const bytes = blob();
        await pusher.asks(bytes);
        const { location } = await pusher.starts();
        await pusher.asks(blob());
        await pusher.starts();
        await pusher.wait(5 * SECOND_MS);
        await home.reset({ at: 'UPLOAD_SESSION.begin', how: 'wait' });
        const arriving = pusher.sends('PATCH', location, bytes);
        await home.reached();
        assert.equal((await pusher.starts()).warning, null);
        await home.goOn();
        assert.equal(await arriving, 202);
        assert.equal(await pusher.listed(), undefined);
      });
    });

    describe('the repository', () => {
      const told = async () =>
        (await home.counts()).calls.filter((call) => call === 'REPOSITORY.uploadBegan');

      it('the repository hears of a PUT whose POST met another isolate', async () => {
        const bytes = blob();
        const { location } = await pusher.starts();
        await home.restart();
        await pusher.wait(0);
        await home.reset();
        assert.equal(await pusher.sends('PUT', location, bytes), 201);
        await home.settled();
        assert.equal((await told()).length, 1);
      });

      it('the repository does not hear of a PUT whose POST met the same isolate, nor of a single POST', async () => {
        const [bytes, others] = [blob(), blob()];
        await home.reset();
        assert.equal(await pusher.sends('PUT', (await pusher.starts()).location, bytes), 201);
        assert.equal(await pusher.pushesAtOnce(others), 201);
        await home.settled();
        assert.equal((await told()).length, 0);
      });
    });

    describe('a body without a length', () => {
      /** Sends this many bytes to a front that refuses more than the limit. */
      const sends = async (bytes: number) => {
        await using wall = await startWall(home.url, LIMIT);
        await pusher.asks(blob());
        const { location } = await pusher.starts('docker/28');
        const body = blob(bytes);
        await home.reset();
        const sent = send(wall.url, 'PATCH', location, { body, chunked: true });
        const status = await sent.then(
          (answer) => answer.status,
          () => null,
        );
        await home.ended(1);
        await home.settled();
        return status;
      };

      it('a body without a length that breaks off at the limit is counted at once', async () => {
        assert.notEqual(await sends(LIMIT * 1.1), 202);
        const { count, userAgent } = (await pusher.listed()) ?? {};
        assert.deepEqual([count, userAgent], [1, 'docker/28']);
        assert.notEqual((await pusher.starts()).warning, null);
      });

      it('a body without a length that breaks off elsewhere is not counted', async () => {
        const { location } = await pusher.starts('docker/28');
        const some = Buffer.concat([Buffer.from('5\r\n'), Buffer.from('bytes\r\n')]);
        await pusher.asks(blob());
        await home.reset();
        await new Client(home).cut('PATCH', location, { 'Transfer-Encoding': 'chunked' }, some);
        await home.ended(1);
        assert.equal(await pusher.listed(), undefined);
      });
    });
  },
  { vars: { BODY_LIMIT_BYTES: String(LIMIT) } },
);

onHome('disk', (home) => {
  it('an upload that brings no bytes is not counted where no body is refused', async () => {
    const pusher = new Pusher(home, 0);
    assert.equal((await pusher.isRefused()).warning, null);
    assert.equal(await pusher.listed(), undefined);
  });
});

function claim() {
  return { algorithm: 'sha256', expiresAt: Date.now() + 400 * DAY_MS, begun: false };
}
