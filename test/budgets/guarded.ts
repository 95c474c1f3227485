/** What pushes, pulls and refusals may cost with access control and the audit log on, the rows of both counted. */
import type { Registry } from './client.ts';
import { cost, type Row } from './row.ts';

export const ADMIN = 'admin:the password of the admin';

/** A client that shows a token for the repository, which exists. */
async function pusher(registry: Registry): Promise<Registry> {
  const admin = registry.as(await registry.token(ADMIN, 'pull,push,delete'));
  await admin.pushImage('used');
  return admin;
}

const TAGS = ['1.0', '1.1', '1.2', '1.3'];

export const GUARDED_ROWS: Row[] = [
  {
    name: 'a token',
    given: async (registry) => {
      await registry.token(ADMIN, 'pull');
      return () => registry.token(ADMIN, 'pull');
    },
    budget: cost(1, 0, 0, 1),
  },
  {
    name: 'a token and a small image to an existing repository, all in all',
    given: async (registry) => {
      await pusher(registry);
      return async () => registry.as(await registry.token(ADMIN, 'pull,push')).pushSmallImage('latest');
    },
    budget: cost(6, 2, 0, 25),
  },
  {
    name: '20 pulls of 4 tags with a token, audited',
    given: async (registry) => {
      const admin = await pusher(registry);
      for (const tag of TAGS) await admin.pushImage(tag);
      const puller = registry.as(await registry.token(ADMIN, 'pull'));
      return async () => {
        for (let n = 0; n < 20; n++) await puller.send('GET', `manifests/${TAGS[n % TAGS.length]}`, 200);
      };
    },
    // The last pull of each tag with its table, and the audit log: 0.35 rows for a pull, and later fewer.
    budget: cost(20, 0, 0, 7),
  },
];
