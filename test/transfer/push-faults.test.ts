/** Pushes through a network that fails, to registries that restart. Nothing is lost, and at most one chunk is sent twice. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Credentials, credentialsFor } from '../../cli/transfer/credentials.ts';
import type { TransferEvent } from '../../cli/transfer/events.ts';
import { pushImage } from '../../cli/transfer/push-image.ts';
import type { Source } from '../../cli/transfer/source.ts';
import { verifiedBlob } from '../../cli/transfer/sources/content.ts';
import type { Target } from '../../cli/transfer/target.ts';
import { ChunkLimit } from '../../cli/transfer/upload.ts';
import { eachHome, onHome } from '../support/homes.ts';
import { TestIssuer } from '../support/issuer.ts';
import { Visitor } from '../support/visitor.ts';
import { blobBytes, type Fault, type Passing, startFront } from './support/front.ts';
import { assertPushed, blobOf, imageOf, newTarget } from './support/memory-images.ts';

const CHUNK_BYTES = 1024 * 1024;
/** Three chunks and a rest. */
const LAYER_BYTES = 3 * CHUNK_BYTES + 1000;
const CHUNKS = [1, 2, 3, 4];
const ADMIN = { username: 'admin', password: 'the password of the admin' };
const ISSUER = 'https://token.actions.githubusercontent.com';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'longshore-push-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const push = async (
  source: Source,
  target: Target,
  credentials: () => Promise<Credentials | null> = async () => null,
  env: NodeJS.ProcessEnv = {},
) => {
  const events: TransferEvent[] = [];
  const summary = await pushImage({
    source,
    target,
    credentials,
    jobs: 4,
    env: { XDG_STATE_HOME: folder, ...env },
    limit: new ChunkLimit(CHUNK_BYTES),
    listen: (event) => events.push(event),
  });
  return { summary, events };
};

eachHome((home) => {
  /** Pushes through a front with this fault, and asserts that the image arrived. Returns the bytes that passed. */
  const survives = async (decide: (passing: Passing) => Fault | Promise<Fault>) => {
    let faults = 0;
    await using front = await startFront(
      () => home.url,
      async (passing) => {
        const fault = await decide(passing);
        if (fault !== undefined) faults += 1;
        return fault;
      },
    );
    const image = imageOf([LAYER_BYTES]);
    const target = newTarget(front.host);
    await push(image, target);
    await assertPushed(image, home.url, target);
    return { faults, repeated: blobBytes(front) - image.bytes };
  };

  describe('a push through a network that fails', () => {
    for (const chunk of CHUNKS) {
      it(`a push through a network that fails continues after the connection was cut in chunk ${chunk}`, async () => {
        const { faults, repeated } = await survives(({ method, number }) =>
          method === 'PATCH' && number === chunk ? { cutAfter: 900 } : undefined,
        );
        assert.equal(faults, 1);
        assert(repeated <= CHUNK_BYTES, `${repeated} bytes were sent twice`);
      });

      it(`a push through a network that fails continues after the answer to chunk ${chunk} was lost`, async () => {
        const { faults, repeated } = await survives(({ method, number }) =>
          method === 'PATCH' && number === chunk ? { loseAnswer: true } : undefined,
        );
        assert.equal(faults, 1);
        assert(repeated <= CHUNK_BYTES, `${repeated} bytes were sent twice`);
      });
    }

    it('a push through a network that fails continues if every second answer is lost', async () => {
      const { faults } = await survives(({ total }) => (total % 2 === 1 ? { loseAnswer: true } : undefined));
      assert(faults > 6, `${faults} answers were lost`);
    });

    it('a push through a network that fails continues if one connection after the other is cut in half of a chunk', async () => {
      const { faults } = await survives(({ method, number }) =>
        method === 'PATCH' && number <= 6 ? { cutAfter: CHUNK_BYTES / 2 } : undefined,
      );
      assert.equal(faults, 6);
    });

    it('a push through a network that fails waits when it is told to, by 429 or 503', async () => {
      for (const status of [429, 503]) {
        const headers = { 'Retry-After': '1' };
        const { faults } = await survives(({ method, number }) =>
          ['PATCH', 'PUT', 'POST', 'HEAD'].includes(method) && number === 1 ? { status, headers } : undefined,
        );
        assert.equal(faults, 4);
      }
    });

    it('a push through a network that fails begins while the registry starts behind a front that answers 503', async () => {
      let first: string | null = null;
      let number = 0;
      const { faults } = await survives(({ path }) => {
        first ??= path;
        if (path === first) number += 1;
        // More than the attempts that a host gets that does not answer at all.
        return path === first && number <= 4 ? { status: 503 } : undefined;
      });
      assert.equal(faults, 4);
    });

    it('a push through a network that fails takes smaller chunks if connections are lost before a 413 can be read', async () => {
      const { faults } = await survives(({ method, number }) =>
        method === 'PATCH' && number <= 3 ? { cutAfter: 0 } : undefined,
      );
      assert.equal(faults, 3);
    });
  });
});

