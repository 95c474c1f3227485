// Clients that push a layer over the limit of request bodies, through a front that refuses it as Cloudflare does. The registry counts
// it and warns the next push. oras prints warnings. So do podman and skopeo in later releases than Debian 12 has.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { onHome } from '../support/homes.ts';
import { startWall, type Wall } from '../support/wall.ts';
import { client, needs } from './support/client.ts';
import { startDocker } from './support/docker.ts';
import { noise, writeLayout } from './support/layout.ts';
import { podmanStorage, scene } from './support/registry.ts';

const CLIENTS = ['root', 'docker', 'dockerd', 'podman', 'skopeo', 'crane', 'oras'];
const LIMIT = 20_000_000;
const TOO_LARGE = 25_000_000;
const LATER_MS = 10_000;
const LOOK_MS = 50;
const WARNING = /Cloudflare refuses request bodies over 100 MB.*\/cli\.tgz push/;

onHome(
  'r2',
  (home) => {
    describe('a layer over the limit', needs(...CLIENTS), () => {
      const here = scene('large', null);
      let wall: Wall;
      let ahead = 0;
      before(async () => {
        wall = await startWall(home.url, LIMIT);
      });
      after(() => wall[Symbol.asyncDispose]());

      const later = async () => {
        ahead += LATER_MS;
        await home.setClockAhead(ahead);
      };
      /** What a client writes while it fails. */
      const failing = async (pushing: Promise<string>) => {
        const error = await pushing.then(
          (output) => assert.fail(`it does not fail: ${output}`),
          (reason: Error) => reason,
        );
        return error.message;
      };
      const listed = async (name: string) => {
        await home.settled();
        const answer = await fetch(`${home.url}/api/v1/abandoned-uploads`);
        const { repositories } = (await answer.json()) as {
          repositories: { repository: string; count: number; userAgent: string }[];
        };
        return repositories.find(({ repository }) => repository === name);
      };
      /** The client of the last abandoned upload, once it is counted. The registry may still be reading when its client has failed. */
      const clientOf = async (name: string) => {
        for (;;) {
          const found = await listed(name);
          if (found !== undefined) return found.userAgent;
          await setTimeout(LOOK_MS);
        }
      };
      /** Pushes twice, and once more after the registry has seen the second begin. Answers what the client wrote the last time. */
      const pushes = async (push: () => Promise<string>) => {
        await failing(push());
        await later();
        return failing(push());
      };

      const host = () => new URL(wall.url).host;

      test('a layer over the limit is counted for oras, which prints the warning', async () => {
        const folder = await here.fresh('files');
        await writeFile(join(folder, 'file'), noise(TOO_LARGE));
        const oras = client('oras', here.home, ['push', '--plain-http']);
        const said = await pushes(() => oras([`${host()}/large/oras:1`, 'file'], { cwd: folder }));
        assert.match(said, WARNING);
        assert.match(await clientOf('large/oras'), /^oras\//);
      });

      test('a layer over the limit is counted for crane', async () => {
        const { path } = await writeLayout(await here.fresh('layout'), { layerBytes: [TOO_LARGE] });
        const crane = client('crane', here.home);
        await pushes(() => crane(['push', '--insecure', path, `${host()}/large/crane:1`]));
        assert.match(await clientOf('large/crane'), /^crane\//);
      });

      test('a layer over the limit is counted for skopeo', async () => {
        const { path } = await writeLayout(await here.fresh('layout'), { layerBytes: [TOO_LARGE] });
        const skopeo = client('skopeo', here.home, ['--insecure-policy', 'copy', '--dest-tls-verify=false']);
        await pushes(() => skopeo([`oci:${path}:latest`, `docker://${host()}/large/skopeo:1`]));
        assert.match(await clientOf('large/skopeo'), /^skopeo\//);
      });

      test('a layer over the limit is counted for podman, which compresses as it sends', async () => {
        const context = await here.fresh('context');
        await writeFile(join(context, 'file'), noise(TOO_LARGE));
        await writeFile(join(context, 'Containerfile'), 'FROM scratch\nCOPY file /file\n');
        const podman = client('podman', here.home, podmanStorage(here));
        const reference = `${host()}/large/podman:1`;
        await podman(['build', '--isolation', 'chroot', '-t', reference, context]);
        await failing(podman(['push', '--tls-verify=false', reference]));
        assert.match(await clientOf('large/podman'), /^containers\//);
      });

      test('a layer over the limit is counted for docker, at its first try', async () => {
        const docker = await startDocker(here);
        const folder = await here.fresh('files');
        await writeFile(join(folder, 'file'), noise(TOO_LARGE));
        await client('tar', here.home)(['-cf', join(folder, 'files.tar'), '-C', folder, 'file']);
        const reference = `${host()}/large/docker:1`;
        await docker(['import', join(folder, 'files.tar'), reference]);
        const tries = new AbortController();
        const pushing = failing(docker(['push', reference], { signal: tries.signal }));
        assert.match(await clientOf('large/docker'), /^docker\//);
        tries.abort(); // docker would try five times.
        await pushing;
      });

      test('a layer over the limit is not seen in pushes below the limit', async () => {
        const { path } = await writeLayout(await here.fresh('layout'), {
          layerBytes: [LIMIT / 2, 1000, 10],
        });
        const crane = client('crane', here.home);
        for (let tries = 0; tries < 2; tries++) {
          await crane(['push', '--insecure', path, `${host()}/large/small:${tries}`]);
          await later();
        }
        assert.equal(await listed('large/small'), undefined);
      });
    });
  },
  { vars: { BODY_LIMIT_BYTES: String(LIMIT) } },
);
