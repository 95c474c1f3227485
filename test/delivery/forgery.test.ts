/**
 * Altered, stolen and expired URLs, at the registry's own blob host in both homes and at a blob domain: none of them gets a
 * byte. The rows are in `forgeries.ts`.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { eachHome, type Home, onHome } from '../support/homes.ts';
import {
  type Answer,
  errorOf,
  follow,
  locationOf,
  type Pushed,
  pushBlob,
  REDIRECTED_BYTES,
  send,
} from './client.ts';
import { equivalents, forgeries, type Genuine, genuineOf, target } from './forgeries.ts';

const SECRETS = ['the first secret', 'the second secret'];
/** How long a URL is valid from the time in it, in seconds: a lifetime and a window. */
const VALID_FOR = 1200 + 300;

it('there are 60 forgeries and more, each with a name of its own', () => {
  assert.ok(forgeries.length >= 60);
  assert.equal(new Set(forgeries.map(({ name }) => name)).size, forgeries.length);
});

eachHome(
  (home) => {
    const given = stage(home);

    it('the registry is its own blob host', () => assert.equal(given.origin, home.url));

    describe('its blob host refuses', () => {
      for (const { name, forge } of forgeries) {
        it(`the own blob host of a registry refuses ${name}`, async () => {
          const answer = await send(given.origin, forge(given.genuine));
          refused(given, answer);
          // What a URL parser makes another path of is not the blob host's to answer.
          if (answer.status === 404) return;
          assert.equal(answer.status, 403);
          assert.equal(answer.headers['content-type'], 'application/json');
          const { code, message } = errorOf(answer);
          assert.equal(code, 'DENIED');
          assert.match(message, /ask the registry for the blob$/);
        });
      }

      it('the own blob host of a registry refuses a HEAD too, which tells no size either', async () => {
        const answer = await send(given.origin, target(given.genuine, { mac: '' }), { method: 'HEAD' });
        assert.equal(answer.status, 403);
        assert.notEqual(answer.headers['content-length'], String(REDIRECTED_BYTES));
      });
    });

    describe('its blob host gives nothing but the blob of the signature for', () => {
      for (const { name, forge } of equivalents) {
        it(`the own blob host gives only the blob of the signature for ${name}`, async () => {
          const answer = await send(given.origin, forge(given.genuine));
          if (answer.status === 200) assert.ok(answer.body.equals(given.blobs[0]?.bytes ?? Buffer.alloc(0)));
          else refused(given, answer);
        });
      }
    });

    clock(given, home.setClockAhead.bind(home));
  },
  { vars: { BLOB_DELIVERY: 'redirect', BLOB_URL_SECRETS: SECRETS.join(',') } },
);

onHome(
  'r2',
  (home) => {
    const given = stage(home);

    it('the blob domain is of another origin and of another host', () => {
      assert.equal(given.origin, home.blobDomain);
      assert.notEqual(new URL(given.origin).hostname, new URL(home.url).hostname);
    });

    describe('a blob domain refuses', () => {
      for (const { name, forge } of forgeries.filter(({ spelling }) => spelling !== true)) {
        it(`a blob domain refuses ${name}`, async () =>
          refused(given, await send(given.origin, forge(given.genuine))));
      }
    });

    clock(given, async (ms) => {
      await send(home.blobDomain, `/clock?ahead=${ms}`);
    });
  },
  { blobDomain: { secrets: SECRETS, ttl: VALID_FOR } },
);

describe('with a key that the registry made itself', () => {
  eachHome(
    (home) => {
      const given = stage(home);
      for (const { name, forge } of forgeries.filter(({ name }) => /^mac: (?:by|of|over)/.test(name))) {
        it(`with a key that the registry made, it refuses ${name}`, async () =>
          refused(given, await send(given.origin, forge(given.genuine))));
      }
    },
    { vars: { BLOB_DELIVERY: 'redirect' } },
  );
});

interface Stage {
  origin: string;
  blobs: Pushed[];
  genuine: Genuine;
}

/** Two blobs in two repositories, and a URL of the first; filled in before the tests. */
function stage(home: Home): Stage {
  const given = { origin: '', blobs: [] as Pushed[], genuine: {} as Genuine };
  before(async () => {
    const mine = await pushBlob(home);
    const theirs = await pushBlob(home);
    given.blobs = [mine, theirs];
    const url = await locationOf(home, mine);
    given.origin = new URL(url).origin;
    const other = new URL(await locationOf(home, theirs));
    const upload = await send(home.url, `/v2/${mine.repository}/blobs/uploads/`, { method: 'POST' });
    given.genuine = genuineOf(url, {
      other: { path: other.pathname, query: other.search },
      uploadToken: /[0-9a-f]{64}/.exec(upload.headers.location ?? '')?.[0] ?? '',
      secret: SECRETS[0] ?? '',
    });
    assert.match(given.genuine.uploadToken, /./, 'an upload has a token');
    assert.ok((await follow(url)).body.equals(mine.bytes), 'the genuine URL works');
  });
  return given;
}

/** Nothing of any blob is in the answer, nor what would let in. */
function refused({ blobs }: Stage, answer: Answer): void {
  assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status}`);
  assert.ok(answer.body.length < 1024, 'the answer is short');
  for (const { bytes } of blobs) assert.ok(!answer.body.includes(bytes.subarray(0, 16)));
  assert.equal(answer.headers.location, undefined);
  assert.doesNotMatch(answer.headers['cache-control'] ?? '', /public|immutable/);
}

function clock(given: Stage, setAhead: (ms: number) => Promise<void>): void {
  describe('as time goes by', () => {
    const setTo = (second: number) => setAhead(second * 1000 - Date.now());

    it('a URL is taken while it lives', async () => {
      // Some time is left for the request itself; `signature.test.ts` has it to the second.
      await setTo(Number(given.genuine.time) + VALID_FOR - 60);
      const answer = await send(given.origin, target(given.genuine));
      assert.equal(answer.status, 200);
    });

    it('a URL is refused from the second on at which it expires', async () => {
      await setTo(Number(given.genuine.time) + VALID_FOR);
      const answer = await send(given.origin, target(given.genuine));
      assert.equal(answer.status, 403);
      refused(given, answer);
      if (answer.headers['content-type'] === 'application/json') {
        assert.match(errorOf(answer).message, /expired/);
      }
    });

    it('a URL that has expired is refused also with another time', async () => {
      const time = String(Number(given.genuine.time) + 300);
      refused(given, await send(given.origin, target(given.genuine, { time })));
      await setAhead(0);
    });
  });
}
