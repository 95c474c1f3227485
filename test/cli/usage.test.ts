/** `longshore usage`, and quotas by `longshore lifecycle`: the real command, against a registry that runs. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Kept } from '../deleting/client.ts';
import { blob, imageManifest } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { Command } from './support/command.ts';

onHome('disk', (home) => {
  let client: Kept;
  before(async () => {
    client = new Kept(home, 'team/app');
    const [small, large] = [100_000, 200_000].map((size) =>
      imageManifest({ config: blob(1000), layers: [blob(size - 1000)] }),
    );
    for (const [name, tag, image] of [
      ['team/app', 'v1', small],
      ['team/app', 'old', large],
      ['team/web', 'v1', large],
    ] as const)
      await client.pushManifest(name, tag, image ?? assert.fail());
  });

  const command = new Command(home);
  const run = (...args: string[]) => command.run(args);
  const does = (...args: string[]) => command.does(...args);

  test('the usage of a repository, with its trash and what is left of its quotas', async () => {
    await does('rm', 'team/app:old');
    const added = ['lifecycle', 'add', 'quota', '--repositories', 'team/**', '--max-bytes', '400 kB'];
    const id = (await does(...added, '--max-tags', '10')).trim();
    const soft = (
      await does('lifecycle', 'add', 'quota', '--repositories', 'team/app', '--max-tags', '1', '--soft')
    ).trim();
    assert.match(
      await does('lifecycle', 'list'),
      /quota +team\/\*\* +at most 400 kB and 10 tags in each\n.*quota +team\/app +at most 1 tag in each; pushes over it are only recorded/,
    );
    while (await home.ringDue('CATALOG', 'catalog'));
    assert.equal(
      await does('usage', 'team/app'),
      [
        'team/app holds 100 kB in 1 manifest and 1 tag, and 200 kB in its trash.',
        `Quota ${id}: 25 % of 400 kB used, 300 kB left; pushes over it are refused.`,
        `Quota ${id}: 10 % of 10 tags used, 9 tags left; pushes over it are refused.`,
        `Quota ${soft}: 100 % of 1 tag used, 0 tags left; pushes over it are only recorded.`,
        '',
      ].join('\n'),
    );
    const { bytes, trashedBytes, quotas } = JSON.parse(await does('usage', 'team/app', '--json'));
    assert.deepEqual([bytes, trashedBytes, quotas.length], [100_000, 200_000, 3]);
  });

  test('all repositories, the largest first', async () => {
    assert.match(
      await does('usage'),
      /^REPOSITORY +SIZE +TRASH +TAGS +MANIFESTS\nteam\/web +200 kB +0 B +1 +1\nteam\/app +100 kB +200 kB +1 +1\n$/,
    );
  });

  test('a size that cannot be read is refused with an example', async () => {
    const { err, code } = await run(
      'lifecycle',
      'add',
      'quota',
      '--repositories',
      '**',
      '--max-bytes',
      '10GiB',
    );
    assert.notEqual(code, 0);
    assert.match(err, /use a size, such as 500MB or 10GB/);
  });

  test('a quota of nothing is refused', async () => {
    const { err, code } = await run('lifecycle', 'add', 'quota', '--repositories', '**');
    assert.notEqual(code, 0);
    assert.match(err, /has bytes or tags/);
  });

  test('an unknown repository is an error', async () => {
    const { err, code } = await run('usage', 'team/none');
    assert.notEqual(code, 0);
    assert.match(err, /there is no repository team\/none/);
  });
});
