/** `longshore proxy` as a program: what it prints, its signals and its exit codes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { blob, digest as digestOf, repositoryName } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { answerTo, open, send } from '../support/http.ts';
import { Visitor } from '../support/visitor.ts';

const COMMAND = join(import.meta.dirname, '../../cli/longshore.ts');
const PASSWORD = 'the password of the admin';

onHome(
  'disk',
  (home) => {
    let folder = '';
    const started: ChildProcess[] = [];
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'longshore-proxy-'));
    });
    after(() => {
      for (const child of started) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });

    /** Starts the command, without any credentials but those of `env`. */
    const run = (args: string[], env: Record<string, string> = {}) => {
      const { PATH, NODE_COMPILE_CACHE } = process.env;
      const child = spawn(process.execPath, [COMMAND, 'proxy', '--to', home.url, ...args], {
        env: { PATH, NODE_COMPILE_CACHE, HOME: folder, STATE_DIR: folder, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      started.push(child);
      const said = { out: '', err: '' };
      child.stdout.on('data', (piece) => {
        said.out += piece;
      });
      child.stderr.on('data', (piece) => {
        said.err += piece;
      });
      const ended = once(child, 'close').then(([code]) => ({ code: code as number, ...said }));
      const ready = async () => {
        while (!/Ready: /.test(said.out)) {
          const result = await Promise.race([once(child.stdout, 'data'), ended]);
          if ('code' in result) throw new Error(`it ended with ${result.code}: ${result.err}`);
        }
        return /Ready: (http:\S+)/.exec(said.out)?.[1] ?? '';
      };
      return { child, said, ended, ready };
    };

    it('longshore proxy prints one line when it is ready, writes the file, and ends with 0', async () => {
      const path = join(folder, 'ready');
      const { child, ended, ready } = run(['--port', '0', '--ready-file', path]);
      const url = await ready();
      assert.match(url, /^http:\/\/localhost:\d+$/);
      assert.equal(readFileSync(path, 'utf8'), `${url}\n`);
      for (const host of ['127.0.0.1', '[::1]']) {
        const answer = await fetch(`http://${host}:${new URL(url).port}/v2/`).catch(() => null);
        if (host === '127.0.0.1') assert.equal(answer?.status, 401);
        else assert(answer === null || answer.status === 401);
      }
      child.kill('SIGTERM');
      const { code, out, err } = await ended;
      assert.equal(code, 0, err);
      assert.equal(out, `Ready: ${url} passes on to ${home.url}\n`);
      assert.equal(err, '');
      assert(!existsSync(path));
    });

    it('longshore proxy says that it lends its credentials, prints a line for each push, and finishes uploads after SIGTERM', async () => {
      const env = { LONGSHORE_USER: 'admin', LONGSHORE_PASSWORD: PASSWORD };
      const { child, said, ended, ready } = run(['--port', '0'], env);
      const url = (await ready()).replace('localhost', '127.0.0.1');
      assert.match(
        said.out,
        /^Every program on this machine can push as admin through this proxy\.\nReady: /,
      );
      const [repository, bytes] = [repositoryName(), blob(2_000_000)];
      const begin = () => send(url, 'POST', `/v2/${repository}/blobs/uploads/`);
      const location = String((await begin()).headers.location);
      const patch = open(url, 'PATCH', location);
      await new Promise<void>((sent) => patch.write(bytes.subarray(0, 1_000_000), () => sent()));
      while ((await send(url, 'GET', location)).headers.range !== '0-999999');
      child.kill('SIGTERM');
      while (!said.out.includes('SIGTERM: waiting for 1')) await once(child.stdout, 'data');
      assert.equal((await begin()).status, 503);
      const patched = answerTo(patch);
      patch.end(bytes.subarray(1_000_000));
      assert.equal((await patched).status, 202);
      assert.equal((await send(url, 'PUT', `${location}?digest=${digestOf(bytes)}`)).status, 201);
      assert.equal((await ended).code, 0);
      const admin = new Visitor(home, `admin:${PASSWORD}`);
      const stored = await admin.send('GET', `/v2/${repository}/blobs/${digestOf(bytes)}`);
      assert.equal(digestOf(stored.bytes), digestOf(bytes));
    });

    it('longshore proxy cuts uploads that take longer than --grace, and ends with 1', async () => {
      const env = { LONGSHORE_PASSWORD: PASSWORD };
      const { child, ended, ready } = run(['--port', '0', '--grace', '0'], env);
      const url = (await ready()).replace('localhost', '127.0.0.1');
      const location = String(
        (await send(url, 'POST', `/v2/${repositoryName()}/blobs/uploads/`)).headers.location,
      );
      const patch = open(url, 'PATCH', location);
      patch.on('error', () => {});
      await new Promise<void>((sent) => patch.write(blob(1000), () => sent()));
      while ((await send(url, 'GET', location)).headers.range !== '0-999');
      child.kill('SIGTERM');
      const { code, err } = await ended;
      assert.equal(code, 1);
      assert.match(err, /Uploads were cut: they took longer than 0 s\.\nGive them more with --grace\./);
    });

    it('longshore proxy prints nothing with --quiet', async () => {
      const path = join(folder, 'quiet');
      const { child, said, ended } = run(['--port', '0', '--quiet', '--ready-file', path]);
      while (!existsSync(path)) {
        assert.equal(said.err, '');
        await new Promise((resolve) => setImmediate(resolve));
      }
      child.kill('SIGINT');
      const { code, out } = await ended;
      assert.equal(code, 0);
      assert.equal(out, '');
    });

    it('longshore proxy lends nothing beyond this machine, unless it is told to, and says so', async () => {
      const env = { LONGSHORE_PASSWORD: PASSWORD };
      const first = run(['--port', '0', '--listen', '0.0.0.0'], env);
      const url = await first.ready();
      assert.match(first.said.out, /^Other machines can reach this proxy\. It does not encrypt: /);
      const port = Number(new URL(url).port);
      assert.equal((await fetch(`http://127.0.0.1:${port}/v2/`)).status, 401);
      const second = run(['--port', '0', '--listen', '0.0.0.0', '--credentials', 'own'], env);
      const other = new URL(await second.ready());
      assert.match(second.said.out, /^Every machine that reaches \S+ can push as admin through this proxy\./);
      assert.equal((await fetch(`http://127.0.0.1:${other.port}/v2/`)).status, 200);
      const evil = await send(`http://127.0.0.1:${other.port}`, 'GET', '/v2/', {
        headers: { Host: 'evil.example' },
      });
      assert.equal(evil.status, 421);
      for (const { child, ended } of [first, second]) {
        child.kill('SIGTERM');
        assert.equal((await ended).code, 0);
      }
    });

    describe('it does not start', () => {
      let taken = '';
      let holder: ChildProcess;
      before(async () => {
        const { child, ready } = run(['--port', '0']);
        holder = child;
        taken = new URL(await ready()).port;
      });
      after(() => holder.kill('SIGTERM'));
      const password = { LONGSHORE_PASSWORD: 'a guess' };
      const rows: [name: string, args: () => string[], says: RegExp, env?: Record<string, string>][] = [
        [
          'on a port that is in use',
          () => ['--port', taken],
          /Port \d+ of 127\.0\.0\.1 is in use\.\nChoose another one with --port/,
        ],
        ['on a port that does not exist', () => ['--port', '70000'], /a port is a number from 0 to 65535/],
        [
          'on an address of another machine',
          () => ['--port', '0', '--listen', '192.0.2.1'],
          /Cannot listen on 192\.0\.2\.1/,
        ],
        ['in front of what is no host', () => ['--to', 'a b'], /is not the host of a registry/],
        [
          'in front of a host with a path',
          () => ['--to', 'registry.example.com/team'],
          /is not the host of a registry/,
        ],
        [
          'in front of nothing',
          () => ['--port', '0', '--to', '127.0.0.1:1'],
          /The connection to http:\/\/127\.0\.0\.1:1 failed/,
        ],
        [
          'without credentials that it is to lend',
          () => ['--port', '0', '--credentials', 'own'],
          /There are no credentials for http:/,
        ],
        [
          'with credentials that are refused',
          () => ['--port', '0'],
          /refused the credentials of this machine/,
          password,
        ],
        [
          'with a file in a folder that is not there',
          () => ['--port', '0', '--ready-file', join(folder, 'no', 'ready')],
          /could not be written: ENOENT\.\nName another file with --ready-file: its folder must exist/,
        ],
        ['with a time that is no number', () => ['--grace', 'soon'], /use a number of seconds/],
      ];
      for (const [name, args, says, env] of rows) {
        it(`longshore proxy does not start ${name}`, async () => {
          const given = args();
          const { ended } = given.includes('--to') ? runWithout(given) : run(given, env);
          const { code, out, err } = await ended;
          assert.notEqual(code, 0);
          assert.doesNotMatch(out, /Ready/);
          assert.match(err, says);
          assert.doesNotMatch(err, /\n\s+at /, 'a stack is nothing for people');
        });
      }
      /** With another --to. */
      const runWithout = (args: string[]) => {
        const { PATH, NODE_COMPILE_CACHE } = process.env;
        const child = spawn(process.execPath, [COMMAND, 'proxy', ...args], {
          env: { PATH, NODE_COMPILE_CACHE, HOME: folder },
        });
        started.push(child);
        const said = { out: '', err: '' };
        child.stdout.on('data', (piece) => {
          said.out += piece;
        });
        child.stderr.on('data', (piece) => {
          said.err += piece;
        });
        return { ended: once(child, 'close').then(([code]) => ({ code: code as number, ...said })) };
      };
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: PASSWORD } },
);
