/** `longshore push`, `copy`, `pull` and `export`: the real command, killed and started again, and what it prints. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { contents, writeLayout } from '../clients/support/layout.ts';
import { onHome } from '../support/homes.ts';
import { serve } from '../support/serve.ts';
import { startWall } from '../support/wall.ts';
import { blobBytes, type Fault, type Passing, startFront } from '../transfer/support/front.ts';

const COMMAND = join(import.meta.dirname, '../../cli/longshore.ts');
const { PATH, NODE_COMPILE_CACHE } = process.env;
/** A wall of this height teaches chunks of 1 MiB. */
const WALL_BYTES = 1_200_000;
const CHUNK_BYTES = 1024 * 1024;

onHome('disk', (home) => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'longshore-cli-push-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  let count = 0;
  /** A layout with one large layer, and the repository that it is pushed to. */
  const image = async (layerBytes = [3 * CHUNK_BYTES + 1000, 500]) => {
    count += 1;
    const layout = await writeLayout(join(folder, `layout-${count}`), { layerBytes });
    return { layout, repository: `team/app-${count}`, state: join(folder, `state-${count}`) };
  };
  const start = (args: string[], state = join(folder, 'state'), env: NodeJS.ProcessEnv = {}): ChildProcess =>
    spawn(process.execPath, [COMMAND, ...args], {
      env: { PATH, NODE_COMPILE_CACHE, HOME: folder, XDG_STATE_HOME: state, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A command that does not end fails its test.
      timeout: 60_000,
      killSignal: 'SIGKILL',
    });
  const ended = async (child: ChildProcess) => {
    assert(child.stdout !== null && child.stderr !== null);
    const [out, err, [code, signal]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    return { out, err, code: code as number | null, signal: signal as string | null };
  };
  const run = (args: string[], state?: string, env?: NodeJS.ProcessEnv) => ended(start(args, state, env));
  const isPushed = async (repository: string, { root }: { root: { digest: string } }) => {
    const found = await fetch(`${home.url}/v2/${repository}/manifests/v1`, { headers: { Accept: '*/*' } });
    assert.equal(found.headers.get('Docker-Content-Digest'), root.digest);
  };
  const host = () => new URL(home.url).host;
  /** A wall in front of a front in front of the registry. */
  const behindWall = async (decide: (passing: Passing) => Fault | Promise<Fault>) => {
    const front = await startFront(() => home.url, decide);
    const wall = await startWall(front.url, WALL_BYTES);
    return { front, wall, host: new URL(wall.url).host };
  };

  describe('longshore push', () => {
    it('longshore push prints the image on standard output, and lines beside it', async () => {
      const { layout, repository } = await image();
      const to = `${host()}/${repository}:v1`;
      const { out, err, code } = await run(['push', '--to', to, layout.path]);
      assert.equal(code, 0, err);
      assert.equal(out, `${to}@${layout.root.digest}\n`);
      assert.match(err, /^From the layout .* to 127\.0\.0\.1:\d+\/team\/app-\d+:v1\n/);
      assert.match(err, /\n[0-9a-f]{12} {2}begins {2}3\.1 MB\n/);
      assert.match(err, /\n[0-9a-f]{12} {2}sent {2}3\.1 MB\n/);
      assert.match(err, /\nSent 3 blobs \(3\.1 MB\) in \d+\.\d s, [\d.]+ .B\/s\.\n$/);
      await isPushed(repository, layout);
      const again = await run(['push', '-q', '--to', to, layout.path]);
      assert.deepEqual(again, { out, err: '', code: 0, signal: null });
    });

    it('longshore push prints every event as JSON with --json, also an error', async () => {
      const { layout, repository } = await image();
      const { out, err, code } = await run([
        'push',
        '--json',
        '--to',
        `${host()}/${repository}:v1`,
        layout.path,
      ]);
      assert.equal(code, 0, err);
      assert.equal(err, '');
      const events = out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.equal(events[0].event, 'start');
      assert.equal(events.at(-1).event, 'end');
      assert.equal(events.at(-1).digest, layout.root.digest);
      assert.equal(events.filter(({ event }) => event === 'blob-end').length, 3);
      const failed = await run(['push', '--json', '--to', '127.0.0.1:1/x/y:1', layout.path]);
      assert.equal(failed.code, 4);
      const error = JSON.parse(failed.out.trimEnd().split('\n').at(-1) ?? '');
      assert.deepEqual([error.event, error.exitCode], ['error', 4]);
    });

    for (const chunk of [1, 2, 3, 4]) {
      it(`longshore push continues after it was killed in chunk ${chunk}`, async () => {
        const { layout, repository, state } = await image();
        let child: ChildProcess | null = null;
        const { front, wall, host } = await behindWall(({ method, number }) =>
          method === 'PATCH' && number === chunk
            ? { cutAfter: 900, after: () => child?.kill('SIGKILL') }
            : undefined,
        );
        const args = ['push', '--to', `${host}/${repository}:v1`, layout.path];
        child = start(args, state);
        assert.equal((await ended(child)).signal, 'SIGKILL');
        const { err, code } = await run(args, state);
        assert.equal(code, 0, err);
        if (chunk > 1) assert.match(err, /begins {2}3\.1 MB, continued at \d/);
        await isPushed(repository, layout);
        const size = [...(await contents(layout.path))].reduce(
          (sum, line) => sum + Number(line.split(' ')[1]),
          0,
        );
        assert(blobBytes(front) - size <= CHUNK_BYTES);
        assert.deepEqual(readdirSync(join(state, 'longshore/uploads')), []);
        await front[Symbol.asyncDispose]();
        await wall[Symbol.asyncDispose]();
      });
    }

    it('longshore push leaves what a second run needs when it is interrupted, and says how to continue', async () => {
      for (const [signal, exitCode] of [
        ['SIGINT', 130],
        ['SIGTERM', 143],
      ] as const) {
        const { layout, repository, state } = await image();
        let child: ChildProcess | null = null;
        const { front, wall, host } = await behindWall(async ({ method, number }) => {
          if (method !== 'PATCH' || number !== 2 || child === null) return undefined;
          child.kill(signal);
          await once(child, 'exit');
          return undefined;
        });
        const args = ['push', '--to', `${host}/${repository}:v1`, layout.path];
        child = start(args, state);
        const { err, code } = await ended(child);
        assert.equal(code, exitCode);
        assert.match(
          err,
          /Interrupted\.\nThe registry keeps for a day what it has\. Run the same command again to continue\.\n$/,
        );
        const uploads = join(state, 'longshore/uploads');
        const [kept] = readdirSync(uploads);
        assert(kept !== undefined);
        assert.equal(statSync(join(uploads, kept)).mode & 0o777, 0o600);
        child = null;
        assert.match((await run(args, state)).err, /continued at/);
        await isPushed(repository, layout);
        await front[Symbol.asyncDispose]();
        await wall[Symbol.asyncDispose]();
      }
    });

    it('longshore push pushes one image from two processes at once, also after both were killed', async () => {
      const { layout, repository, state } = await image([2 * CHUNK_BYTES, 2 * CHUNK_BYTES]);
      const children: ChildProcess[] = [];
      let isKilled = false;
      const { front, wall, host } = await behindWall(({ method, number }) => {
        if (isKilled || method !== 'PATCH' || number < 4) return undefined;
        isKilled = true;
        for (const child of children) child.kill('SIGKILL');
        return undefined;
      });
      const args = ['push', '--to', `${host}/${repository}:v1`, layout.path];
      children.push(start(args, state), start(args, state));
      await Promise.all(children.map(ended));
      for (const { code, err } of await Promise.all([run(args, state), run(args, state)]))
        assert.equal(code, 0, err);
      await isPushed(repository, layout);
      await front[Symbol.asyncDispose]();
      await wall[Symbol.asyncDispose]();
    });

    it('longshore push tells wrong use from refusals and failures by its exit code', async () => {
      const { layout } = await image([10]);
      const file = join(folder, 'not-an-image.tar');
      writeFileSync(file, 'hello');
      const rows: [args: string[], code: number, says: RegExp][] = [
        [['push'], 2, /^Expected argument for image/],
        [['push', 'app:1'], 2, /^"app:1" does not say to which registry it is sent\.\nAdd --to/],
        [['push', layout.path], 2, /does not say to which registry/],
        [
          ['push', '--to', 'team/app:1', layout.path],
          2,
          /^"team\/app:1" does not begin with the host of a registry/,
        ],
        [
          ['push', '--to', 'localhost:5000', layout.path],
          2,
          /^"localhost:5000" does not name a registry and a repository/,
        ],
        [['push', '--to', 'localhost:5000/Team:1', layout.path], 2, /is not the name of a repository/],
        [['push', '--to', 'localhost:5000/team:a b', layout.path], 2, /is not a tag/],
        [['push', '--to', 'localhost:5000/team@sha256:1', layout.path], 2, /is not a digest/],
        [['push', '--to', 'u:p@localhost:5000/team', layout.path], 2, /is not/],
        [
          ['push', '--to', 'localhost:5000/team', '--jobs', '0', layout.path],
          2,
          /"0" for jobs: use a number from 1 to 32/,
        ],
        [['push', '--to', 'localhost:5000/team', '--jobs', 'x', layout.path], 2, /use a number from 1 to 32/],
        [
          ['push', '--to', 'localhost:5000/team', '--surprise', layout.path],
          2,
          /No flag registered for --surprise/,
        ],
        [['push', '--to', 'localhost:5000/team', layout.path, 'more'], 2, /Too many arguments/],
        [['push', '--to', `${host()}/team`, '--platform', 'linux', layout.path], 1, /is not a platform/],
        [['push', '--to', `${host()}/team`, join(folder, 'missing.tar')], 1, /There is no file/],
        [['push', '--to', `${host()}/team`, file], 1, /not-an-image\.tar/],
        [['push', '--to', `${host()}/team`, `oci:${layout.path}:nothing`], 1, /nothing/],
        [['push', '--to', '127.0.0.1:1/team', layout.path], 4, /failed: ECONNREFUSED/],
        [['pull', `${host()}/team`], 2, /^Say where to write the image: --to/],
        [['pull', `${host()}/team`, '--to', 'tar:x'], 2, /^"tar:x" does not say where to write the image/],
        [
          ['pull', `${host()}/team/none`, '--to', `oci:${join(folder, 'none')}`],
          1,
          /does not exist\.\nCheck the name/,
        ],
        [['export', `${host()}/team/none`, join(folder, 'none')], 1, /does not exist/],
        [['export', `${host()}/team/none`], 2, /Expected argument for path/],
        [['copy', `${host()}/team/none`], 2, /Expected argument for to/],
        [['copy', `${host()}/team/none`, 'x'], 2, /does not name a registry/],
        [['copy', `${host()}/team/none`, `${host()}/team/other`], 1, /does not exist/],
      ];
      const waiting = [...rows];
      const next = async () => {
        for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
          const [args, exitCode, says] = row;
          const { out, err, code } = await run(args);
          assert.equal(code, exitCode, `${args.join(' ')}: ${err}`);
          assert.equal(out, '', args.join(' '));
          assert.match(err.replace(/^From .*\n/, ''), says);
          assert.doesNotMatch(err, /\n\s+at /, 'a stack is nothing for people');
        }
      };
      await Promise.all([next(), next(), next()]);
    });

    it('longshore push never asks a proxy for a registry on this machine', async () => {
      const { layout, repository } = await image([10]);
      const proxy = 'http://127.0.0.1:1';
      const to = `${host()}/${repository}:v1`;
      const { err, code } = await run(['push', '--to', to, layout.path], undefined, {
        HTTP_PROXY: proxy,
        http_proxy: proxy,
      });
      assert.equal(code, 0, err);
    });

    it('longshore push goes on without a folder for its state', async () => {
      const file = join(folder, 'a-file');
      writeFileSync(file, '');
      // Below /proc, Node's own `mkdir` would never end.
      for (const state of [file, '/proc/none']) {
        const { layout, repository } = await image();
        const { err, code } = await run(['push', '--to', `${host()}/${repository}:v1`, layout.path], state);
        assert.equal(code, 0, err);
        assert.match(err, /Cannot write .*a push that is killed starts again\. Set XDG_STATE_HOME/);
      }
    });
  });

  describe('a closed output', () => {
    it('a closed output ends no push: of the result, of its progress, and of its events', async () => {
      for (const [args, closed] of [
        [[], 'stdout'],
        [[], 'stderr'],
        [['--json'], 'stdout'],
      ] as const) {
        const { layout, repository } = await image();
        const child = start(['push', ...args, '--to', `${host()}/${repository}:v1`, layout.path]);
        const { stdout, stderr } = child;
        assert(stdout !== null && stderr !== null);
        const [gone, other] = closed === 'stdout' ? [stdout, stderr] : [stderr, stdout];
        gone.destroy();
        const [said, [code]] = await Promise.all([text(other), once(child, 'exit')]);
        assert.equal(code, 0, said);
        await isPushed(repository, layout);
      }
    });

    it('a push names an output that cannot keep its result', async (t) => {
      if (!existsSync('/dev/full')) return t.skip('there is no /dev/full');
      const { layout, repository } = await image([10]);
      const full = openSync('/dev/full', 'w');
      const child = spawn(
        process.execPath,
        [COMMAND, 'push', '--to', `${host()}/${repository}:v1`, layout.path],
        { env: { PATH: process.env.PATH, HOME: folder }, stdio: ['ignore', full, 'pipe'] },
      );
      assert(child.stderr !== null);
      const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
      closeSync(full);
      assert.equal(code, 1);
      assert.match(err, /\nThe result could not be printed: ENOSPC\.\nCheck where/);
      await isPushed(repository, layout);
    });
  });

  describe('an interrupted command', () => {
    const interrupted = async (child: ChildProcess) => {
      const { err, code } = await ended(child);
      assert.equal(code, 130, err);
      assert.match(err, /\nInterrupted\.\n.*Run the same command again to continue\.\n$/);
    };

    it('an interrupted command ends while a registry is silent in the middle of a blob', async () => {
      const { layout, repository } = await image([300_000]);
      assert.equal((await run(['push', '--to', `${host()}/${repository}:v1`, layout.path])).code, 0);
      let child: ChildProcess | null = null;
      await using server = await serve(async ({ url = '', headers }, response) => {
        const answer = await fetch(`${home.url}${url}`, { headers: { Accept: headers.accept ?? '' } });
        const bytes = Buffer.from(await answer.arrayBuffer());
        response.writeHead(answer.status, {
          'Content-Type': answer.headers.get('Content-Type') ?? '',
          'Content-Length': bytes.length,
        });
        if (bytes.length < 100_000) return response.end(bytes);
        response.write(bytes.subarray(0, 1000), () => child?.kill('SIGINT'));
      });
      const from = `${server.host}/${repository}:v1`;
      for (const to of [`oci:${join(folder, 'silent')}`, `oci:${join(folder, 'silent.tar')}`]) {
        child = start(['pull', from, '--to', to]);
        await interrupted(child);
      }
    });

    it('an interrupted command ends while it waits to try again', async () => {
      const { layout } = await image([10]);
      await using front = await startFront(
        () => home.url,
        () => ({ status: 429, headers: { 'Retry-After': '60' } }),
      );
      const child = start(['push', '--to', `${front.host}/team/app:v1`, layout.path]);
      // Once: a second SIGINT ends it by force, and several requests wait.
      let isInterrupted = false;
      child.stderr?.on('data', (piece) => {
        if (isInterrupted || !String(piece).includes('trying again')) return;
        isInterrupted = true;
        child.kill('SIGINT');
      });
      await interrupted(child);
    });

    it('an interrupted command ends while a program writes nothing to its standard input', async () => {
      const child = spawn(process.execPath, [COMMAND, 'push', '--to', `${host()}/team/app:v1`, '-'], {
        env: { PATH, NODE_COMPILE_CACHE, HOME: folder },
        timeout: 60_000,
        killSignal: 'SIGKILL',
      });
      child.stderr.once('data', () => child.kill('SIGINT'));
      await interrupted(child);
      child.stdin.destroy();
    });
  });

  describe('the credentials of a copy', () => {
    const given = { LONGSHORE_USER: 'me', LONGSHORE_PASSWORD: 'secret', LONGSHORE_ID_TOKEN: 'identity' };
    /** A registry that asks for a log-in, and what it got: authorizations and forms. */
    const startAsking = async () => {
      const got: string[] = [];
      const served = await serve(async (incoming, response) => {
        const { authorization = '' } = incoming.headers;
        const form = new URLSearchParams(await text(incoming));
        got.push(Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString());
        got.push(form.get('subject_token') ?? '');
        response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${served.url}/token"` }).end();
      });
      return { ...served, got: () => got.splice(0).filter(Boolean) };
    };

    it('the credentials of a copy go to the target, or to the source that LONGSHORE_URL names, and to no other registry', async () => {
      await using asking = await startAsking();
      const there = `${asking.host}/team/app:v1`;
      const here = `${host()}/team/none:v1`;
      const { LONGSHORE_PASSWORD: _password, ...token } = given;
      for (const env of [given, token, { ...given, LONGSHORE_URL: home.url }]) {
        await run(['copy', there, here], undefined, env);
        assert.deepEqual(asking.got(), []);
      }
      await run(['copy', there, here], undefined, { ...given, LONGSHORE_URL: asking.url });
      assert.deepEqual(asking.got(), ['me:secret']);
      const { layout, repository } = await image([10]);
      const from = `${host()}/${repository}:v1`;
      assert.equal((await run(['push', '--to', from, layout.path])).code, 0);
      await run(['copy', from, there], undefined, { ...given, LONGSHORE_URL: home.url });
      assert.deepEqual(asking.got(), []);
      await run(['copy', from, there], undefined, given);
      assert.equal(asking.got()[0], 'me:secret');
    });

    it('the credentials of a copy may be missing for a source that does not know the identity tokens of CI', async () => {
      const { layout, repository } = await image([10]);
      const from = `${host()}/${repository}:v1`;
      assert.equal((await run(['push', '--to', from, layout.path])).code, 0);
      await using issuer = await serve((_, response) => response.end('{"value":"identity"}'));
      const { err, code } = await run(['pull', from, '--to', `oci:${join(folder, 'ci')}`], undefined, {
        ACTIONS_ID_TOKEN_REQUEST_URL: `${issuer.url}/?a=b`,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'x',
      });
      assert.equal(code, 0, err);
      assert.match(err, /refused the identity token of this job \(status 4\d\d\)/);
    });
  });

  describe('longshore copy, pull and export', () => {
    it('longshore copy, pull and export move an image of several platforms without a change', async () => {
      count += 1;
      const layout = await writeLayout(join(folder, `layout-${count}`), {
        architectures: ['amd64', 'arm64'],
        layerBytes: [300_000, 500],
      });
      const from = `${host()}/moved/from:v1`;
      const to = `${host()}/moved/to:v2`;
      assert.equal((await run(['push', '--to', from, layout.path])).code, 0);
      const copied = await run(['copy', from, to]);
      assert.equal(copied.out, `${to}@${layout.root.digest}\n`, copied.err);
      const exported = join(folder, 'exported');
      assert.equal((await run(['export', to, exported])).code, 0);
      assert.deepEqual(await contents(exported), await contents(layout.path));
      const again = await run(['export', to, exported]);
      assert.match(again.err, /Received no blob .* 6 were already there\.\n$/);
      const one = await run([
        'pull',
        to,
        '--platform',
        'linux/arm64',
        '--to',
        `oci:${join(folder, 'one.tar')}`,
      ]);
      assert.equal(one.code, 0, one.err);
      const pushed = await run(['push', '-q', '--to', `${host()}/moved/again:v1`, join(folder, 'one.tar')]);
      assert.equal(pushed.out, `${host()}/moved/again:v1@${layout.manifests[1]?.digest}\n`, pushed.err);
      const archive = await run(['pull', to, '--to', `docker-archive:${join(folder, 'two.tar')}`]);
      assert.equal(archive.code, 1);
      assert.match(
        archive.err,
        /holds one image, and this is an index of several\.\nChoose one with --platform/,
      );
    });

    it('longshore copy, pull and export continue at the byte at which a connection was cut', async () => {
      const { layout, repository } = await image([3 * CHUNK_BYTES]);
      const CUT_BYTES = 700_000;
      const requests: { range: string | undefined; from: number }[] = [];
      // A registry that has this image only, and cuts off the answers with a layer.
      await using server = await serve(({ url = '', headers }, response) => {
        const [, kind, name = ''] = /\/(manifests|blobs)\/(.+)$/.exec(url) ?? [];
        if (kind === undefined) return response.end();
        const digest = name === 'v1' ? layout.root.digest : name;
        const bytes = readFileSync(join(layout.path, 'blobs', digest.replace(':', '/')));
        if (kind === 'manifests') response.setHeader('Content-Type', layout.root.mediaType);
        const from = Number(/\d+/.exec(headers.range ?? '0'));
        const rest = bytes.subarray(from);
        response.writeHead(headers.range === undefined ? 200 : 206, { 'Content-Length': rest.length });
        if (bytes.length <= CUT_BYTES) return response.end(rest);
        requests.push({ range: headers.range, from });
        if (rest.length <= CUT_BYTES) return response.end(rest);
        response.write(rest.subarray(0, CUT_BYTES), () => response.destroy());
      });
      const from = `${server.host}/${repository}:v1`;
      const [one, two, three] = ['one', 'two.tar', 'three'].map((name) => join(folder, `cut-${name}`));
      for (const args of [
        ['pull', from, '--to', `oci:${one}`],
        ['pull', from, '--to', `oci:${two}`],
        ['export', from, String(three)],
        ['copy', from, `${host()}/${repository}:v1`],
      ]) {
        requests.length = 0;
        const { out, err, code } = await run([...args, '--json']);
        assert.equal(code, 0, `${args[0]}: ${out}${err}`);
        const [first, ...others] = requests;
        assert.equal(first?.range, undefined);
        assert(others.length >= 4, `${args[0]}: ${requests.length} requests`);
        // A cut may lose bytes that were on their way, and never all.
        for (const [at, { from }] of others.entries()) assert(from > (requests[at]?.from ?? 0));
      }
      for (const folder of [one, three])
        assert.deepEqual(await contents(String(folder)), await contents(layout.path));
      await isPushed(repository, layout);
      const pushed = await run(['push', '-q', '--to', `${host()}/${repository}-tar:v1`, String(two)]);
      assert.match(pushed.out, new RegExp(`@${layout.root.digest}\n$`));
    });

    it('longshore copy, pull and export write to one folder from two processes at once', async () => {
      const { layout, repository } = await image([300_000]);
      const image_ = `${repository}:v1`;
      assert.equal((await run(['push', '--to', `${host()}/${image_}`, layout.path])).code, 0);
      const pulled = join(folder, `pulled-${count}`);
      await using server = await serve(async ({ url = '', headers }, response) => {
        const answer = await fetch(`${home.url}${url}`, { headers: { Accept: headers.accept ?? '' } });
        const bytes = Buffer.from(await answer.arrayBuffer());
        response.writeHead(answer.status, {
          'Content-Type': answer.headers.get('Content-Type') ?? '',
          'Content-Length': bytes.length,
        });
        response.write(bytes.subarray(0, 100_000));
        // The second process finishes what the first one has begun.
        if (bytes.length > 100_000)
          assert.equal((await run(['pull', `${host()}/${image_}`, '--to', `oci:${pulled}`])).code, 0);
        response.end(bytes.subarray(100_000));
      });
      const slow = `${server.host}/${image_}`;
      const { err, code } = await run(['pull', slow, '--to', `oci:${pulled}`]);
      assert.equal(code, 0, err);
      assert.deepEqual(await contents(pulled), await contents(layout.path));
    });

    it('longshore copy, pull and export use what an interrupted pull has written, and replace damaged bytes', async () => {
      const { layout, repository } = await image([3 * CHUNK_BYTES]);
      const image_ = `${host()}/${repository}:v1`;
      assert.equal((await run(['push', '--to', image_, layout.path])).code, 0);
      const pulled = join(folder, `pulled-${count}`);
      assert.equal((await run(['pull', image_, '--to', `oci:${pulled}`])).code, 0);
      const [large] = (await contents(layout.path)).filter(
        (line) => Number(line.split(' ')[1]) > CHUNK_BYTES,
      );
      const path = join(pulled, 'blobs/sha256', large?.split(' ')[0]?.slice(7) ?? '');
      writeFileSync(`${path}.partial`, readFileSync(path).subarray(0, CHUNK_BYTES));
      rmSync(path);
      const { out, err, code } = await run(['pull', '--json', image_, '--to', `oci:${pulled}`]);
      assert.equal(code, 0, err);
      assert.equal(
        JSON.parse(out.trimEnd().split('\n').at(-1) ?? '').movedBytes,
        statSync(path).size - CHUNK_BYTES,
      );
      assert.deepEqual(await contents(pulled), await contents(layout.path));
      // Damaged bytes are replaced.
      writeFileSync(path, Buffer.alloc(statSync(path).size));
      assert.equal((await run(['pull', image_, '--to', `oci:${pulled}`])).code, 0);
      assert.deepEqual(await contents(pulled), await contents(layout.path));
    });
  });
});
