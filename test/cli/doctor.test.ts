/** `longshore doctor`: the real command, against registries that are right and wrong in one way each. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeEach, describe, it } from 'node:test';
import { S3_CREDENTIALS } from '../faults/direct.ts';
import { freePort } from '../support/free-port.ts';
import { onHome } from '../support/homes.ts';
import { serve } from '../support/serve.ts';
import { Visitor } from '../support/visitor.ts';
import { startWall } from '../support/wall.ts';

const COMMAND = join(import.meta.dirname, '../../cli/longshore.ts');
const PASSWORD = 'the password of the admin';
const VARS = { AUTH: 'on', ADMIN_PASSWORD: PASSWORD };

async function doctor(url: string, args: string[] = [], env: Record<string, string> = {}) {
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, [COMMAND, 'doctor', '--url', url, ...args], {
    env: { PATH, NODE_COMPILE_CACHE, ADMIN_PASSWORD: PASSWORD, HOME: '/nonexistent', ...env },
  });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  assert.doesNotMatch(err, /\n\s+at /, 'a stack is nothing for people');
  /** Check -> state. */
  const states = Object.fromEntries(
    out
      .split('\n')
      .slice(1)
      .filter(Boolean)
      .map((line) => line.split(/ {2,}/).slice(0, 2)),
  ) as Record<string, string>;
  return { out, err, code: code as number, states };
}

onHome(
  'r2',
  (home) => {
    beforeEach(() => {
      home.s3.faults.clear();
      home.s3.comparesChecksums = true;
    });

    it('longshore doctor finds nothing wrong with a bucket that enforces everything, and leaves nothing there', async () => {
      const { out, code, states, err } = await doctor(home.url);
      assert.equal(code, 0, out + err);
      assert.deepEqual(states, {
        registry: 'ok',
        TLS: 'ok',
        'log-in': 'ok',
        'R2: right bytes': 'ok',
        'R2: wrong bytes': 'ok',
        'R2: a second PUT': 'ok',
        'R2: temporary credentials': 'ok',
        'R2: their limits': 'ok',
        'R2: damaged parts': 'ok',
        'R2: checksum in the query': 'ok',
        'refused layers': 'ok',
        'bodies over 100 MB': 'note',
      });
      assert.deepEqual(await home.storedKeys(), []);
      assert.deepEqual(await home.openMultiparts(), []);
    });

    it('longshore doctor warns of a bucket that takes other bytes', async () => {
      home.s3.comparesChecksums = false;
      const { out, code, err } = await doctor(home.url);
      assert.equal(code, 1);
      assert.match(
        out,
        /R2: wrong bytes +wrong +were answered with 200, and are stored +Remove the S3 settings/,
      );
      assert.match(out, /R2: right bytes +note +are stored without their SHA-256/);
      assert.match(err, /^1 check has found something wrong\.\nThe column ADVICE says what to do\.\n$/);
      assert.deepEqual(await home.storedKeys(), []);
    });

    const FAULTS = [
      [
        'a token that may not write',
        'PutObject',
        { status: 403, code: 'AccessDenied' },
        /R2: right bytes +wrong .*403 AccessDenied +Check that the S3 token has "Object Read & Write"/,
      ],
      [
        'an endpoint that cannot be reached',
        'PutObject',
        { cutAfterBytes: 0 },
        /R2: right bytes +wrong .*Check that this machine may reach the S3 endpoint/,
      ],
      [
        'temporary credentials that are refused',
        'UploadPart',
        { status: 403, code: 'InvalidToken' },
        /R2: temporary credentials +wrong .*403 InvalidToken/,
      ],
      [
        'an upload that cannot be completed',
        'CompleteMultipartUpload',
        { status: 400, code: 'InvalidPart' },
        /R2: temporary credentials +wrong .*400 InvalidPart/,
      ],
    ] as const;
    for (const [name, operation, fault, says] of FAULTS) {
      it(`longshore doctor says what to do about ${name}`, async () => {
        home.s3.faults.set(operation, Array(10).fill(fault));
        const { out, code } = await doctor(home.url);
        assert.equal(code, 1);
        assert.match(out, says);
        assert.deepEqual(await home.storedKeys(), []);
        assert.deepEqual(await home.openMultiparts(), []);
      });
    }

    it('a probe that is not deleted expires, and is never a blob', async () => {
      const admin = new Visitor(home, `admin:${PASSWORD}`);
      const api = (method: string, path: string, json?: object) =>
        admin.send(method, `/api/v1/direct-uploads/probes${path}`, { json });
      const bytes = Buffer.from('not a blob');
      const digest = `sha256:${Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex')}`;
      const made = await api('POST', '', { way: 'put', digest, size: bytes.length });
      const { id, grant } = JSON.parse(made.text) as {
        id: string;
        grant: { url: string; headers: Record<string, string> };
      };
      await admin.must(200, 'PUT', grant.url, { headers: grant.headers, body: bytes });
      assert.equal((await home.storedKeys()).length, 1);
      await home.passDays(1, [['UPLOAD_SESSION', id]]);
      assert.deepEqual(await home.storedKeys(), []);
      assert.equal((await api('GET', `/${id}`)).status, 404);
      assert.equal((await api('DELETE', `/${crypto.randomUUID()}`)).status, 404, 'an upload is no probe');
    });
  },
  { vars: VARS, s3Double: S3_CREDENTIALS },
);

