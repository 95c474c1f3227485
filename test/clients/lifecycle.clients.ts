// What docker, crane and oras print where a lifecycle policy refuses: the tag, the policy, and what to do about it.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { type Client, client, needs } from './support/client.ts';
import { startDocker } from './support/docker.ts';
import { noise, writeLayout } from './support/layout.ts';
import { type Scene, scene } from './support/registry.ts';

const MOVED =
  /the tag 1\.4\.2 was not moved: it is immutable \(semver, lifecycle policy \d+\) and has another digest\. Push another tag, or ask an admin to change the policy/;
const DELETED = /the tag 1\.4\.2 was not deleted: it is immutable \(semver, lifecycle policy \d+\)/;

describe('an immutable tag, by crane', needs('crane'), () => {
  const here = scene('crane-frozen');
  before(() => freeze(here));
  const crane = (...args: string[]) => client('crane', here.home, ['--insecure'])(args);

  test('is pushed again as it is, and refused with another image', async () => {
    const repository = here.repository('frozen');
    const [one, two] = [
      await writeLayout(await here.fresh('one')),
      await writeLayout(await here.fresh('two')),
    ];
    await crane('push', '--index', one.path, `${repository}:1.4.2`);
    const digest = await crane('digest', `${repository}:1.4.2`);
    await crane('push', '--index', one.path, `${repository}:1.4.2`);
    await assert.rejects(crane('push', '--index', two.path, `${repository}:1.4.2`), refusal(/DENIED/, MOVED));
    await crane('push', '--index', two.path, `${repository}:1.4.3`);
    await assert.rejects(crane('tag', `${repository}:1.4.3`, '1.4.2'), refusal(/DENIED/, MOVED));
    await crane('tag', `${repository}:1.4.2`, '1.4');
    await crane('tag', `${repository}:1.4.3`, '1.4');
    await assert.rejects(crane('delete', `${repository}:1.4.2`), refusal(/DENIED/, DELETED));
    assert.equal(await crane('digest', `${repository}:1.4.2`), digest);
  });
});

describe('an immutable tag, by oras', needs('oras'), () => {
  const here = scene('oras-frozen');
  before(() => freeze(here));
  const oras = (cwd: string, ...args: string[]) =>
    client('oras', here.home)([...args, '--plain-http'], { cwd });

  test('is pushed once, and refused with other files', async () => {
    const folder = await here.fresh('files');
    for (const name of ['one', 'two']) await writeFile(join(folder, name), noise(100));
    const reference = `${here.repository('frozen')}:1.4.2`;
    await oras(folder, 'push', reference, 'one');
    await assert.rejects(oras(folder, 'push', reference, 'two'), refusal(/denied/, MOVED));
    await assert.rejects(
      oras(folder, 'manifest', 'delete', '--force', reference),
      refusal(/denied/, DELETED),
    );
    await oras(folder, 'pull', '--output', await here.fresh('pulled'), reference);
  });
});

describe('an immutable tag, by docker', needs('root', 'docker', 'dockerd'), () => {
  const here = scene('docker-frozen');
  let run: Client;
  before(async () => {
    await freeze(here);
    run = await startDocker(here);
  });
  const build = async (reference: string) => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'file'), noise(1000));
    await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n');
    await run(['build', '--tag', reference, context]);
  };

  test('is pushed again as it is, and refused with another image', async () => {
    const reference = `${here.repository('frozen')}:1.4.2`;
    await build(reference);
    await run(['push', reference]);
    await run(['push', reference]);
    await build(reference);
    await assert.rejects(run(['push', reference]), refusal(/denied/i, MOVED));
    await run(['pull', reference]);
  });
});

/** Full versions of all repositories are immutable. Access control is off, so any client here is an admin. */
async function freeze(here: Scene): Promise<void> {
  const policy = { kind: 'tags', repositories: 'clients/**', semver: true };
  const headers = { 'Content-Type': 'application/json' };
  const made = await fetch(`${here.url}/api/v1/lifecycle`, {
    method: 'POST',
    headers,
    body: JSON.stringify(policy),
  });
  assert.equal(made.status, 201, await made.text());
}

function refusal(...patterns: RegExp[]) {
  return ({ message }: Error): boolean => {
    for (const pattern of patterns) assert.match(message, pattern);
    return true;
  };
}
