// What clients print when a quota refuses a push: of an image whose layers fit one by one, and of a layer that does not fit alone.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { type Client, client, needs } from './support/client.ts';
import { startDocker } from './support/docker.ts';
import { noise, writeLayout } from './support/layout.ts';
import { type Scene, scene } from './support/registry.ts';

const QUOTA = 100_000;
const MANIFEST =
  /the manifest was not stored: with it, the repository \S+ would hold 1[\d.]+ kB, [\d.]+ kB more than its quota of 100 kB \(lifecycle policy \d+\)\. Delete tags that are not needed \(longshore rm \S+:TAG\), or ask an admin for a larger quota/i;
const BLOB =
  /denied: the blob was not stored: it has 200[.\d]* kB, and the repository \S+ has [\d.]+ kB left of its quota of 100 kB \(lifecycle policy \d+\)\. Delete tags/i;

/** Each repository may hold 100 kB. */
function limited(here: Scene): void {
  before(async () => {
    const made = await fetch(`${here.url}/api/v1/lifecycle`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ kind: 'quota', repositories: '**', bytes: QUOTA }),
    });
    assert.equal(made.status, 201, await made.text());
  });
}

describe('a quota, by crane', needs('crane'), () => {
  const here = scene('quota-crane');
  limited(here);
  const crane = (...args: string[]) => client('crane', here.home, ['--insecure'])(args);

  test('an image over it is refused at its manifest, and one that fits is pushed', async () => {
    const repository = here.repository('quota');
    const over = await writeLayout(await here.fresh('over'), { layerBytes: [60_000, 60_000] });
    await assert.rejects(crane('push', over.path, `${repository}:v1`), MANIFEST);
    const fits = await writeLayout(await here.fresh('fits'), { layerBytes: [60_000] });
    await crane('push', fits.path, `${repository}:v1`);
  });

  test('a layer that does not fit alone is refused when the repository is known', async () => {
    const repository = here.repository('quota');
    await crane(
      'push',
      (await writeLayout(await here.fresh('first'), { layerBytes: [10] })).path,
      `${repository}:v1`,
    );
    const large = await writeLayout(await here.fresh('large'), { layerBytes: [200_000] });
    await assert.rejects(crane('push', large.path, `${repository}:v2`), BLOB);
  });
});

describe('a quota, by oras', needs('oras'), () => {
  const here = scene('quota-oras');
  limited(here);
  const push = async (reference: string, bytes: number) => {
    const folder = await here.fresh('files');
    await writeFile(join(folder, 'file.bin'), noise(bytes));
    return client('oras', here.home)(['push', '--plain-http', reference, 'file.bin'], { cwd: folder });
  };

  test('an artifact over it is refused', async () => {
    const repository = here.repository('quota');
    await push(`${repository}:v1`, 60_000);
    await assert.rejects(push(`${repository}:v2`, 60_000), /denied: the (?:blob|manifest) was not stored/i);
    await push(`${repository}:v2`, 30_000);
  });

  test('a blob that does not fit alone is refused before its bytes', async () => {
    const repository = here.repository('quota');
    const folder = await here.fresh('files');
    await writeFile(join(folder, 'file.bin'), noise(10));
    await client('oras', here.home)(['push', '--plain-http', `${repository}:v1`, 'file.bin'], {
      cwd: folder,
    });
    await assert.rejects(push(`${repository}:v2`, 200_000), BLOB);
  });
});

describe('a quota, by docker', needs('root', 'docker', 'dockerd'), () => {
  const here = scene('quota-docker');
  limited(here);
  let run: Client;
  before(async () => {
    run = await startDocker(here);
  });
  const build = async (reference: string, bytes: number) => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'file'), noise(bytes));
    await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n');
    await run(['build', '--tag', reference, context]);
  };

  test('an image over it is refused, and one that fits is pushed', async () => {
    const reference = `${here.repository('quota')}:v1`;
    await build(reference, 150_000);
    await assert.rejects(run(['push', reference]), /denied: the (?:blob|manifest) was not stored/i);
    await build(reference, 50_000);
    await run(['push', reference]);
  });
});
