/**
 * Signed URLs against vectors that this code did not make: literals that `openssl dgst -sha256 -hmac` gave, and `createHmac`.
 * Then what a signature promises about time and secrets.
 */
import assert from 'node:assert/strict';
import { createHmac, webcrypto } from 'node:crypto';
import { beforeEach, describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { UrlSigner } from '../../worker/delivery/signature.ts';

const LIFETIME = 1200;
const WINDOW = 300;
/** A time that begins a window, in seconds. */
const START = 1_795_267_800;
const PATH = '/blobs/01234567-89ab-4cde-8f01-23456789abcd';

/** `printf %s "<path><time>" | openssl dgst -sha256 -hmac "<secret>" -binary | base64` */
const vectors: { secret: string; path: string; time: number; mac: string }[] = [
  {
    secret: 'secret-one',
    path: PATH,
    time: 1_700_000_100,
    mac: 'NI2Qt8Bmvd6yR6BHFEAWurOhe4gGPfgLEJOQGrj0rAc=',
  },
  {
    secret: 'secret-one',
    path: '/blob-host/sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0/blobs/00000000-0000-4000-8000-000000000000',
    time: START,
    mac: '+oqiBbzWp7NRMXMQrwmiXCEeM4mDvqn+CJc+oSssF9k=',
  },
  {
    secret: 'secret-one',
    path: '/',
    time: 1_000_000_000,
    mac: '8hhVB/hsQQt+CUebdqfbFu5/Krj25j9qAo1zGyWXM+s=',
  },
  {
    secret: 'zweiter Schlüssel',
    path: PATH,
    time: 1_700_000_100,
    mac: 't8fW3hcL+nBUyDxCST+YbVwxXgoqT3/Bz1UwF78m164=',
  },
];

beforeEach(() => mock.timers.reset());

describe('a signature', () => {
  for (const { secret, path, time, mac } of vectors) {
    it(`a signature is what openssl makes of ${path.slice(0, 30)} at ${time} with ${secret}`, async () => {
      at(time);
      const signed = await signer(secret).sign(path);
      assert.equal(
        signed,
        `${path}?verify=${time - (time % WINDOW)}-${encodeURIComponent(macOf(secret, path, time - (time % WINDOW)))}`,
      );
      assert.equal(macOf(secret, path, time), mac, 'the test computes as openssl does');
      assert.equal(
        await verdictOf(signer(secret), `${path}?verify=${time}-${encodeURIComponent(mac)}`),
        'valid',
      );
    });
  }

  it('a signature is what node:crypto makes of any path, secret and time, in a form that a URL takes', async () => {
    const path = fc
      .string({ unit: fc.constantFrom(...'abcdef0123456789/-') })
      .map((text) => `/blobs/${text}`);
    const secrets = fc.string({ minLength: 1, unit: 'grapheme' });
    await fc.assert(
      fc.asyncProperty(
        path,
        secrets,
        fc.integer({ min: 1_700_000_000, max: 9e9 }),
        async (path, secret, now) => {
          at(now);
          const signed = await signer(secret).sign(path);
          const time = now - (now % WINDOW);
          const url = new URL(signed, 'https://blobs.example');
          assert.equal(url.searchParams.get('verify'), `${time}-${macOf(secret, path, time)}`);
          assert.equal(
            url.href,
            `https://blobs.example${signed}`,
            'nothing that a parser would write differently',
          );
          assert.equal(await verdictOf(signer(secret), signed), 'valid');
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('the time in a URL', () => {
  it('the time in a URL is the same within a window, and another in the next', async () => {
    const urls = new Set<string>();
    for (const second of [0, 1, WINDOW / 2, WINDOW - 1]) {
      at(START + second);
      urls.add(await signer('one').sign(PATH));
    }
    assert.equal(urls.size, 1);
    at(START + WINDOW);
    urls.add(await signer('one').sign(PATH));
    assert.equal(urls.size, 2);
  });

  it('the time in a URL leaves every URL at least its lifetime, and at most one window more', async () => {
    for (const second of [0, 1, WINDOW - 1]) {
      at(START + second);
      const url = await signer('one').sign(PATH);
      at(START + second + LIFETIME);
      assert.equal(await verdictOf(signer('one'), url), 'valid', `made ${second} s into the window`);
      at(START + second + LIFETIME + WINDOW);
      assert.equal(await verdictOf(signer('one'), url), 'expired', `made ${second} s into the window`);
    }
  });

  it('the time in a URL ends it to the second, as the rule does: valid while now < time + lifetime + window', async () => {
    at(START);
    const url = await signer('one').sign(PATH);
    const { validFor } = signer('one');
    assert.equal(validFor, LIFETIME + WINDOW);
    for (const [second, verdict] of [
      [validFor - 1, 'valid'],
      [validFor, 'expired'],
      [validFor + 1, 'expired'],
    ] as const) {
      at(START + second);
      assert.equal(await verdictOf(signer('one'), url), verdict, `${second} s later`);
    }
  });
});

describe('the secrets', () => {
  it('a blob host signs with the first secret and accepts all', async () => {
    at(START);
    const both = signer('new', 'old');
    const [ofNew, ofOld, ofOther] = await Promise.all(
      ['new', 'old', 'other'].map((secret) => signer(secret).sign(PATH)),
    );
    assert.equal(await both.sign(PATH), ofNew);
    assert.equal(await verdictOf(both, ofNew), 'valid');
    assert.equal(await verdictOf(both, ofOld), 'valid');
    assert.equal(await verdictOf(both, ofOther), 'forged');
  });

  it('secrets rotate without an outage, in any order that gives the new one before the old is taken away', async () => {
    at(START);
    const steps = [['old'], ['old', 'new'], ['new', 'old'], ['new']];
    for (const [index, before] of steps.entries()) {
      const after = steps[index + 1];
      if (after === undefined) break;
      const url = await signer(...before).sign(PATH);
      // The last step waits until what the old one signed has expired.
      if (!after.includes(before[0] ?? '')) continue;
      assert.equal(await verdictOf(signer(...after), url), 'valid', `${before} -> ${after}`);
    }
    assert.equal(await verdictOf(signer('new'), await signer('new', 'old').sign(PATH)), 'valid');
  });

  it('the secrets of signatures are no longer accepted when they are taken away', async () => {
    at(START);
    const url = await signer('old').sign(PATH);
    assert.equal(await verdictOf(signer('new'), url), 'forged');
  });

  it('the secrets of signatures tell an expired URL of the registry from one that it never signed', async () => {
    at(START);
    const url = await signer('one').sign(PATH);
    at(START + LIFETIME + WINDOW);
    assert.equal(await verdictOf(signer('one'), url), 'expired');
    assert.equal(await verdictOf(signer('two'), url), 'forged');
  });

  it('a signature needs at least one secret', async () => {
    await assert.rejects(signer().sign(PATH), /no secret/);
    assert.equal(await verdictOf(signer(), `${PATH}?verify=1700000000-AAAA`), 'forged');
  });
});

/** Sets the clock, in seconds. */
function at(seconds: number): void {
  mock.timers.reset();
  mock.timers.enable({ apis: ['Date'], now: seconds * 1000 });
}

function signer(...secrets: string[]): UrlSigner {
  const keys = () =>
    Promise.all(
      secrets.map((secret) =>
        webcrypto.subtle.importKey('raw', Buffer.from(secret), { name: 'HMAC', hash: 'SHA-256' }, false, [
          'sign',
        ]),
      ),
    );
  return new UrlSigner(keys, { lifetime: LIFETIME, window: WINDOW });
}

function macOf(secret: string, path: string, time: number): string {
  return createHmac('sha256', secret).update(`${path}${time}`).digest('base64');
}

function verdictOf(judge: UrlSigner, url = ''): Promise<string> {
  const mark = url.indexOf('?');
  return judge.verify(url.slice(0, mark), url.slice(mark));
}
