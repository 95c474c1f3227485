// The action for GitHub, run as a runner runs it: its script, with the inputs as variables, and the job's OpenID Connect token from
// the runner. The client comes from the registry by npx.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { githubClaims } from '../support/claims.ts';
import { Home } from '../support/homes.ts';
import { TestIssuer } from '../support/issuer.ts';
import { Visitor } from '../support/visitor.ts';
import { client, needs } from './support/client.ts';
import { writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

const ACTION = join(import.meta.dirname, '../../deploy/github-action');
const ISSUER = 'https://token.actions.githubusercontent.com';
const PASSWORD = 'the password of the admin';

describe('the action for GitHub', needs('npx', 'bash'), () => {
  const here = scene('action', null);
  const home = new Home('disk', {
    hasPublicUrl: true,
    vars: { AUTH: 'on', ADMIN_PASSWORD: PASSWORD },
  });
  const issuer = new TestIssuer();
  /** Where a runner gives identity tokens to its job. */
  const runner = createServer(async (request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://runner');
    const isJob = request.headers.authorization === 'Bearer of the job';
    const claims = githubClaims({ iss: ISSUER, aud: searchParams.get('audience') });
    const token = await issuer.sign(claims);
    response.writeHead(isJob ? 200 : 401).end(JSON.stringify({ value: token }));
  });
  const host = () => new URL(home.url).host;

  before(async () => {
    await home.start();
    await issuer.start();
    await new Promise<void>((resolve) => {
      runner.listen(0, '127.0.0.1', resolve);
    });
    await new Visitor(home, `admin:${PASSWORD}`).must(201, 'POST', '/api/v1/trusts', {
      json: {
        name: 'github',
        issuer: ISSUER,
        audience: host(),
        conditions: { repository: 'acme/api' },
        grants: [{ role: 'writer', repositories: 'team/*' }],
        jwks: issuer.keySet,
      },
    });
  });
  after(async () => {
    runner.close();
    await issuer.stop();
    await home.stop();
  });

  const push = async (image: string, tags: string, env: Record<string, string> = {}) => {
    const output = join(await here.fresh('job'), 'output');
    writeFileSync(output, '');
    const { port } = runner.address() as AddressInfo;
    const said = await client('bash', here.home)([join(ACTION, 'push.sh')], {
      env: {
        LONGSHORE_REGISTRY: home.url,
        LONGSHORE_IMAGE: image,
        LONGSHORE_TAGS: tags,
        LONGSHORE_PLATFORM: '',
        GITHUB_OUTPUT: output,
        ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/?api-version=2.0`,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of the job',
        npm_config_update_notifier: 'false',
        ...env,
      },
    });
    return { said, output: readFileSync(output, 'utf8') };
  };

  test('the action for GitHub pushes an OCI layout under two tags with the token of the job, and tells the digest', async () => {
    const { path, root } = await writeLayout(await here.fresh('layout'));
    const { said, output } = await push(path, 'team/app:1\n\nteam/app:latest\n');
    assert.equal(output, `digest=${root.digest}\n`);
    assert.equal(said, `${host()}/team/app:1@${root.digest}\n${host()}/team/app:latest@${root.digest}\n`);
  });

  test('the action for GitHub fails where the trust does not grant the repository', async () => {
    const { path } = await writeLayout(await here.fresh('layout'));
    await assert.rejects(push(path, 'other/app:1'), /other\/app/);
  });

  test('the action for GitHub fails without a tag', async () => {
    await assert.rejects(push('app.tar', '\n'), /::error::tags names nothing/);
  });

  test('the action for GitHub takes an image whose name begins like an option for an image', async () => {
    await assert.rejects(push('--help', 'team/app:1'), /--help/);
  });

  test('the action for GitHub passes each of its inputs on as a variable, and none into a command', () => {
    const action = readFileSync(join(ACTION, 'action.yml'), 'utf8');
    const { inputs, steps } =
      /inputs:\n(?<inputs>.*)outputs:.*steps:\n(?<steps>.*)/s.exec(action)?.groups ?? {};
    const names = [...(inputs ?? '').matchAll(/^ {2}(\w+):$/gm)].map(([, name]) => name);
    assert.deepEqual(names, ['registry', 'image', 'tags', 'platform']);
    for (const name of names) {
      const uses = [...(steps ?? '').matchAll(new RegExp(`inputs\\.${name} `, 'g'))];
      assert.equal(uses.length, 1, name);
      assert.match(
        steps ?? '',
        new RegExp(`^ +LONGSHORE_${name?.toUpperCase()}: \\$\\{\\{ inputs\\.${name} \\}\\}$`, 'm'),
      );
    }
  });
});
