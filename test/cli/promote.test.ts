/** `longshore promote`: the real command, against a registry that runs. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Kept } from '../deleting/client.ts';
import { artifact, blob, imageManifest } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';
import { Command } from './support/command.ts';

/** On Cloudflare, they are in more shards than one step asks. */
const LAYERS = 60;

eachHome((home) => {
  const image = imageManifest({ layers: Array.from({ length: LAYERS }, () => blob()) });
  const sbom = artifact({ subject: image.descriptor });
  let source: Kept;
  let target: Kept;
  before(async () => {
    [source, target] = [new Kept(home, 'dev/api'), new Kept(home, 'prod/api')];
    await source.pushManifest('dev/api', 'sha-abc', image);
    await source.pushManifest('dev/api', sbom.digest, sbom);
  });

  const command = new Command(home);
  const run = (...args: string[]) => command.run(args);
  const does = (...args: string[]) => command.does(...args);

  test('a dry run prints what would be done, and does nothing', async () => {
    const out = await does('promote', 'dev/api:sha-abc', 'prod/api:1.4.2', '--dry-run');
    assert.match(
      out,
      /^This would promote dev\/api:sha-abc to prod\/api:\n {2}1\.4\.2\n {2}sha256:\w{64}\n2 manifests of 2 copied, 63 blobs of 63 linked: none of [\d.]+ \w+ copied\.\n$/,
    );
    assert.equal(await target.statusOf('tags/list'), 404);
  });

  test('an image is promoted in all the steps that it takes', async () => {
    await home.reset();
    const out = await does('promote', 'dev/api:sha-abc', 'prod/api:1.4.2', '--tag', '1.4', '--tag', 'latest');
    const { calls } = await home.counts();
    const steps = calls.filter((call) => call === 'REPOSITORY.promotionTree').length;
    assert.equal(steps > 1, home.name === 'r2', `${steps} steps`);
    assert.match(out, /^Promoted dev\/api:sha-abc to prod\/api:\n {2}1\.4\.2\n {2}1\.4\n {2}latest\n/);
    assert.match(out, /2 manifests of 2 copied, 63 blobs of 63 linked/);
    for (const tag of ['1.4.2', '1.4', 'latest'])
      assert.equal(await target.pullManifest('prod/api', tag), image.digest);
    assert.deepEqual(await target.referrersOf(image.digest), [sbom.digest]);
    assert.match(await does('log', 'prod/api:1.4'), /promote from dev\/api:sha-abc/);
  });

  test('what is there already is said, and an attestation can be added', async () => {
    const again = await does('promote', 'dev/api:sha-abc', 'prod/api:1.4.2');
    assert.match(again, /^prod\/api has dev\/api:sha-abc already:/);
    const args = ['promote', `dev/api@${image.digest}`, 'prod/api:1.4.2', '--attest', '--json'];
    const answer = JSON.parse(await does(...args)) as { attestation: string; from: string };
    assert.equal(answer.from, `dev/api@${image.digest}`);
    assert.ok((await target.referrersOf(image.digest)).includes(answer.attestation));
  });

  const wrong: [args: string[], code: number, says: RegExp][] = [
    [['dev/api', 'prod/api:v1'], 2, /Say what to promote from dev\/api: dev\/api:TAG or dev\/api@DIGEST/],
    [['dev/api:sha-abc', 'prod/api'], 2, /Say the tag that the image gets in prod\/api/],
    [['dev/api:none', 'prod/api:v1'], 1, /dev\/api has no manifest none/],
    [['dev/none:v1', 'prod/api:v1'], 1, /there is no repository dev\/none/],
  ];
  for (const [args, want, says] of wrong) {
    test(`longshore promote ${args.join(' ')} is refused`, async () => {
      const { err, code } = await run('promote', ...args);
      assert.equal(code, want, err);
      assert.match(err, says);
    });
  }
});
