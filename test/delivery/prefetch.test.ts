/**
 * A GET of a manifest warms the blob domain with its blobs, within bounds and once. What was done is in the log, for whose
 * line the tests wait: that nothing was fetched is only seen when a later manifest has been dealt with.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blob, imageIndex, imageManifest, type Manifest } from '../support/fixtures.ts';
import { type Home, onHome } from '../support/homes.ts';
import { pushBlob, pushManifest, REDIRECTED_BYTES, send } from './client.ts';

const LIMIT = { timeout: 60_000 };
const blobDomain = { secrets: ['secret'], ttl: 1500 };

interface Seen {
  method: string;
  path: string;
  authorization: boolean;
  range: string | null;
  status: number;
}

/** The lines that the Worker logs, and who waits for one. */
class Log {
  readonly #lines: string[] = [];
  readonly #waiting = new Map<string, (line: string) => void>();

  readonly add = (line: string): void => {
    this.#lines.push(line);
    for (const [text, resolve] of this.#waiting) if (line.includes(text)) resolve(line);
  };

  /** Resolves with the first line that has a text. */
  line(text: string): Promise<string> {
    const known = this.#lines.find((line) => line.includes(text));
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiting.set(text, resolve));
  }

  count(text: string): number {
    return this.#lines.filter((line) => line.includes(text)).length;
  }
}

describe('PREFETCH=true', () => {
  const log = new Log();
  onHome(
    'r2',
    (home) => {
      it('PREFETCH=true fetches the blobs that would be redirected, whole, and says so', LIMIT, async () => {
        const { manifest, path } = await push(home, [100_000, 70_000, REDIRECTED_BYTES, 1000]);
        await seen(home);
        const answer = await send(home.url, path, { headers: { Authorization: 'Basic YTpi' } });
        assert.ok(answer.body.equals(manifest.bytes));
        const bytes = 170_000 + REDIRECTED_BYTES;
        assert.match(await log.line(manifest.digest), new RegExp(`: 3 of 5 blobs, ${bytes} bytes$`));
        const requests = await seen(home);
        assert.deepEqual(
          requests.map(({ path, ...rest }) => rest),
          Array.from({ length: 3 }, () => ({
            method: 'GET',
            authorization: false,
            range: null,
            status: 200,
          })),
        );
        assert.equal(new Set(requests.map(({ path }) => path)).size, 3);
      });

      it('PREFETCH=true fetches what a client is then sent to', LIMIT, async () => {
        const { manifest, path, repository } = await push(home, [REDIRECTED_BYTES]);
        await seen(home);
        await send(home.url, path);
        await log.line(manifest.digest);
        const [request] = await seen(home);
        const layer = JSON.parse(manifest.bytes.toString()).layers[0].digest;
        const { headers } = await send(home.url, `/v2/${repository}/blobs/${layer}`);
        // Unless a window has ended in between, it is the very same URL; a cache ignores the query.
        const key = new URL(headers.location ?? '').pathname;
        assert.equal(request?.path.split('?')[0], key);
      });

      const none: [
        name: string,
        ask: (home: Home, first: Awaited<ReturnType<typeof push>>) => Promise<unknown>,
      ][] = [
        [
          'the second time',
          async (home, { path, manifest }) => {
            await send(home.url, path);
            await log.line(manifest.digest);
            await seen(home);
            await send(home.url, path);
            return send(home.url, path.replace(/[^/]+$/, manifest.digest));
          },
        ],
        ['for a HEAD', (home, { path }) => send(home.url, path, { method: 'HEAD' })],
        ['for a manifest that is not there', (home, { path }) => send(home.url, `${path}x`)],
        [
          'for an index: the client chooses',
          async (home, { manifest, repository }) => {
            const index = imageIndex([manifest]);
            return send(home.url, await pushManifest(home, repository, index, 'index'));
          },
        ],
      ];
      for (const [name, ask] of none) {
        it(`PREFETCH=true fetches nothing ${name}`, LIMIT, async () => {
          const first = await push(home, [REDIRECTED_BYTES]);
          const later = await push(home, [80_000]);
          await seen(home);
          await ask(home, first);
          await send(home.url, later.path);
          await log.line(later.manifest.digest);
          assert.equal((await seen(home)).length, 1, 'the blob of the later manifest');
          assert.ok(log.count(first.manifest.digest) <= 1);
        });
      }

      it('PREFETCH=true fetches at most 20 blobs of a manifest', LIMIT, async () => {
        const { manifest, path } = await push(
          home,
          Array.from({ length: 23 }, () => REDIRECTED_BYTES),
        );
        await seen(home);
        await send(home.url, path);
        // The config is the first of the twenty, and too small.
        assert.match(await log.line(manifest.digest), /: 19 of 24 blobs/);
        assert.equal((await seen(home)).length, 19);
      });
    },
    { vars: { PREFETCH: 'true' }, blobDomain, onLog: log.add },
  );
});

describe('PREFETCH=2', () => {
  const log = new Log();
  onHome(
    'r2',
    (home) => {
      it('PREFETCH=2 looks at two blobs of a manifest', LIMIT, async () => {
        const { manifest, path } = await push(home, [REDIRECTED_BYTES, REDIRECTED_BYTES, REDIRECTED_BYTES]);
        await seen(home);
        await send(home.url, path);
        assert.match(await log.line(manifest.digest), /: 1 of 4 blobs/);
        assert.equal((await seen(home)).length, 1);
      });
    },
    { vars: { PREFETCH: '2' }, blobDomain, onLog: log.add },
  );
});

describe('a blob domain that refuses', () => {
  const log = new Log();
  onHome(
    'r2',
    (home) => {
      it('a blob domain that refuses harms no pull of a manifest, and is in the log', LIMIT, async () => {
        const { manifest, path } = await push(home, [REDIRECTED_BYTES]);
        const answer = await send(home.url, path);
        assert.equal(answer.status, 200);
        assert.match(await log.line(manifest.digest), /: 0 of 2 blobs, 0 bytes$/);
        assert.deepEqual(
          (await seen(home)).map(({ status }) => status),
          [403],
        );
      });
    },
    { vars: { PREFETCH: 'true', BLOB_URL_SECRETS: 'not that of the rule' }, blobDomain, onLog: log.add },
  );
});

/** What came to the blob domain since it was last asked. */
async function seen(home: Home): Promise<Seen[]> {
  return JSON.parse((await send(home.blobDomain, '/requests')).body.toString());
}

/** A manifest with layers of these sizes. */
async function push(
  home: Home,
  sizes: number[],
): Promise<{ manifest: Manifest; repository: string; path: string }> {
  const manifest = imageManifest({ layers: sizes.map((size) => blob(size)) });
  const [config = blob(), ...layers] = manifest.blobs;
  const { repository } = await pushBlob(home, config);
  for (const layer of layers) await pushBlob(home, layer, repository);
  return { manifest, repository, path: await pushManifest(home, repository, manifest) };
}
