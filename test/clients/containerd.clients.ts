// containerd's own client, ctr, with a containerd of the suite's own: it imports a layout, pushes it, forgets it, fetches it
// back, and exports what came. This is the way that Kubernetes, nerdctl and newer Dockers push and pull.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type Client, client, needs } from './support/client.ts';
import { startContainerd } from './support/containerd.ts';
import { contents, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

describe('ctr', needs('root', 'containerd', 'ctr'), () => {
  const here = scene('containerd');
  let ctr: Client;
  before(async () => {
    ctr = await startContainerd(here);
  });

  for (const { name, architectures } of [
    { name: 'one manifest', architectures: ['amd64'] },
    { name: 'an index of two platforms', architectures: ['amd64', 'arm64'] },
  ]) {
    test(`ctr pushes ${name}, and fetches it back`, async () => {
      const layout = await writeLayout(await here.fresh('pushed'), {
        architectures,
        layerBytes: [6_000_000, 10],
      });
      const archive = `${layout.path}.tar`;
      await client('tar', here.home)(['-cf', archive, '-C', layout.path, '.']);
      const repository = here.repository('ctr');
      await ctr(['images', 'import', '--all-platforms', '--no-unpack', '--base-name', repository, archive]);
      const reference = `${repository}:latest`;
      await ctr(['images', 'push', '--plain-http', reference]);

      await ctr(['images', 'rm', '--sync', reference]);
      const left = await ctr(['content', 'ls', '--quiet']);
      for (const line of await contents(layout.path)) {
        assert(!left.includes(line.split(' ')[0] ?? ''), `containerd has forgotten ${line}`);
      }
      await ctr(['content', 'fetch', '--plain-http', '--all-platforms', reference]);
      const exported = await here.fresh('exported');
      // Without --local the archive is streamed by the daemon, and ctr can end before its last bytes are written.
      await ctr(['images', 'export', '--local', '--all-platforms', `${exported}.tar`, reference]);
      await client('tar', here.home)(['-xf', `${exported}.tar`, '-C', exported]);
      assert.deepEqual(await contents(exported), await contents(layout.path));
      await ctr(['images', 'rm', '--sync', reference]);
    });
  }
});
