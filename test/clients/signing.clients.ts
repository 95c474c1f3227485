// cosign and notation sign with keys made here and no log or service beside the registry, and verify what they find again.
// Their signatures are referrers, so oras has to discover them; cosign's older way is a tag named after the digest.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { writeLayout } from './support/layout.ts';
import { type Scene, scene } from './support/registry.ts';

interface Discovered {
  referrers?: { digest: string; artifactType: string }[];
}

async function discoveredTypes(here: Scene, reference: string): Promise<string[]> {
  const oras = client('oras', here.home);
  // Asked of the referrers API itself, so that no fallback tag can stand in for it.
  const api = ['--distribution-spec', 'v1.1-referrers-api'];
  const found: Discovered = JSON.parse(
    await oras(['discover', '--plain-http', '--format', 'json', ...api, reference]),
  );
  return (found.referrers ?? []).map(({ artifactType }) => artifactType);
}

/** Pushes something to sign, and answers its repository and its digest. */
async function pushed(
  here: Scene,
  name: string,
): Promise<{ repository: string; reference: string; digest: string }> {
  const layout = await writeLayout(await here.fresh('pushed'));
  const repository = here.repository(name);
  await client(
    'oras',
    here.home,
  )(['cp', '--from-oci-layout', '--to-plain-http', `${layout.path}:latest`, `${repository}:v1`]);
  const { digest } = layout.root;
  return { repository, reference: `${repository}@${digest}`, digest };
}

describe('cosign', needs('cosign', 'oras'), () => {
  const here = scene('cosign');
  const run = (args: readonly string[], cwd = here.home) =>
    client('cosign', here.home)(args, { cwd, env: { COSIGN_PASSWORD: '', COSIGN_EXPERIMENTAL: '1' } });
  const SIGN = ['--use-signing-config=false', '--tlog-upload=false', '--allow-http-registry', '--yes'];
  const VERIFY = ['--insecure-ignore-tlog', '--allow-http-registry'];
  let key = '';
  let otherKey = '';
  before(async () => {
    [key, otherKey] = [await here.fresh('key'), await here.fresh('key')];
    for (const folder of [key, otherKey]) await run(['generate-key-pair'], folder);
  });

  test('cosign signs, and verifies with the public key and no other', async () => {
    const { reference } = await pushed(here, 'cosign');
    await assert.rejects(
      run(['verify', ...VERIFY, '--key', join(key, 'cosign.pub'), reference]),
      /no signatures/,
    );
    await run(['sign', ...SIGN, '--key', join(key, 'cosign.key'), reference]);
    const verified = await run(['verify', ...VERIFY, '--key', join(key, 'cosign.pub'), reference]);
    assert.match(verified, /docker-manifest-digest/);
    await assert.rejects(run(['verify', ...VERIFY, '--key', join(otherKey, 'cosign.pub'), reference]));
    assert.deepEqual(await discoveredTypes(here, reference), [
      'application/vnd.dev.sigstore.bundle.v0.3+json',
    ]);
  });

  test('cosign signs in the older way, under a tag named after the digest', async () => {
    const { repository, reference, digest } = await pushed(here, 'cosign-tag');
    const older = '--new-bundle-format=false';
    await run(['sign', ...SIGN, older, '--key', join(key, 'cosign.key'), reference]);
    await run(['verify', ...VERIFY, older, '--key', join(key, 'cosign.pub'), reference]);
    const tags = await client('oras', here.home)(['repo', 'tags', '--plain-http', repository]);
    assert.deepEqual(tags.trim().split('\n').sort(), [`${digest.replace(':', '-')}.sig`, 'v1']);
  });

  test('cosign attests, and gives back the predicate that it signed', async () => {
    const { reference } = await pushed(here, 'cosign-attest');
    const predicate = { builder: 'the suite', materials: ['wood', 'rope'] };
    const path = here.path('predicate.json');
    await writeFile(path, JSON.stringify(predicate));
    const type = ['--type', 'https://example.org/predicate'];
    await run(['attest', ...SIGN, ...type, '--predicate', path, '--key', join(key, 'cosign.key'), reference]);
    const verify = ['verify-attestation', ...VERIFY, ...type, '--key', join(key, 'cosign.pub'), reference];
    const envelope: { payload: string } = JSON.parse(await run(verify));
    const statement: { predicate: unknown } = JSON.parse(Buffer.from(envelope.payload, 'base64').toString());
    assert.deepEqual(statement.predicate, predicate);
    assert.equal((await discoveredTypes(here, reference)).length, 1);
  });

  for (const { name, mode, referrers } of [
    { name: 'a tag', mode: 'legacy', referrers: 0 },
    { name: 'a referrer', mode: 'oci-1-1', referrers: 1 },
  ]) {
    test(`cosign attaches a bill of materials as ${name}`, async () => {
      const { reference } = await pushed(here, 'cosign-sbom');
      const path = here.path('sbom.json');
      await writeFile(path, JSON.stringify({ spdxVersion: 'SPDX-2.3', name: mode }));
      const attach = ['attach', 'sbom', '--registry-referrers-mode', mode, '--allow-http-registry'];
      await run([...attach, '--type', 'spdx', '--input-format', 'json', '--sbom', path, reference]);
      assert.equal((await discoveredTypes(here, reference)).length, referrers);
      if (mode === 'legacy') {
        const back = await run(['download', 'sbom', '--allow-http-registry', reference]);
        assert.equal(back.trim(), await readFile(path, 'utf8'));
      }
    });
  }
});

describe('notation', needs('notation', 'oras'), () => {
  const here = scene('notation');
  const run = (...args: string[]) => client('notation', here.home)(args);

  test('notation signs as a referrer, lists, and verifies by its policy', async () => {
    const { reference, digest } = await pushed(here, 'notation');
    await run('certificate', 'generate-test', '--default', 'longshore.test');
    const policy = {
      name: 'all',
      registryScopes: ['*'],
      signatureVerification: { level: 'strict' },
      trustStores: ['ca:longshore.test'],
      trustedIdentities: ['*'],
    };
    const path = here.path('policy.json');
    await writeFile(path, JSON.stringify({ version: '1.0', trustPolicies: [policy] }));
    await run('policy', 'import', path);

    await assert.rejects(run('verify', '--insecure-registry', reference), /no signature/);
    for (const format of ['jws', 'cose']) {
      const sign = ['sign', '--insecure-registry', '--force-referrers-tag=false'];
      await run(...sign, '--signature-format', format, reference);
    }
    assert.match(await run('verify', '--insecure-registry', reference), /Successfully verified/);
    assert.match(await run('list', '--insecure-registry', reference), new RegExp(digest));
    const types = await discoveredTypes(here, reference);
    assert.deepEqual(types, [
      'application/vnd.cncf.notary.signature',
      'application/vnd.cncf.notary.signature',
    ]);
  });
});
