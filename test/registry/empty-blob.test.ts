/** The empty blob, which is smaller than any limit: it is where all blobs are, and stays there when it is read again. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Client, withDigest } from '../faults/client.ts';
import { digest as digestOf, imageManifest, repositoryName } from '../support/fixtures.ts';
import { eachHome } from '../support/homes.ts';

const EMPTY = Buffer.alloc(0);
const DIGEST = digestOf(EMPTY);

const WAYS: [name: string, push: (client: Client, repository: string) => Promise<unknown>][] = [
  [
    'POST and PUT',
    async (client, name) => client.want(201, 'PUT', withDigest(await client.startUpload(name), DIGEST)),
  ],
  ['one POST', (client, name) => client.want(201, 'POST', `/v2/${name}/blobs/uploads/?digest=${DIGEST}`)],
  [
    'POST, PATCH and PUT',
    async (client, name) => {
      const location = await client.startUpload(name);
      await client.want(202, 'PATCH', location, { body: EMPTY });
      await client.want(201, 'PUT', withDigest(location, DIGEST));
    },
  ],
];

// The edge keeps what was read, as it does unless a setting says otherwise.
eachHome((home) => {
  for (const [name, push] of WAYS) {
    it(`an empty blob that came by ${name} is read again and again`, async () => {
      const [client, repository] = [new Client(home), repositoryName('empty')];
      await push(client, repository);
      for (let times = 0; times < 3; times++) {
        const { body } = await client.want(200, 'GET', `/v2/${repository}/blobs/${DIGEST}`);
        assert.equal(body.length, 0);
        await home.cached();
      }
      const image = imageManifest({ layers: [EMPTY] });
      await client.pushBlob(repository, image.blobs[0] ?? EMPTY);
      const { status, body } = await client.putManifest(repository, 'v1', image);
      assert.equal(status, 201, body.toString());
      assert.equal(await client.pullManifest(repository, 'v1'), image.digest);
    });
  }
});
