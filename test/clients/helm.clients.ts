// helm packages a chart, pushes it, reads it in the registry, and pulls back the same package.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { hashFile } from './support/layout.ts';
import { scene } from './support/registry.ts';

describe('helm', needs('helm'), () => {
  const here = scene('helm');
  const helm = (...args: string[]) => client('helm', here.home)(args);

  const chart = async (version: string): Promise<string> => {
    const folder = join(await here.fresh('chart'), 'harbour');
    await mkdir(join(folder, 'templates'), { recursive: true });
    const description = `apiVersion: v2\nname: harbour\nversion: ${version}\ndescription: Ships come and go\n`;
    await writeFile(join(folder, 'Chart.yaml'), description);
    await writeFile(join(folder, 'values.yaml'), 'berths: 3\n');
    const template =
      'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: berths\ndata:\n  count: "{{ .Values.berths }}"\n';
    await writeFile(join(folder, 'templates', 'berths.yaml'), template);
    const packed = await here.fresh('packed');
    await helm('package', folder, '--destination', packed);
    return join(packed, `harbour-${version}.tgz`);
  };

  test('helm pushes charts, shows them, pulls them back, and renders one from the registry', async () => {
    const repository = `oci://${here.repository('helm')}`;
    // The plus sign of a version is no part of a tag: helm writes it as an underscore.
    for (const version of ['1.2.3', '1.3.0+build.7']) {
      const packed = await chart(version);
      await helm('push', '--plain-http', packed, repository);
      const where = [`${repository}/harbour`, '--version', version, '--plain-http'];
      const pulled = await here.fresh('pulled');
      await helm('pull', ...where, '--destination', pulled);
      assert.deepEqual(await hashFile(join(pulled, `harbour-${version}.tgz`)), await hashFile(packed));
      assert.match(await helm('show', 'chart', ...where), /description: Ships come and go/);
      assert.match(await helm('template', 'release', ...where, '--set', 'berths=5'), /count: "5"/);
    }
    // Without a version helm lists the tags and takes the newest that is a version.
    const newest = await helm('show', 'chart', `${repository}/harbour`, '--plain-http');
    assert.match(newest, /version: 1\.3\.0\+build\.7/);
  });
});
