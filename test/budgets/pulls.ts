/** What a pull may cost, request by request, and whole images as clients pull them: cold, and warm. */
import { REDIRECT_MIN_BYTES } from '../../worker/oci/limits.ts';
import { blob, digest } from '../support/fixtures.ts';
import { cost, type Row } from './row.ts';

/** The first pull of a repository makes the table of pulls: 2 rows. Within an hour, no further pull of the tag or digest writes. */
const FIRST_PULL_ROWS = 3;

/** What is redirected. */
const layer = () => blob(REDIRECT_MIN_BYTES);

export const PULLS: Row[] = [
  {
    name: 'HEAD manifest by tag',
    given: async (registry) => {
      await registry.pushImage('latest');
      return () => registry.send('HEAD', 'manifests/latest', 200);
    },
    budget: cost(1, 0, 0, FIRST_PULL_ROWS),
  },
  {
    name: 'GET manifest by tag',
    given: async (registry) => {
      await registry.pushImage('latest');
      return () => registry.send('GET', 'manifests/latest', 200);
    },
    budget: cost(1, 0, 0, FIRST_PULL_ROWS),
  },
  ...(['HEAD', 'GET'] as const).map(
    (method): Row => ({
      name: `${method} manifest by digest`,
      given: async (registry) => {
        const image = await registry.pushImage('latest');
        return () => registry.send(method, `manifests/${image.digest}`, 200);
      },
      budget: cost(1, 0, 0, method === 'GET' ? FIRST_PULL_ROWS : 0),
    }),
  ),
  ...(['HEAD', 'GET'] as const).map(
    (method): Row => ({
      name: `${method} manifest by digest, warm`,
      given: async (registry) => {
        const image = await registry.pushImage('latest');
        await registry.send('GET', `manifests/${image.digest}`, 200);
        // The edge keeps nothing of a HEAD: on Cloudflare it is answered from what the GET has left.
        await registry.send('HEAD', `manifests/${image.digest}`, 200);
        return () => registry.send(method, `manifests/${image.digest}`, 200);
      },
      budget: cost(0),
    }),
  ),
  {
    name: 'HEAD blob',
    given: async (registry) => {
      const bytes = await registry.pushWhole(layer());
      return () => registry.send('HEAD', `blobs/${digest(bytes)}`, 200);
    },
    budget: cost(1),
  },
  {
    name: 'HEAD blob, warm',
    given: async (registry) => {
      const bytes = await registry.pushWhole(layer());
      await registry.send('HEAD', `blobs/${digest(bytes)}`, 200);
      return () => registry.send('HEAD', `blobs/${digest(bytes)}`, 200);
    },
    budget: cost(0),
  },
  {
    name: 'GET blob, redirected, the first of an isolate',
    given: async (registry) => {
      const bytes = await registry.pushWhole(layer());
      return () => registry.getBlob(bytes);
    },
    // The key is made.
    budget: cost(2, 0, 0, 1),
  },
  {
    name: 'GET blob, redirected',
    given: async (registry) => {
      const bytes = await registry.pushWhole(layer());
      return () => registry.getBlob(bytes);
    },
    budget: cost(1),
  },
  {
    name: 'GET blob, redirected, warm',
    given: async (registry) => {
      const bytes = await registry.pushWhole(layer());
      await registry.send('HEAD', `blobs/${digest(bytes)}`, 200);
      return () => registry.getBlob(bytes);
    },
    budget: cost(0),
  },
  {
    name: 'GET blob, streamed',
    given: async (registry) => {
      const bytes = await registry.pushWhole(blob());
      return () => registry.send('GET', `blobs/${digest(bytes)}`, 200);
    },
    budget: cost(1, 0, 1),
  },
  {
    name: 'GET blob, streamed, warm',
    given: async (registry) => {
      const bytes = await registry.pushWhole(blob());
      await registry.getBlob(bytes);
      return () => registry.getBlob(bytes);
    },
    budget: cost(0),
  },
  ...(['docker', 'podman'] as const).flatMap((client): Row[] => [
    {
      name: `pull of 5 layers as ${client} does`,
      given: async (registry) => {
        const image = await registry.pushImage('latest', Array.from({ length: 5 }, layer));
        return () => registry.pull('latest', image, client);
      },
      // The tag, the manifest by digest where it is asked for, and the links; the config's bytes.
      budget: cost(
        client === 'docker' ? 8 : 7,
        0,
        1,
        client === 'docker' ? FIRST_PULL_ROWS + 1 : FIRST_PULL_ROWS,
      ),
    },
    {
      name: `pull of 5 layers as ${client} does, warm`,
      given: async (registry) => {
        const image = await registry.pushImage('latest', Array.from({ length: 5 }, layer));
        await registry.pull('latest', image, client);
        return () => registry.pull('latest', image, client);
      },
      budget: cost(1),
    },
  ]),
];
