/**
 * What `npm run blob-host` prints, held against what the registry signs. The rule is evaluated by an evaluator of its own, made
 * from Cloudflare's description of `is_timed_hmac_valid_v0()`; it shares nothing with the registry's verification.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { OptionFailure, parseOptions } from '../../deploy/options.ts';
import { rulesets } from '../../deploy/response-headers.ts';
import { blobHostSetup } from '../../deploy/setup.ts';
import { UrlSigner } from '../../worker/delivery/signature.ts';
import { OciError } from '../../worker/oci/errors.ts';
import { parseSettings } from '../../worker/settings.ts';

const COMMAND = join(import.meta.dirname, '../../deploy/blob-host.ts');
const OLD = 'old-secret_'.repeat(4);
const NEW = 'new-secret_'.repeat(4);
const PATH = '/blobs/0b9f5a3e-7f0c-4a53-9a43-3a6c1f0d7c11';
const HOST = 'blobs.example.com';
const NOW_S = 1_784_000_123;

interface Visit {
  host: string;
  /** Path and query. */
  uri: string;
  /** Unix time in seconds. */
  now: number;
}

describe('the firewall rule', () => {
  it('the firewall rule is evaluated here as openssl and base64 would', () => {
    // printf /images/cat.jpg1484063787 | openssl dgst -sha256 -hmac mysecrettoken -binary | base64
    const token = '1484063787-XsZ5NmtNBxOd4f4fBOtqVmpWRnDRNkHKVZieqDPKu3U%3D';
    const visit = { host: HOST, uri: `/images/cat.jpg?verify=${token}`, now: 1_484_063_787 };
    const rule = (secret: string) =>
      `starts_with(lower(http.host), "${HOST}") and not is_timed_hmac_valid_v0("${secret}", http.request.uri, 10800, http.request.timestamp.sec, 8)`;
    assert.equal(blocks(rule('mysecrettoken'), visit), false);
    assert.equal(blocks(rule('mysecrettokem'), visit), true);
    assert.equal(blocks(rule('mysecrettoken'), { ...visit, now: visit.now + 10_800 }), true);
  });

  for (const lifetime of ['60', '63', '1200', '86399', '432000']) {
    it(`the firewall rule lets a URL of ${lifetime} seconds in until the second in which the registry refuses it`, async (t) => {
      const rule = ruleFor('--lifetime', lifetime, '--secret', NEW);
      const signer = await registry(NEW, lifetime);
      const uri = await signedAt(t, signer, NOW_S);
      const made = Number(/verify=(\d+)/.exec(uri)?.[1]);
      const end = made + signer.validFor;
      assert.ok(end >= NOW_S + Number(lifetime), 'it lives for its lifetime');
      for (const [now, verdict] of [
        [NOW_S, 'valid'],
        [end - 1, 'valid'],
        [end, 'expired'],
      ] as const) {
        t.mock.timers.setTime(now * 1000);
        assert.equal(await signer.verify(...split(uri)), verdict);
        assert.equal(blocks(rule, { host: HOST, uri, now }), verdict !== 'valid', verdict);
      }
    });
  }

  it('the firewall rule blocks what is not signed, or not for this path', async (t) => {
    const rule = ruleFor('--secret', NEW);
    const uri = await signedAt(t, await registry(NEW), NOW_S);
    for (const altered of [PATH, '/', uri.replace('0b9f', '0b9e'), uri.replace('verify=17', 'verify=18')]) {
      assert.equal(blocks(rule, { host: HOST, uri: altered, now: NOW_S }), true, altered);
    }
    const strange = await signedAt(t, await registry(OLD), NOW_S);
    assert.equal(blocks(rule, { host: HOST, uri: strange, now: NOW_S }), true);
  });

  it('the firewall rule has the host, however it is written, and no other', () => {
    const rule = ruleFor('--secret', NEW);
    for (const host of [HOST, 'BLOBS.example.COM', `${HOST}:443`, `${HOST}.`]) {
      assert.equal(blocks(rule, { host, uri: PATH, now: NOW_S }), true, host);
    }
    assert.equal(blocks(rule, { host: 'www.example.com', uri: PATH, now: NOW_S }), false);
  });

  it('the firewall rule takes both secrets during a rotation, and one before and after', async () => {
    const uris = await Promise.all([OLD, NEW].map(async (secret) => (await registry(secret)).sign(PATH)));
    assert.equal(new Set(uris).size, 2);
    const rows = [
      { secrets: [OLD], blocked: [false, true] },
      { secrets: [NEW, OLD], blocked: [false, false] },
      { secrets: [NEW], blocked: [true, false] },
    ];
    const now = Math.floor(Date.now() / 1000);
    for (const { secrets, blocked } of rows) {
      const rule = ruleFor(...secrets.flatMap((secret) => ['--secret', secret]));
      assert.deepEqual(
        uris.map((uri) => blocks(rule, { host: HOST, uri, now })),
        blocked,
      );
    }
  });
});

