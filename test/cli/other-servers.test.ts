/** `longshore` and servers that are not Longshore's, or that break off: it prints no result and no stack, and ends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { RequestListener, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { serve } from '../support/serve.ts';

const COMMAND = join(import.meta.dirname, '../../cli/longshore.ts');
const PASSWORD = 'the password of the admin';
const MEBIBYTE = Buffer.alloc(1024 * 1024, ' ');

/** Any JSON object can be claims. */
const CLAIMS = join(import.meta.dirname, '../../package.json');

const COMMANDS = [
  ['user', 'list'],
  ['token', 'add', 'ci'],
  ['token', 'remove', 'ci'],
  ['whoami'],
  ['pull-secret', 'add', 'ci', '--repositories', 'acme/*'],
  ['explain', 'user:bob', 'pull', 'acme/api'],
  ['explain', '--json', '--claims', CLAIMS, 'pull', 'acme/api'],
];

/** Commands that print nothing, or only what they made themselves. */
const WITHOUT_RESULT = [
  ['user', 'add', 'bob'],
  ['user', 'passwd', 'bob'],
  ['user', 'groups', 'bob'],
  ['user', 'disable', 'bob'],
  ['user', 'enable', 'bob'],
  ['user', 'link', 'bob', 'eve'],
  ['user', 'revoke', 'bob'],
  ['user', 'remove', 'bob'],
  ['token', 'revoke-all'],
  ['rule', 'remove', '1'],
  ['policy', 'remove', '1'],
  ['keys', 'rotate'],
];

const SERVERS: { name: string; answer: RequestListener; want: RegExp; commands?: string[][] }[] = [
  { name: 'an empty object', answer: json('{}'), want: /^The (answer of the )?server/ },
  {
    name: 'an empty object to a command without a result',
    answer: json('{}'),
    want: /^The answer .* incomplete/,
    commands: WITHOUT_RESULT,
  },
  {
    name: 'another user',
    answer: json('{"name":"eve"}'),
    want: /^The answer .* incomplete/,
    commands: WITHOUT_RESULT,
  },
  { name: 'a list', answer: json('[]'), want: /nothing that Longshore sends/ },
  { name: 'null', answer: json('null'), want: /nothing that Longshore sends/ },
  { name: 'half of an object', answer: json('{"users":['), want: /nothing that Longshore sends/ },
  {
    name: 'values of other types',
    answer: json('{"users":5,"tokens":"a","token":{},"subject":5}'),
    want: /^The /,
  },
  { name: 'null as an entry', answer: json('{"users":[null],"tokens":[null]}'), want: /^The / },
  {
    name: 'a page for browsers',
    answer: (_, response) => response.setHeader('Content-Type', 'text/html').end('<p>\u001b[2J'),
    want: /nothing that Longshore sends\.\n.*<p>\\u\{1b\}\[2J\n$/,
  },
  {
    name: 'no content',
    answer: (_, response) => response.writeHead(204).end(),
    want: /^The answer .* incomplete/,
  },
  { name: 'no errors', answer: json('{"errors":[]}', 500), want: /status 500 and nothing/ },
  {
    name: 'an error without a message',
    answer: json('{"errors":[{}]}', 400),
    want: /status 400 and nothing/,
  },
  {
    name: 'a redirect',
    answer: (_, response) => response.writeHead(302, { Location: 'http://elsewhere.example/' }).end(),
    want: /^Cannot reach a registry at /,
  },
  { name: 'half of the bytes', answer: breakOff, want: /^Cannot reach a registry at / },
  {
    name: 'bytes without end',
    answer: (_, response) => endless(response),
    want: /^Cannot reach a registry at .*the answer is too long/,
    commands: [['whoami']],
  },
  {
    name: 'the same page again and again',
    answer: json('{"users":[{"name":"bob"}]}', 200, { Link: '</api/v1/users?last=bob>; rel="next"' }),
    want: /^The answer .* incomplete/,
    commands: [['user', 'list']],
  },
];

describe('longshore fails where a server answers with', () => {
  for (const { name, answer, want, commands = COMMANDS } of SERVERS) {
    it(`longshore fails where a server answers with ${name}`, async (t) => {
      const url = await listening(t, answer);
      await Promise.all(
        commands.map(async (args) => {
          const { out, err, code } = await run(url, args);
          assert.deepEqual([out, code], ['', 1], `${args.join(' ')}: ${err}`);
          assert.match(err, want, args.join(' '));
          assert.doesNotMatch(err, /\n\s+at |undefined|the password/);
        }),
      );
    });
  }
});

describe('longshore sends no request', () => {
  for (const id of ['.', '..', '']) {
    it(`longshore sends no request for the name ${JSON.stringify(id)}, which would name another path`, async (t) => {
      const asked: string[] = [];
      const url = await listening(t, ({ url: path = '' }, response) => {
        asked.push(path);
        response.writeHead(204).end();
      });
      for (const args of [
        ['user', 'revoke', id],
        ['user', 'remove', id],
        ['rule', 'remove', id],
      ]) {
        const { err, code } = await run(url, args);
        assert.deepEqual([err, code], [`${JSON.stringify(id)} is not a name or an id.\n`, 1]);
      }
      assert.deepEqual(asked, []);
    });
  }
});

describe('longshore sends no request for a URL with', () => {
  for (const more of ['/registry', '/v2/', '?a=b', '#top']) {
    it(`longshore sends no request for a URL with ${more}`, async (t) => {
      let requests = 0;
      const url = await listening(t, (_, response) => {
        requests++;
        response.writeHead(204).end();
      });
      const { err, code } = await run(`${url}${more}`, ['user', 'revoke', 'bob']);
      assert.match(
        err,
        /has more than the host of a registry\.\nThe command finds the API at http:\/\/127\.0\.0\.1:\d+: use that/,
      );
      assert.deepEqual([code, requests], [1, 0]);
      assert.equal((await run(`${url}/`, ['user', 'revoke', 'bob'])).code, 0);
    });
  }
});

it('longshore ends without a stack when its output is closed', async (t) => {
  const url = await listening(t, json('{"subject":"user:bob"}'));
  const child = spawned(url, ['whoami']);
  child.stdout.destroy();
  const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  assert.deepEqual([err, code], ['', 1]);
});

function json(body: string, status = 200, headers: Record<string, string> = {}): RequestListener {
  return (_, response) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);
}

function breakOff(_: unknown, response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '100' });
  response.write('{"users":[', () => response.destroy());
}

function endless(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  const send = () => {
    while (!response.destroyed && response.write(MEBIBYTE));
  };
  response.on('drain', send);
  send();
}

async function listening(t: TestContext, answer: RequestListener): Promise<string> {
  const served = await serve(answer);
  t.after(() => served[Symbol.asyncDispose]());
  return served.url;
}

function spawned(url: string, args: string[]) {
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env: { PATH, NODE_COMPILE_CACHE, LONGSHORE_URL: url, ADMIN_PASSWORD: PASSWORD },
  });
  child.stdin.end();
  return child;
}

async function run(url: string, args: string[]): Promise<{ out: string; err: string; code: unknown }> {
  const child = spawned(url, args);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { out, err, code };
}
