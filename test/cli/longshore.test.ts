/** `longshore`: the real command, against a registry that runs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { onHome } from '../support/homes.ts';

const COMMAND = join(import.meta.dirname, '../../cli/longshore.ts');
const PASSWORD = 'the password of the admin';

onHome(
  'disk',
  (home) => {
    let folder = '';
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'longshore-cli-'));
      writeFileSync(join(folder, 'admin-password'), `${PASSWORD}\n`);
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    /** With the password that is kept beside the registry, unless `env` says otherwise. */
    const run = async (args: string[], env: Record<string, string> = {}, stdin = '') => {
      const { PATH, NODE_COMPILE_CACHE } = process.env;
      const child = spawn(process.execPath, [COMMAND, ...args], {
        env: { PATH, NODE_COMPILE_CACHE, STATE_DIR: folder, LONGSHORE_URL: home.url, ...env },
      });
      child.stdin.on('error', () => {});
      child.stdin.end(stdin);
      const [out, err, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'exit'),
      ]);
      return { out, err, code: code as number };
    };
    const does = async (args: string[], says: RegExp, env: Record<string, string> = {}, stdin = '') => {
      const { out, err, code } = await run(args, env, stdin);
      assert.equal(code, 0, err);
      assert.equal(err, '');
      assert.match(out, says);
      return out;
    };
    const fails = async (args: string[], says: RegExp, env: Record<string, string> = {}, exitCode = 1) => {
      const { out, err, code } = await run(args, env);
      assert.equal(code, exitCode, out);
      assert.equal(out, '');
      assert.match(err, says);
      assert.doesNotMatch(err, /\n\s+at /, 'a stack is nothing for people');
    };

    describe('longshore', () => {
      it('longshore prints help for the command and for each of its parts', async () => {
        await does(['--help'], /longshore user add\|list\|.*token add\|list\|.*LONGSHORE_URL.*COMMANDS/s);
        await does([], /USAGE\n/);
        await does(
          ['user', '--help'],
          / add +Add a user\n.* disable +Disable a user and refuse their tokens\n/s,
        );
        await does(['user', 'add', '--help'], /--password-stdin.*--url url\] <name>/);
      });

      it('longshore lists abandoned uploads', async () => {
        const upload = { id: 'an upload', offeredAt: Date.now(), userAgent: 'docker/28', wasCut: true };
        await home.call('REPOSITORY', 'team/large', 'recordAbandoned', 'team/large', [upload]);
        await home.settled();
        await does(
          ['abandoned-uploads'],
          /^REPOSITORY +COUNT +LASTAT +USERAGENT\nteam\/large +1 +\S+Z +docker\/28\n$/,
        );
      });

      it('longshore adds users, who log in with the password that it prints', async () => {
        const password = (
          await does(['user', 'add', 'bob', '--group', 'dev', '--group', 'ops'], /^[\w-]{24}\n$/)
        ).trim();
        const bob = { LONGSHORE_USER: 'bob', LONGSHORE_PASSWORD: password };
        await does(['whoami'], /^user:bob\n$/, bob);
        await does(
          ['user', 'list'],
          /^NAME +GROUPS +DISABLED +CREATEDAT +SIGNSINAS\nbob +dev, ops +false +2/,
        );
        await fails(['user', 'list'], /user:bob may not do this: it needs the role admin/, bob);
        await does(['user', 'passwd', 'bob', '--password-stdin'], /^$/, {}, 'a password of mine\n');
        await does(['whoami'], /^user:bob\n$/, { ...bob, LONGSHORE_PASSWORD: 'a password of mine' });
        await does(['user', 'groups', 'bob', '--group', 'dev'], /^$/);
        await does(['user', 'disable', 'bob'], /^$/);
        await does(['user', 'list'], /bob +dev +true/);
        await does(['user', 'enable', 'bob'], /^$/);
        await does(['user', 'add', 'eve', '--password-stdin'], /^$/, {}, 'the password of eve');
        await does(['user', 'remove', 'eve'], /^$/);
        await fails(['user', 'remove', 'eve'], /^there is no user eve\n$/);
        await fails(['user', 'add', 'bob'], /there is a user bob already/);
      });

      it('longshore adds tokens, which it prints', async () => {
        const add = [
          'token',
          'add',
          'ci',
          '--role',
          'writer',
          '--repositories',
          'team-a/*',
          '--expires',
          '90d',
        ];
        const token = (await does(add, /^lsr_[0-9a-f]{16}_[\w-]{43}\n$/)).trim();
        await does(['whoami'], /^token:ci\n$/, { LONGSHORE_PASSWORD: token });
        await does(['token', 'list'], /ci +- +writer:team-a\/\* +2/);
        await does(['token', 'add', 'bobs', '--owner', 'bob'], /^lsr_/);
        await does(['token', 'list', '--owner', 'bob'], /bobs +bob +- +- +-/);
        await does(['token', 'add', 'ci', '--owner', 'bob'], /^lsr_/);
        await fails(
          ['token', 'remove', 'ci'],
          /^Several tokens are named ci\.\nUse the id of one of them\.\n/,
        );
        await does(['token', 'remove', 'bob/ci'], /^$/);
        await does(['token', 'remove', 'ci'], /^$/);
        await fails(['whoami'], /wrong name or password/, { LONGSHORE_PASSWORD: token });
        await fails(['token', 'remove', 'ci'], /There is no token ci/);
        const [id = ''] = /[0-9a-f]{16}/.exec((await run(['token', 'list'])).out) ?? [];
        await does(['token', 'remove', id], /^$/);
        await fails(['token', 'add', 'x'], /grants: a robot has only the rights of its grants/);
        await fails(
          [...add.slice(0, -1), 'soon'],
          /"soon" for expires: use a number and a unit, such as 90d/,
          {},
          2,
        );
        await fails(
          ['token', 'add', 'x', '--role', 'writer'],
          /--role and --repositories must be given together/,
        );
      });

      it('longshore adds rules, and explains them', async () => {
        await does(
          [
            'rule',
            'add',
            'group:dev',
            '--role',
            'writer',
            '--repositories',
            'a/*',
            '--repositories',
            'b/*',
            '--tags',
            'v*',
          ],
          /^1\n2\n$/,
        );
        await does(['rule', 'list'], /1 +group:dev +writer +a\/\* +v\*\n2 +group:dev +writer +b\/\* +v\*/);
        await does(
          ['explain', 'user:bob', 'push', 'a/x'],
          /^allowed: writer of a\/\* .*\n {2}only tags: v\*\n$/,
        );
        await does(['explain', 'anonymous', 'pull', 'a/x'], /^refused: anonymous may not pull a\/x/);
        await does(['rule', 'remove', '1'], /^$/);
        await fails(['rule', 'remove', '1'], /there is no rule of this id/);
        await fails(
          ['rule', 'add', 'anonymous', '--role', 'writer', '--repositories', 'a'],
          /role: of anonymous is reader/,
        );
        await fails(['rule', 'add', 'group:dev'], /A rule needs a role and repositories/);
      });

      it('longshore adds policies', async () => {
        await does(
          ['policy', 'add', 'networks', '--repositories', 'in/*', '--network', '10.0.0.0/8'],
          /^1\n$/,
        );
        await does(['policy', 'add', 'certificate', '--repositories', 'in/*', '--subject', 'CN=x'], /^2\n$/);
        await does(['policy', 'add', 'create', '--repositories', '**'], /^3\n$/);
        await does(
          ['policy', 'list'],
          /1 +networks +in\/\* +10\.0\.0\.0\/8.*2 +certificate +in\/\* +- +CN=x.*3 +create/s,
        );
        await does(['policy', 'remove', '1'], /^$/);
        await fails(['policy', 'add', 'networks', '--repositories', 'in/*'], /networks: /);
      });

      it('longshore adds trusts', async () => {
        const add = ['trust', 'add', 'github', '--issuer', 'https://issuer.example', '--audience', 'here'];
        const grant = ['--grant', 'writer:acme/{repository_name}:pr-*'];
        await fails([...add, ...grant], /signs for everybody/);
        await fails([...add, ...grant, '--condition', 'acme'], /--condition must be claim=pattern/);
        await fails([...add, '--grant', 'writer', '--condition', 'a=b'], /--grant must be role:repositories/);
        await does([...add, ...grant, '--condition', 'repository=acme/*'], /^1\n$/);
        await does(
          ['trust', 'list'],
          /github +https:\/\/issuer\.example +here +repository=acme\/\* +writer:acme\/\{repository_name\}:pr-\*/,
        );
        await fails(['trust', 'remove', 'gitlab'], /^There is no trust gitlab\.\n$/);
        const payload = {
          iss: 'https://issuer.example',
          aud: 'here',
          sub: 'x',
          repository: 'acme/api',
          iat: 1,
          exp: 9,
        };
        const claims = JSON.stringify(payload);
        const jwt = `e30.${Buffer.from(claims).toString('base64url')}.c2lnbmVk`;
        const told =
          /^allowed: writer of acme\/api .*\n {2}only tags: pr-\*\ntrust github \(id 1\): used\n {2}met {6}aud: here .*\n {2}met {6}repository: acme\/api .*\n {2}grant {4}writer of acme\/api \(tags pr-\*\)\nnote: it has expired/;
        await does(['explain', '--claims', '-', 'push', 'acme/api'], told, {}, claims);
        await does(['explain', '--claims', '-', 'push', 'acme/api'], told, {}, `${jwt}\n`);
        writeFileSync(join(folder, 'claims'), claims.replace('acme/api', 'evil/api'));
        const of = ['explain', '--claims', join(folder, 'claims')];
        await does(
          [...of, 'push', 'acme/api'],
          /^refused: its claim repository does not match acme\/\* \(trust github\)\ntrust github \(id 1\): not used: .*\n.*\n {2}not met {2}repository: its claim repository does not match acme\/\* \(evil\/api\)\n/,
        );
        await does([...of, '--json', 'push', 'acme/api'], /"isUsed": false/);
        await does(['explain', '--json', 'anonymous', 'pull', 'a/x'], /"allowed": false/);
        await fails([...of, 'push'], /The arguments are <action> <repository>\. There are 1/, {}, 2);
        await fails(['explain', 'push', 'a'], /The arguments are <subject> <action> <repository>/, {}, 2);
        await fails([...of, 'dance', 'a'], /The action is pull, push, delete\. It is not dance/, {}, 2);
        await fails(['explain', '--claims', '-', 'push', 'a'], /^Standard input holds no claims/, {}, 2);
        await fails(
          ['explain', '--claims', '/missing', 'push', 'a'],
          /Cannot read --claims \/missing/,
          {},
          2,
        );
        await does(['trust', 'remove', 'github'], /^$/);
        await fails(['trust', 'remove', '1'], /^There is no trust 1\.\n$/);
      });

      it('longshore prints pull secrets and the audit log', async () => {
        const add = ['pull-secret', 'add', 'cluster', '--repositories', 'a/*', '--namespace', 'prod'];
        await does(add, /^apiVersion: v1\nkind: Secret\n.*namespace: "prod"\n/s);
        await does(
          ['audit', '-n', '2', '--actor', 'user:admin'],
          /^(?:\{"id":.*"actor":"user:admin".*\}\n){2}$/,
        );
      });

      it('longshore says what is wrong with a call', async () => {
        await fails(['nothing', 'here'], /^There is no command nothing\.\nAdd --help/, {}, 2);
        await fails(['user', 'add'], /^Expected argument for name\nAdd --help/, {}, 2);
        await fails(
          ['user', 'add', 'x', '--surprise'],
          /No flag registered for --surprise\nAdd --help/,
          {},
          2,
        );
        await fails(['user', 'list', '--url', 'ftp://x'], /is not the URL of a registry/);
        await fails(
          ['user', 'list', '--url', 'http://127.0.0.1:1'],
          /^Cannot reach a registry at http:\/\/127\.0\.0\.1:1: /,
        );
        await fails(['user', 'list'], /^The registry needs credentials\.\nSet LONGSHORE_USER/, {
          STATE_DIR: join(folder, 'none'),
        });
        await does(['whoami'], /^user:admin \(admin\)\n$/, {
          STATE_DIR: join(folder, 'none'),
          ADMIN_PASSWORD: PASSWORD,
        });
        await fails(['user', 'list'], /wrong name or password/, { ADMIN_PASSWORD: 'wrong' });
      });
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: PASSWORD } },
);