onHome('disk', (home) => {
  describe('a push to a registry that restarts', () => {
    for (const chunk of CHUNKS) {
      it(`a push to a registry that restarts continues after the registry was killed in chunk ${chunk}`, async () => {
        let killed = 0;
        let restarted: Promise<void> = Promise.resolve();
        await using front = await startFront(
          () => home.url,
          async ({ method, number }) => {
            await restarted;
            if (method !== 'PATCH' || number !== chunk) return undefined;
            killed += 1;
            return {
              cutAfter: 900,
              after: () => {
                restarted = home.crash();
              },
            };
          },
        );
        const image = imageOf([LAYER_BYTES]);
        const target = newTarget(front.host);
        await push(image, target);
        assert.equal(killed, 1);
        await assertPushed(image, home.url, target);
        assert(blobBytes(front) - image.bytes <= CHUNK_BYTES);
      });
    }
  });

  describe('two pushes of one image at once', () => {
    it('two pushes of one image at once both succeed', async () => {
      const image = imageOf([LAYER_BYTES, LAYER_BYTES]);
      const target = newTarget(new URL(home.url).host);
      await Promise.all([push(image, target), push(image, target)]);
      await assertPushed(image, home.url, target);
    });
  });

  describe('a source that changes while it is read', () => {
    it('a source that changes while it is read is named, and nothing is published', async () => {
      const image = imageOf([LAYER_BYTES]);
      const [digest, bytes] = [...image.contents].find(([, { length }]) => length === LAYER_BYTES) ?? [];
      assert(digest !== undefined && bytes !== undefined);
      const other = Buffer.alloc(LAYER_BYTES, 7);
      let reads = 0;
      const source: Source = {
        ...image,
        async *blobs() {
          yield blobOf(digest, () => {
            reads += 1;
            return reads > 10 ? other : bytes;
          });
        },
      };
      const target = newTarget(new URL(home.url).host);
      await assert.rejects(push(source, target), {
        name: 'CommandFailure',
        message: /^an image in memory changed while it was read: .*\nWait until nothing writes to it/,
      });
      const found = await fetch(`${home.url}/v2/${target.repository}/blobs/${digest}`);
      assert.equal(found.status, 404);
    });

    for (const { who, lost, minDirectBytes } of [
      { who: 'the registry', lost: [], minDirectBytes: 'off' },
      { who: 'the registry', lost: [], minDirectBytes: '1' },
      { who: 'the client', lost: ['longshore-checks'], minDirectBytes: '1' },
    ]) {
      it(`a source that changes while it is read is named if ${who} checks digests, with LONGSHORE_DIRECT=${minDirectBytes}`, async () => {
        const image = imageOf([LAYER_BYTES]);
        const [digest] = [...image.contents].find(([, { length }]) => length === LAYER_BYTES) ?? [];
        assert(digest !== undefined);
        const blob = blobOf(digest, () => Buffer.alloc(LAYER_BYTES, 7));
        const source: Source = {
          ...image,
          async *blobs() {
            yield verifiedBlob(blob.descriptor, blob, image.name);
          },
        };
        await using front = await startFront(
          () => home.url,
          () => undefined,
          lost,
        );
        const target = newTarget(front.host);
        const pushed = push(source, target, undefined, { LONGSHORE_DIRECT: minDirectBytes });
        await assert.rejects(pushed, {
          name: 'CommandFailure',
          message: `The bytes of ${digest} in an image in memory have another digest. They are damaged, or the source changed while it was read.\nWrite the source again, then try again.`,
          exitCode: 1,
        });
        // Only the registry has to have all bytes for its check.
        assert.equal(blobBytes(front) === LAYER_BYTES, who === 'the registry');
        const found = await fetch(`${home.url}/v2/${target.repository}/blobs/${digest}`);
        assert.equal(found.status, 404);
      });
    }

    it('a source that changes while it is read is named if it ends early', async () => {
      const image = imageOf([LAYER_BYTES]);
      const [digest, bytes] = [...image.contents].find(([, { length }]) => length === LAYER_BYTES) ?? [];
      assert(digest !== undefined && bytes !== undefined);
      let reads = 0;
      const source: Source = {
        ...image,
        async *blobs() {
          yield blobOf(digest, () => {
            reads += 1;
            return reads > 20 ? bytes.subarray(0, 1000) : bytes;
          });
        },
      };
      await assert.rejects(push(source, newTarget(new URL(home.url).host)), {
        message: /changed while it was read/,
      });
    });
  });
});

