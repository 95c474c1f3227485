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

export const GUARDED_ROWS: Row[] = [
  {
    name: 'a token',
    given: async (registry) => {
      await registry.token(ADMIN, 'pull');
      return () => registry.token(ADMIN, 'pull');
    },
    budget: cost(1, 0, 0, 0),
  },
  {
    name: 'a token and a small image to an existing repository, all in all',
    given: async (registry) => {
      await pusher(registry);
      return async () => registry.as(await registry.token(ADMIN, 'pull,push')).pushSmallImage('latest');
    },
    budget: cost(9, 2, 0, 39),
  },
];
