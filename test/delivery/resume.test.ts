/**
 * A download that was cut off goes on where it stood, by curl itself (`-C -`), through a redirect that is made anew: also
 * when the one that it began with has expired.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { blob } from '../support/fixtures.ts';
import { eachHome, type Home, onHome } from '../support/homes.ts';
import { pushBlob, send } from './client.ts';

const run = promisify(execFile);
const SIZE = 3_000_000;
/** Longer than any URL lives. */
const EXPIRED_MS = 1500_000;

const folder = mkdtempSync(join(tmpdir(), 'longshore-resume-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('at the own blob host', () => {
  eachHome((home) => resumes(home, (ms) => home.setClockAhead(ms)), { vars: { BLOB_DELIVERY: 'redirect' } });
});

describe('at a blob domain', () => {
  onHome(
    'r2',
    (home) => {
      resumes(home, async (ms) => {
        await send(home.blobDomain, `/clock?ahead=${ms}`);
        await home.setClockAhead(ms);
      });

      it('a client that resumes asks the blob domain for the rest only', async () => {
        const { path, bytes } = await pushBlob(home, blob(SIZE));
        const file = partial('domain', bytes.subarray(0, 1_000_000));
        await send(home.blobDomain, '/requests');
        await resume(`${home.url}${path}`, file);
        const requests = JSON.parse((await send(home.blobDomain, '/requests')).body.toString());
        assert.deepEqual(
          requests.map(({ method, range, status }: Record<string, unknown>) => ({ method, range, status })),
          [{ method: 'GET', range: 'bytes=1000000-', status: 206 }],
        );
      });
    },
    { blobDomain: { secrets: ['secret'], ttl: 1500 } },
  );
});

describe('streamed', () => {
  eachHome((home) => resumes(home, (ms) => home.setClockAhead(ms)), { vars: { BLOB_DELIVERY: 'stream' } });
});

function resumes(home: Home, setAhead: (ms: number) => Promise<void>): void {
  for (const had of [1, 65_536, 1_234_567, SIZE - 1]) {
    it(`a client resumes a blob at byte ${had}`, async () => {
      const { path, bytes } = await pushBlob(home, blob(SIZE));
      const file = partial(`${home.name}-${had}`, bytes.subarray(0, had));
      assert.deepEqual(await resume(`${home.url}${path}`, file), { received: SIZE - had, status: 206 });
      assert.ok(readFileSync(file).equals(bytes));
    });
  }

  it('a client resumes a blob after an abort, when the URL that it began with has expired', async () => {
    const { path, bytes } = await pushBlob(home, blob(SIZE));
    const file = join(folder, `${home.name}-aborted`);
    // The client hangs up as soon as it has had enough.
    const response = await fetch(`${home.url}${path}`);
    const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
    const { value } = await reader.read();
    await reader.cancel();
    assert.ok(value !== undefined && value.length > 0 && value.length < SIZE);
    writeFileSync(file, value);

    await setAhead(EXPIRED_MS);
    if (response.redirected) {
      assert.equal((await fetch(response.url, { headers: { Range: 'bytes=0-9' } })).status, 403);
    }
    assert.deepEqual(await resume(`${home.url}${path}`, file), {
      received: SIZE - value.length,
      status: 206,
    });
    assert.ok(readFileSync(file).equals(bytes));
    await setAhead(0);
  });

  it('a client that has the whole blob resumes with nothing left to do', async () => {
    const { path, bytes } = await pushBlob(home, blob(SIZE));
    const file = partial(`${home.name}-all`, bytes);
    // Curl takes a 416 whose Content-Range says that it has all for the end; older ones report it.
    const { received, status } = await resume(`${home.url}${path}`, file);
    assert.equal(status, 416);
    assert.ok(received < 1024);
    assert.ok(readFileSync(file).equals(bytes));
  });
}

function partial(name: string, bytes: Buffer): string {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

/** What curl wrote to the file, in bytes, and the last status that it got. */
async function resume(url: string, file: string): Promise<{ received: number; status: number }> {
  const format = '%{size_download} %{http_code}';
  const { stdout } = await run('curl', ['-sS', '-L', '-C', '-', '-o', file, '-w', format, url]);
  const [received, status] = stdout.split(' ').map(Number);
  return { received: received ?? 0, status: status ?? 0 };
}
