/** `longshore lifecycle`, `retention`, `plan` and `running`: the real command, against a registry that runs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { DAY_MS, Kept } from '../deleting/client.ts';
import { AHEAD } from '../durable-objects/calls.ts';
import { imageManifest } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { Command } from './support/command.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy');
const NAME = 'team/app';

onHome('disk', (home) => {
  const image = imageManifest();
  let client: Kept;
  let folder = '';

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'longshore-lifecycle-'));
    client = new Kept(home, NAME);
    for (const [tag, daysAgo] of Object.entries({ old: 60, 'pr-1': 20, 'v1.4.2': 60, main: 1 })) {
      await home.stopClock(AHEAD - daysAgo * DAY_MS);
      await client.pushManifest(NAME, tag, tag === 'old' ? image : imageManifest());
    }
    await home.stopClock(AHEAD);
  });
  after(() => rm(folder, { recursive: true }));

  const command = new Command(home);
  const run = (args: string[], stdin?: string) => command.run(args, stdin);
  const does = (...args: string[]) => command.does(...args);
  const spread = async () => {
    await home.settled();
    while (await home.ringDue('CATALOG', 'catalog'));
  };

  test('a policy is tried on a repository, and nothing is stored', async () => {
    const rules = ['--keep', 'last-pushed=1', '--keep', 'matches=v*', '--after', '30d'];
    const out = await does('lifecycle', 'preview', NAME, ...rules);
    assert.match(out, /^TAG +PUSHED +PULLED +WHY\nmain .* kept: the last pushed\nold .* expired on 20/);
    assert.match(out, /\nv1\.4\.2 .* kept: it matches v\*\n$/);
    const expired = await does('lifecycle', 'preview', NAME, ...rules, '--expired', '--json');
    assert.deepEqual(
      (JSON.parse(expired).tags as { tag: string }[]).map(({ tag }) => tag),
      ['old'],
    );
    assert.equal(await does('lifecycle', 'list'), '');
  });

  test('policies are added, listed, shown and deleted', async () => {
    const rules = [
      '--repositories',
      'team/*',
      '--keep',
      'younger-than=14d',
      '--keep',
      'matches=v*',
      '--after',
      '30d',
    ];
    const tried = await does('lifecycle', 'add', 'retention', ...rules, '--dry-run');
    assert.equal(
      tried,
      'This would add a policy of kind retention for 1 repository: all tags: keeps youngerThan=14, matches=v*; the others expire after 30 days\n',
    );
    assert.match(await does('lifecycle', 'add', 'retention', ...rules), /^1\n$/);
    const tags = ['--repositories', '**', '--semver', '--protected', 'prod', '--except', '0.*'];
    assert.match(await does('lifecycle', 'add', 'tags', ...tags), /^2\n$/);
    assert.match(
      await does('lifecycle', 'list'),
      /^ID +KIND +REPOSITORIES +SAYS\n1 +retention +team\/\* +all tags: keeps .*\n2 +tags +\*\* +immutable: full versions; protected: prod; except: 0\.\*\n$/,
    );
    await spread();
    assert.match(await does('lifecycle', 'show', NAME), /\n1 +retention.*\n2 +tags/);
    const { policies } = JSON.parse(await does('lifecycle', 'show', NAME, '--json'));
    assert.equal(policies.length, 2);
    assert.match(
      await does('lifecycle', 'remove', '2', '--dry-run'),
      /^This would delete a policy of kind tags for 1 /,
    );
    assert.match(await does('lifecycle', 'remove', '2'), /^Deleted a policy of kind tags/);
    const file = join(folder, 'policy.json');
    writeFileSync(file, JSON.stringify({ kind: 'tags', repositories: 'other/*', immutable: ['r-*'] }));
    assert.match(await does('lifecycle', 'add', 'tags', '--file', file), /^3\n$/);
    await spread();
  });

  test('what is wrong with a policy is said', async () => {
    const fails = async (args: string[], says: RegExp) => {
      const { out, err, code } = await run(['lifecycle', 'add', ...args]);
      assert.notEqual(code, 0, out);
      assert.match(err, says);
    };
    await fails(['retention', '--repositories', 'a'], /needs --after/);
    await fails(['retention', '--after', '30h'], /a number of days, such as 30d/);
    await fails(
      ['retention', '--repositories', 'a', '--after', '30d', '--keep', 'oldest=3'],
      /--keep oldest=3 is not a rule\.\nA rule of --keep is one of:/,
    );
    await fails(['retention', '--after', '30d'], /repositories: is a pattern/);
    await fails(['other'], /retention\|tags/);
  });

  test('each tag says what keeps it, and the plan is shown, cancelled, and run', async () => {
    await client.settle();
    assert.match(
      await does('retention', NAME),
      /\nold +20\S+ +- +expired on 20.*: no rule keeps it, and it was pushed 60 days ago\n/,
    );
    const shown = await does('plan', 'show', NAME);
    assert.match(
      shown,
      /^Plan \S+, waiting: 1 tag of 4, 1 manifest, \d+ B\.\nIt deletes 1 tags .* at 20.*\. To stop it: longshore plan cancel team\/app\.\n/,
    );
    assert.match(shown, /\nTAG +PUSHED +POLICY +WHY\nold +20\S+ +1 +expired on /);
    const tried = await does('plan', 'run', NAME, '--dry-run');
    assert.match(tried, /^Plan \S+, waiting:/);
    assert.match(
      await does('plan', 'cancel', NAME),
      /cancelled: .*\nIt was cancelled\. The next plan is made 7 days later\.\n/,
    );
    const again = await run(['plan', 'run', NAME]);
    assert.match(again.err, /there is no plan of team\/app to run/);
    await home.stopClock(AHEAD + 7 * DAY_MS);
    await client.settle();
    await does('plan', 'approve', NAME).catch(() => 'it waits for nobody');
    const { plan } = JSON.parse(await does('plan', 'run', NAME, '--json').then((out) => `{"plan":${out}}`));
    assert.equal(plan.actor, 'user:admin');
    await client.settle();
    const applied = await does('plan', 'show', NAME);
    assert.match(
      applied,
      /applied: .*\nIt deleted \d tags and kept 0\. To undo it: longshore restore team\/app --deletion \S+\.\n/,
    );
    const [, undo = ''] = /To undo it: longshore (.+)\.\n/.exec(applied) ?? [];
    await does(...undo.split(' '));
    await client.settle();
    assert.equal(await client.pullManifest(NAME, 'old'), image.digest);
  });

  test('a host reports the images that it runs', async () => {
    const lines = `registry.example.com/${NAME}@${image.digest}\nnginx:latest\n\n`;
    const { out, err } = await run(['running', 'host-1'], lines);
    assert.equal(err, '');
    assert.equal(out, '1 recorded, 0 ignored\n');
    const rows = await home.rows('CATALOG', 'catalog', 'SELECT repository, source FROM running');
    assert.deepEqual(rows, [{ repository: NAME, source: 'host-1' }]);
  });

  test('the script for a cluster sends what kubectl prints, in reports that fit', async () => {
    const yaml = readFileSync(join(DEPLOY, 'running-images.yaml'), 'utf8');
    const [, script = ''] = /\n {2}report\.sh: \|\n((?: {4}.*\n|\n)+)/.exec(yaml) ?? [];
    assert.match(script, /kubectl get pods --all-namespaces/);
    const digests = Array.from({ length: 620 }, (_, at) => at.toString(16).padStart(64, '0'));
    const images = digests.map((hex) => `docker-pullable://registry.example.com/${NAME}@sha256:${hex}`);
    // kubectl needs a cluster; what it prints is this.
    writeFileSync(join(folder, 'kubectl'), `#!/bin/sh\ncat ${join(folder, 'images')}\n`, { mode: 0o755 });
    writeFileSync(join(folder, 'images'), images.join(' '));
    const env = {
      PATH: `${folder}:${process.env.PATH}`,
      LONGSHORE_URL: home.url,
      LONGSHORE_USER: 'user',
      LONGSHORE_TOKEN: 'token',
      SOURCE: 'cluster-1',
    };
    const child = spawn('sh', ['-c', script.replace(/^ {4}/gm, '')], { env });
    const [out, err, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    assert.equal(code, 0, `${out}${err}`);
    const query = `SELECT COUNT(*) AS count FROM running WHERE source = 'cluster-1'`;
    assert.deepEqual(await home.rows('CATALOG', 'catalog', query), [{ count: 620 }]);
  });
});
