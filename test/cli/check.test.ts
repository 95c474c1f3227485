/** `longshore check`: the real command, against a registry that runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Checked, VARS } from '../check/support.ts';
import { Client } from '../faults/client.ts';
import { blob, digest as digestOf, imageManifest } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { Command } from './support/command.ts';

onHome(
  'disk',
  (home) => {
    const command = new Command(home);
    const run = (...args: string[]) => command.run(['check', ...args]);

    test('what is wrong is printed with what to do, and the exit code says it', async () => {
      const client = new Client(home);
      const checked = new Checked(home);
      const [lost, unlinked] = [blob(90_000), blob(80_000)];
      await client.pushManifest('team/app', 'v1', imageManifest({ layers: [lost] }));
      await client.pushManifest('team/app', 'v2', imageManifest({ layers: [unlinked] }));
      const clean = await run();
      assert.equal(clean.code, 0, clean.err);
      assert.match(
        clean.out,
        /^Compared 4 contents, 4 links and 4 blobs of repositories with 4 stored contents\.\nEverything fits\.\n$/,
      );

      await home.tamper((await checked.blobOf('team/app', digestOf(lost))).key, null);
      await checked.rowsOfShard(
        digestOf(unlinked),
        `DELETE FROM links WHERE digest = '${digestOf(unlinked)}'`,
      );
      const found = await run();
      assert.equal(found.code, 1);
      assert.match(found.out, /FINDING +WHAT +STATE +ADVICE\n/);
      assert.match(found.out, /blob without a link +team\/app sha256:\w+ blobs\/\S+ +found/);
      assert.match(found.out, /lost bytes +sha256:\w+ blobs\/\S+ +found +Repairing drops it/);
      assert.match(found.err, /2 findings are not repaired\.\nRun it with --repair/);

      const repaired = await run('--repair', '--json');
      assert.equal(repaired.code, 1, 'what is lost must be pushed again');
      const { results } = JSON.parse(repaired.out) as { results: { kind: string; state: string }[] };
      assert.deepEqual(
        results.map(({ kind, state }) => `${kind} ${state}`),
        ['unlinked repaired', 'lost lost'],
      );
      assert.match(repaired.err, /1 finding is not repaired\.\nThe column ADVICE says what to do\./);
      await client.pushBlob('team/app', lost);
      assert.equal((await run()).code, 0);
    });

    test('a number of calls that the registry does not take is a wrong argument', async () => {
      const { code, err } = await run('--calls', '5');
      assert.equal(code, 2);
      assert.match(err, /calls are a number from 10 to 900/);
    });
  },
  { vars: VARS },
);
