/** `/cli.tgz`: the package of the command that the registry serves. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { VERSION } from '../../cli/version.ts';
import { clientPackage } from '../../deploy/client-package.ts';
import { eachHome } from '../support/homes.ts';

const ROOT = join(import.meta.dirname, '../..');

eachHome(
  (home) => {
    const url = () => `${home.url}/cli.tgz`;

    describe('/cli.tgz', () => {
      it('/cli.tgz is the package, for anyone', async () => {
        const answer = await fetch(url());
        const bytes = new Uint8Array(await answer.arrayBuffer());
        assert.equal(answer.status, 200);
        assert.deepEqual(bytes, new Uint8Array(clientPackage()));
        const { headers } = answer;
        assert.equal(headers.get('ETag'), `"sha256:${createHash('sha256').update(bytes).digest('hex')}"`);
        assert.equal(headers.get('Content-Type'), 'application/gzip');
        assert.equal(headers.get('Cache-Control'), 'public, no-cache, no-transform');
        assert.equal(headers.get('X-Content-Type-Options'), 'nosniff');
      });

      it('/cli.tgz answers HEAD like GET, without the bytes', async () => {
        const answer = await fetch(url(), { method: 'HEAD' });
        assert.equal(answer.status, 200);
        assert.equal(answer.headers.get('Content-Length'), String(clientPackage().length));
        assert.equal((await answer.arrayBuffer()).byteLength, 0);
      });

      it('/cli.tgz is not sent again to a client that has it', async () => {
        const etag = (await fetch(url(), { method: 'HEAD' })).headers.get('ETag') ?? '';
        const answer = await fetch(url(), { headers: { 'If-None-Match': etag } });
        assert.equal(answer.status, 304);
        assert.equal(answer.headers.get('ETag'), etag);
      });

      it('/cli.tgz cannot be changed', async () => {
        assert.equal((await fetch(url(), { method: 'PUT', body: 'other' })).status, 404);
      });
    });
  },
  { vars: { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' } },
);

describe('the package of the command', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'longshore-package-'));
    writeFileSync(join(folder, 'cli.tgz'), clientPackage());
    execFileSync('tar', ['-xzf', 'cli.tgz'], { cwd: folder });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const program = () => join(folder, 'package/longshore.cjs');

  it('the package of the command has one file of code and no dependencies', () => {
    const files = execFileSync('tar', ['-tzf', 'cli.tgz'], { cwd: folder, encoding: 'utf8' });
    assert.deepEqual(files.trim().split('\n'), ['package/package.json', 'package/longshore.cjs']);
    const description = JSON.parse(readFileSync(join(folder, 'package/package.json'), 'utf8'));
    assert.equal(description.dependencies, undefined);
    assert.deepEqual(description.bin, { longshore: 'longshore.cjs' });
  });

  it('the package of the command has the same bytes each time that it is made', () => {
    const made = execFileSync(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `import { clientPackage } from './deploy/client-package.ts'; process.stdout.write(clientPackage());`,
      ],
      { cwd: ROOT },
    );
    assert.ok(made.equals(clientPackage()));
  });

  it('the package of the command tells the version of package.json', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    assert.equal(VERSION, version);
    const told = execFileSync(process.execPath, [program(), '--version'], { encoding: 'utf8' });
    assert.equal(told, `${version}\n`);
  });

  it('the package of the command says in a sentence that it needs a newer Node', () => {
    const old = join(folder, 'old.cjs');
    writeFileSync(old, `Object.defineProperty(process.versions, 'node', { value: '18.20.0' });`);
    assert.throws(
      () =>
        execFileSync(process.execPath, ['--require', old, program(), '--help'], {
          encoding: 'utf8',
          stdio: 'pipe',
        }),
      (error: { stderr: string; status: number }) => {
        assert.equal(error.stderr, 'longshore needs Node 20 or newer, and this is Node 18.20.0.\n');
        assert.equal(error.status, 1);
        return true;
      },
    );
  });
});
