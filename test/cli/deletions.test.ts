/** `longshore log`, `diff`, `rm`, `trash`, `restore` and `purge`: the real command, against a registry that runs. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Kept } from '../deleting/client.ts';
import { imageManifest } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { Command } from './support/command.ts';

onHome(
  'disk',
  (home) => {
    const image = imageManifest();
    let client: Kept;
    before(async () => {
      client = new Kept(home, 'team/app');
      for (const tag of ['v1', 'latest']) await client.pushManifest('team/app', tag, image);
      await client.pushManifest('team/app', 'v2', imageManifest());
    });

    const command = new Command(home);
    const run = (...args: string[]) => command.run(args);
    const does = (...args: string[]) => command.does(...args);

    test('what a deletion would remove is printed, and nothing is deleted', async () => {
      const out = await does('rm', 'team/app:latest', '--dry-run');
      assert.match(
        out,
        /^This would delete 1 tag and 0 manifests of team\/app:\n {2}latest\n0 B would be freed by 20/,
      );
      assert.match(out, /It could be undone until 20/);
      assert.equal(await client.statusOf('manifests/latest'), 200);
    });

    test('a deletion says how to undo it, and that command does', async () => {
      const out = await does('rm', `team/app@${image.digest}`);
      assert.match(out, /^Deleted 2 tags and 1 manifest of team\/app:/);
      const [, command = ''] = /Undo it until \S+: longshore (.+)\n/.exec(out) ?? [];
      assert.equal(await client.statusOf('manifests/v1'), 404);
      assert.match(
        await does('trash', 'team/app'),
        /ID +AT +BY +WHY.*\n\S+ +20.* delete +manifests +sha256:/,
      );
      const restored = await does(...command.split(' '));
      assert.match(restored, /^Restored 2 tags and 1 manifest of team\/app\.\n {2}latest {2}sha256:/);
      assert.equal(await client.pullManifest('team/app', 'v1'), image.digest);
    });

    test('the log, the difference of two times, and their JSON', async () => {
      const log = await does('log', 'team/app:v1');
      assert.deepEqual(
        log
          .trim()
          .split('\n')
          .slice(1)
          .map((line) => / (restore|delete|push) /.exec(line)?.[1]),
        ['restore', 'delete', 'push'],
      );
      const { moves } = JSON.parse(await does('log', 'team/app', '--json')) as { moves: { tag: string }[] };
      assert.ok(moves.some(({ tag }) => tag === 'v2'));
      const at = new Date().toISOString();
      await client.pushManifest('team/app', 'v3', image);
      assert.match(await does('diff', 'team/app', at), new RegExp(`v3 +- +${image.digest.slice(7, 19)}`));
      assert.deepEqual(JSON.parse(await does('diff', 'team/app', at, at, '--json')), { tags: [] });
    });

    test('a tag is restored to a time, and a deletion is purged', async () => {
      const then = new Date().toISOString();
      await client.pushManifest('team/app', 'v1', imageManifest());
      assert.match(
        await does('restore', 'team/app:v1', '--at', then, '--dry-run'),
        /^This would restore 1 tag/,
      );
      await does('restore', 'team/app:v1', '--at', then);
      assert.equal(await client.pullManifest('team/app', 'v1'), image.digest);
      const removed = JSON.parse(await does('rm', 'team/app:v2', '--json')) as { deletion: { id: string } };
      await does('purge', 'team/app', '--deletion', removed.deletion.id);
      const { err, code } = await run('restore', 'team/app', '--deletion', removed.deletion.id);
      assert.equal(code, 1);
      assert.match(err, /has no deletion .* that can be undone: list them with longshore trash team\/app/);
    });

    const wrong: [args: string[], says: RegExp][] = [
      [['rm', 'team/app'], /Say what to delete in team\/app: .*or --all/],
      [['rm', 'team/app:v1', '--all'], /--all is for a whole repository/],
      [['rm', 'localhost:5000/team/app:v1'], /does not begin with the name of a repository/],
      [['restore', 'team/app'], /Say what to restore: team\/app:TAG, or --deletion/],
      [['diff', 'team/app', 'yesterday'], /use a time such as/],
    ];
    for (const [args, says] of wrong) {
      test(`longshore ${args.join(' ')} is refused`, async () => {
        const { err, code } = await run(...args);
        assert.equal(code, 2, err);
        assert.match(err, says);
      });
    }

    test('a whole repository is deleted', async () => {
      assert.match(
        await does('rm', 'team/app', '--all'),
        /^Deleted \d+ tags and \d+ manifests of team\/app:/,
      );
      assert.equal(await client.statusOf('tags/list'), 404);
    });
  },
  { vars: { AUTH: 'off' } },
);
