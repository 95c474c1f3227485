// OCI layouts as a source of images.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openSource } from '../../cli/transfer/open-source.ts';
import { writeLayout } from '../clients/support/layout.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longshore-sources-'));
});
after(() => rm(folder, { recursive: true, force: true }));

describe('an OCI layout', () => {
  it('an OCI layout gives all its manifests and blobs', async () => {
    const layout = await writeLayout(join(folder, 'two'), { architectures: ['amd64', 'arm64'] });
    await using source = await openSource(`oci:${layout.path}`, {
      compression: 'gzip',
      report: assert.fail,
      env: {},
    });
    const digests: string[] = [];
    for await (const blob of source.blobs()) {
      digests.push(blob.descriptor.digest);
      let size = 0;
      for await (const piece of blob.open(0, blob.size)) size += piece.length;
      assert.equal(size, blob.size);
    }
    assert.equal(digests.length, 6);
    const manifests = await source.manifests();
    assert.deepEqual(
      manifests.map(({ descriptor }) => descriptor.digest),
      [...layout.manifests.map(({ digest }) => digest), layout.root.digest],
    );
  });

  it('an OCI layout that lacks a platform names the ones that are here', async () => {
    const layout = await writeLayout(join(folder, 'part'), { architectures: ['amd64', 'arm64', 's390x'] });
    await rm(join(layout.path, 'blobs', layout.manifests[1]?.digest.replace(':', '/') ?? ''));
    for (const platform of [undefined, 'linux/arm64']) {
      await using source = await openSource(layout.path, {
        compression: 'gzip',
        report: assert.fail,
        env: {},
        platform,
      });
      await assert.rejects(
        source.manifests(),
        /incomplete: .* \(linux\/arm64\) missing\.\nChoose a platform that is here with --platform: linux\/amd64, linux\/s390x\.$/,
      );
    }
  });
});