onHome(
  'disk',
  (home) => {
    const admin = new Visitor(home, `${ADMIN.username}:${ADMIN.password}`);
    const statusOf = async ({ repository }: Target) => {
      const headers = { Accept: '*/*' };
      return (await admin.send('GET', `/v2/${repository}/manifests/v1`, { headers })).status;
    };

    describe('a push whose credentials expire', () => {
      const issuer = new TestIssuer();
      /** Where GitHub gives identity tokens to its jobs. */
      const github = createServer(async (request, response) => {
        const audience = new URL(request.url ?? '', 'http://github').searchParams.get('audience');
        response.end(JSON.stringify({ value: await identity(String(audience)) }));
      });
      const identity = (audience: string) =>
        issuer.sign(
          { iss: ISSUER, aud: audience, sub: 'job', jti: randomUUID() },
          { issuedAt: aheadMs / 1000, expiresIn: aheadMs / 1000 + 300 },
        );
      let aheadMs = 0;
      let audience = '';
      before(async () => {
        await issuer.start();
        await once(github.listen(0, '127.0.0.1'), 'listening');
      });
      after(async () => {
        github.close();
        await issuer.stop();
      });

      const manage = async (path: string, json: object): Promise<{ token?: string }> =>
        JSON.parse((await admin.must(201, 'POST', `/api/v1${path}`, { json })).text);
      const trust = async (host: string) => {
        audience = host;
        const grants = [{ role: 'writer', repositories: 'team/**' }];
        const conditions = { sub: 'job' };
        await manage('/trusts', {
          name: `job-${host.replace(':', '-')}`,
          issuer: ISSUER,
          audience,
          conditions,
          grants,
          jwks: issuer.keySet,
        });
      };

      for (const { name, env } of [
        { name: 'a password', env: async () => ({ LONGSHORE_PASSWORD: ADMIN.password }) },
        {
          name: 'a token of the registry',
          env: async () => {
            const grants = [{ role: 'writer', repositories: 'team/**' }];
            const { token } = await manage('/tokens', { name: 'ci', grants });
            return { LONGSHORE_USER: 'ci', LONGSHORE_PASSWORD: token };
          },
        },
        {
          name: 'the job of GitHub',
          env: async (host: string) => {
            await trust(host);
            const { port } = github.address() as AddressInfo;
            return {
              ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/?a=b`,
              ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of the job',
            };
          },
        },
      ] as { name: string; env: (host: string) => Promise<NodeJS.ProcessEnv> }[]) {
        it(`a push whose credentials expire logs in again in the middle: ${name}`, async () => {
          let logins = 0;
          await using front = await startFront(
            () => home.url,
            async ({ method, path, number }) => {
              if (path.startsWith('/token')) logins += 1;
              if (method !== 'PATCH' || number !== 2) return undefined;
              // Every token is older than it may be, also the login of a job.
              aheadMs += 2 * 3600_000;
              await home.setClockAhead(aheadMs);
              return undefined;
            },
          );
          const image = imageOf([LAYER_BYTES]);
          const target = newTarget(front.host);
          const found = { HOME: folder, ...(await env(front.host)) };
          await push(image, target, () => credentialsFor(target, found));
          assert(logins > 1, `${logins} log-ins`);
          assert.equal(await statusOf(target), 200);
        });
      }

      it('a push whose credentials expire goes on with one identity token in a variable, for several pushes of a job', async () => {
        const host = new URL(home.url).host;
        await trust(host);
        const env = { HOME: folder, LONGSHORE_ID_TOKEN: await identity(audience) };
        for (let count = 0; count < 2; count += 1) {
          const target = newTarget(host);
          await push(imageOf([10]), target, () => credentialsFor(target, env));
          assert.equal(await statusOf(target), 200);
        }
      });

      it('a push whose credentials expire says so if the password is no longer taken', async () => {
        await assert.rejects(
          push(imageOf([10]), newTarget(new URL(home.url).host), async () => ({
            ...ADMIN,
            password: 'another one',
          })),
          { status: 401, exitCode: 3 },
        );
      });
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: ADMIN.password } },
);