describe('the text', () => {
  it('the text of npm run blob-host has the rules before the domain, and everything filled in', () => {
    const { setup } = parsed('--secret', NEW);
    const text = blobHostSetup(setup);
    const steps = [
      ...rulesets(setup).map(({ rules }) => `\n${rules[0].expression}\n`),
      `\nnpx wrangler r2 bucket domain add longshore-blobs --domain ${HOST} --zone-id "$ZONE_ID" --min-tls 1.2\n`,
      `\nBLOB_HOST = "${HOST}"\nBLOB_URL_LIFETIME = "1200"\n`,
      `\nprintf %s '${NEW}' | npx wrangler secret put BLOB_URL_SECRETS\nnpm run deploy\n`,
    ];
    const places = steps.map((step) => text.indexOf(step));
    assert.ok(!places.includes(-1), text);
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
    assert.doesNotMatch(text, /undefined|NaN|\[object/);
  });

  it('the text of npm run blob-host has commands whose JSON is that of the rules', () => {
    const { setup } = parsed('--secret', NEW);
    const bodies = [...blobHostSetup(setup).matchAll(/--json '([^']*)'$/gm)].map(([, body = '']) =>
      JSON.parse(body),
    );
    assert.deepEqual(
      bodies,
      rulesets(setup).flatMap((ruleset) => [ruleset, ruleset.rules[0]]),
    );
  });

  it('the text of npm run blob-host tells a rotation in its order, and how long to wait', () => {
    const text = blobHostSetup(parsed('--secret', NEW, '--secret', OLD).setup);
    const steps = [`("${OLD}"`, `'${NEW},${OLD}'`, 'Wait 1500 seconds', `'${NEW}' |`, `--secret ${NEW}\n`];
    const places = steps.map((step) => text.indexOf(step));
    assert.ok(!places.includes(-1), text);
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
  });

  it('the text of npm run blob-host has settings that the registry takes', () => {
    const { setup } = parsed('--lifetime', '600', '--secret', NEW, '--secret', OLD);
    const env = {
      BLOB_HOST: setup.host,
      BLOB_URL_SECRETS: setup.secrets.join(','),
      BLOB_URL_LIFETIME: String(setup.lifetime),
    };
    const { blobHost, urls } = parseSettings(env).delivery;
    assert.equal(blobHost, `https://${HOST}`);
    assert.equal(urls.lifetime + urls.window, setup.validFor);
  });
});

it('the cache rule ignores the signature, and keeps no error', () => {
  const [, cache] = rulesets(parsed().setup);
  assert.equal(cache?.phase, 'http_request_cache_settings');
  assert.deepEqual(cache?.rules[0].action_parameters, {
    cache: true,
    cache_key: { custom_key: { query_string: { exclude: { all: true } } } },
    edge_ttl: {
      mode: 'override_origin',
      default: 31_536_000,
      status_code_ttl: [{ status_code_range: { from: 300 }, value: -1 }],
    },
  });
});

describe('the command', () => {
  it('npm run blob-host makes a secret of 32 bytes, another each time', () => {
    const made = [command(), command()].map(({ stdout }) => /--secret ([\w-]{43})\n/.exec(stdout)?.[1]);
    assert.ok(made[0] !== undefined && made[0] !== made[1]);
  });

  it('npm run blob-host prints what the API takes, and nothing else, with --json', () => {
    const { stdout, status } = command('--secret', NEW, '--json');
    assert.equal(status, 0);
    assert.deepEqual(JSON.parse(stdout), rulesets(parsed('--secret', NEW).setup));
  });

  it('npm run blob-host says what is wrong, and how it is used', () => {
    const { stdout, stderr, status } = command('--lifetime', '5');
    assert.deepEqual({ stdout, status }, { stdout: '', status: 1 });
    assert.match(stderr, /BLOB_URL_LIFETIME is a number of seconds from 60 [\s\S]*--host/);
  });
});