onHome(
  'disk',
  (home) => {
    it('longshore doctor says without the settings that direct uploads are not set up', async () => {
      const { code, out, states } = await doctor(home.url);
      assert.equal(code, 0, out);
      assert.deepEqual(states['direct uploads'], 'note');
      assert.match(out, /direct uploads +note +are not set up +.*docs\/direct-uploads\.md/);
    });

    it('longshore doctor tries a body over 100 MB if it is asked to, and leaves no upload', async () => {
      await using wall = await startWall(home.url);
      const { out, code } = await doctor(wall.url, ['--wall']);
      assert.equal(code, 0, out);
      assert.match(
        out,
        /bodies over 100 MB +note +are (?:refused by a front \(413\)|cut off \(E\w+\)) +Push large layers with longshore push/,
      );
      assert.equal(wall.refused.length, 1);
      assert.match((await doctor(home.url, ['--wall'])).out, /bodies over 100 MB +ok +pass/);
      assert.deepEqual(await home.storedKeys(), []);
    });

    it('longshore doctor says what to do about a wrong password, and about a user who is no admin', async () => {
      const { out, code } = await doctor(home.url, [], { LONGSHORE_PASSWORD: 'wrong' });
      assert.equal(code, 1);
      assert.match(out, /log-in +wrong .* Set LONGSHORE_USER and LONGSHORE_PASSWORD/);
      const json = { name: 'bob', password: 'the password of bob' };
      await new Visitor(home, `admin:${PASSWORD}`).must(201, 'POST', '/api/v1/users', { json });
      const bob = { LONGSHORE_USER: 'bob', LONGSHORE_PASSWORD: 'the password of bob' };
      const asBob = await doctor(home.url, [], bob);
      assert.equal(asBob.code, 0, asBob.out);
      assert.match(asBob.out, /log-in +ok +user:bob\n.*direct uploads +note +were not tried +Only an admin/);
    });
  },
  { vars: VARS },
);

describe('longshore doctor says what to do', () => {
  it('longshore doctor says what to do if nothing answers', async () => {
    const { out, code } = await doctor(`http://127.0.0.1:${await freePort()}`);
    assert.equal(code, 1);
    assert.match(out, /registry +wrong .*ECONNREFUSED +Check the URL, DNS/);
  });

  it('longshore doctor says what to do if something else answers, with another clock', async () => {
    await using served = await serve((_, response) => {
      response.writeHead(200, { Date: 'Mon, 01 Jan 2001 00:00:00 GMT' }).end('<html>hello</html>');
    });
    const { out, code } = await doctor(served.url);
    assert.equal(code, 1);
    assert.match(out, /registry +wrong .*answered 200: <html>hello<\/html> +Check the URL/);
  });

  it('longshore doctor says what to do if the clock of this machine is wrong', async () => {
    await using served = await serve((_, response) => {
      const headers = {
        Date: 'Mon, 01 Jan 2001 00:00:00 GMT',
        'Docker-Distribution-API-Version': 'registry/2.0',
      };
      response.writeHead(401, headers).end();
    });
    const { out, code } = await doctor(served.url);
    assert.equal(code, 1);
    assert.match(out, /clock +wrong +this machine is \d+ s ahead +Set the clock/);
  });
});
