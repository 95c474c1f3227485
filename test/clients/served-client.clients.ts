// The command as people get it from the registry: by npx, under each Node that is installed, and as a plugin of docker.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { onHome } from '../support/homes.ts';
import { startWall } from '../support/wall.ts';
import { client, located, needs } from './support/client.ts';
import { contents, writeLargeLayout, writeLayout } from './support/layout.ts';

const LIMIT = 100_000_000;
const LARGE_BYTES = 1_500_000_000;

/** The folders of the Node that runs the tests, and of another that is installed. */
const NODES = [
  process.execPath,
  ...(process.env.PATH ?? '').split(delimiter).map((path) => join(path, 'node')),
]
  .filter((path) => existsSync(path))
  .filter((path, at, all) => all.findIndex((other) => versionOf(other) === versionOf(path)) === at)
  .map((path) => dirname(realpathSync(path)));

onHome('disk', (home) => {
  describe('the client that the registry serves', needs('npx', 'docker'), () => {
    let folder = '';
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'longshore-served-'));
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    const npx = (node: string, ...args: string[]) =>
      client('npx', folder, ['--yes', `${home.url}/cli.tgz`])(args, {
        env: {
          PATH: [node, dirname(located('npx')), process.env.PATH].join(delimiter),
          npm_config_cache: join(folder, 'npm'),
          npm_config_update_notifier: 'false',
        },
      });

    for (const node of NODES) {
      test(`the client that the registry serves runs by npx under Node ${versionOf(join(node, 'node'))}`, async () => {
        assert.match(await npx(node, '--help'), /^USAGE\n {2}longshore /);
        assert.match(await npx(node, 'whoami', '--url', home.url), /\(admin\)\n$/);
      });

      test(`the client that the registry serves pushes a layer over the limit by npx under Node ${versionOf(join(node, 'node'))}`, async () => {
        await using wall = await startWall(home.url, LIMIT);
        const layout = await writeLayout(join(folder, 'layout'), { layerBytes: [1.05 * LIMIT, 1000] });
        const target = `${new URL(wall.url).host}/served/${versionOf(join(node, 'node'))}:1`;
        assert.equal(
          await npx(node, 'push', '--quiet', '--to', target, layout.path),
          `${target}@${layout.root.digest}\n`,
        );
        assert.deepEqual(wall.refused, []);
        const pulled = join(folder, 'pulled');
        await npx(node, 'export', '--quiet', target, pulled);
        assert.deepEqual(await contents(pulled), await contents(layout.path));
        rmSync(layout.path, { recursive: true });
        rmSync(pulled, { recursive: true });
      });
    }

    test(
      'the client that the registry serves pushes a layer of 1.5 GB, and crane pulls the same',
      needs('crane'),
      async () => {
        await using wall = await startWall(home.url, LIMIT);
        const layout = await writeLargeLayout(join(folder, 'large'), LARGE_BYTES);
        const pushed = await contents(layout.path);
        const target = `${new URL(wall.url).host}/served/large:1`;
        const [node = ''] = NODES;
        assert.equal(
          await npx(node, 'push', '--quiet', '--to', target, layout.path),
          `${target}@${layout.root.digest}\n`,
        );
        assert.deepEqual(wall.refused, []);
        rmSync(layout.path, { recursive: true });
        const pulled = join(folder, 'pulled');
        await client('crane', folder)(['pull', '--insecure', '--format', 'oci', target, pulled]);
        assert.deepEqual(await contents(pulled), pushed);
        rmSync(pulled, { recursive: true });
      },
    );

    test('the client that the registry serves becomes a plugin of docker, which stays without the cache of npx', async () => {
      const path = (await npx(NODES[0] ?? '', 'install-docker-plugin')).trim();
      assert.equal(path, join(folder, '.docker/cli-plugins/docker-longshore'));
      rmSync(join(folder, 'npm'), { recursive: true });
      const docker = client('docker', folder);
      assert.match(await docker(['--help']), /^ {2}longshore\* +Push images of any size/m);
      assert.match(await docker(['longshore', '--help']), /^USAGE\n {2}longshore /);
      const whoami = ['-H', 'unix:///of/no/daemon', 'longshore', 'whoami', '--url', home.url];
      assert.match(await docker(whoami), /\(admin\)\n$/);
    });
  });
});

function versionOf(node: string): string {
  return execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
}