describe('an option is refused', () => {
  const given = ['--host', HOST, '--bucket', 'longshore-blobs'];
  const rows: { name: string; args: string[]; message: RegExp }[] = [
    { name: 'no host', args: given.slice(2), message: /--host/ },
    { name: 'a URL for a host', args: [...given, '--host', `https://${HOST}`], message: /--host/ },
    { name: 'a host that would end the string', args: [...given, '--host', 'a".com'], message: /--host/ },
    { name: 'no bucket', args: given.slice(0, 2), message: /--bucket/ },
    { name: 'a bucket for the shell', args: [...given, '--bucket', 'a;b'], message: /--bucket/ },
    { name: 'a short secret', args: [...given, '--secret', 'short'], message: /--secret/ },
    { name: 'a secret with a comma', args: [...given, '--secret', `${OLD},${NEW}`], message: /--secret/ },
    { name: 'a secret with a quote', args: [...given, '--secret', `${OLD}"`], message: /--secret/ },
    { name: 'one secret twice', args: [...given, '--secret', OLD, '--secret', OLD], message: /--secret/ },
    {
      name: 'three secrets',
      args: [...given, ...[OLD, NEW, `${NEW}x`].flatMap((secret) => ['--secret', secret])],
      message: /--secret/,
    },
    { name: 'a lifetime of no number', args: [...given, '--lifetime', '20m'], message: /BLOB_URL_LIFETIME/ },
    { name: 'an option that is not there', args: [...given, '--zone', 'x'], message: /--zone/ },
  ];
  for (const { name, args, message } of rows) {
    it(`npm run blob-host refuses an option: ${name}`, () => {
      assert.throws(
        () => parseOptions(args),
        (fault) =>
          (fault instanceof OptionFailure || fault instanceof OciError) && message.test(fault.message),
      );
    });
  }
});

function parsed(...args: string[]) {
  return parseOptions(['--host', HOST, '--bucket', 'longshore-blobs', ...args]);
}

function ruleFor(...args: string[]): string {
  return rulesets(parsed(...args).setup)[0]?.rules[0].expression ?? '';
}

function command(...args: string[]) {
  const all = [COMMAND, '--host', HOST, '--bucket', 'longshore-blobs', ...args];
  return spawnSync(process.execPath, all, { encoding: 'utf8', timeout: 30_000 });
}

/** What signs and verifies in a registry with this setting. */
async function registry(secret: string, lifetime = '1200'): Promise<UrlSigner> {
  const key = await crypto.subtle.importKey(
    'raw',
    new TextEncoder().encode(secret),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const { urls } = parseSettings({ BLOB_URL_LIFETIME: lifetime }).delivery;
  return new UrlSigner(() => Promise.resolve([key]), urls);
}

function signedAt(t: TestContext, signer: UrlSigner, now: number): Promise<string> {
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ['Date'], now: now * 1000 });
  return signer.sign(PATH);
}

function split(uri: string): [path: string, query: string] {
  const { pathname, search } = new URL(uri, `https://${HOST}`);
  return [pathname, search];
}

const ON_HOST = /^starts_with\(lower\(http\.host\), "([^"\\]+)"\)$/;
const UNSIGNED =
  /^not is_timed_hmac_valid_v0\("([^"\\]+)", http\.request\.uri, (\d+), http\.request\.timestamp\.sec, (\d+)\)$/;

/** Evaluates an expression of the form that is printed; any other form is a failure. */
function blocks(expression: string, { host, uri, now }: Visit): boolean {
  const [where = '', ...conditions] = expression.split(' and ');
  const [, prefix] = ON_HOST.exec(where) ?? [];
  assert.ok(prefix !== undefined && conditions.length > 0, expression);
  const unsigned = conditions.map((condition) => {
    const [, key, ttl, separator] = UNSIGNED.exec(condition) ?? [];
    assert.ok(key !== undefined, condition);
    return !isTimedHmacValid(key, uri, Number(ttl), now, Number(separator));
  });
  return host.toLowerCase().startsWith(prefix) && unsigned.every(Boolean);
}

/** Rules language, "HMAC validation": a MessageMAC is message, separator, time of ten digits, hyphen, mac. */
function isTimedHmacValid(key: string, messageMac: string, ttl: number, now: number, separator: number) {
  const form = new RegExp(`^(.+).{${separator}}(\\d{10})-(.{43,})$`);
  const [, message, time, mac = ''] = form.exec(messageMac) ?? [];
  if (message === undefined || time === undefined) return false;
  const expected = createHmac('sha256', key).update(`${message}${time}`).digest('base64');
  return decodeURIComponent(mac) === expected && now < Number(time) + ttl;
}
