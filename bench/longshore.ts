// The registry for the benchmark, with one more endpoint: it adds names of repositories to the catalog. Pushing 2,000 repositories
// would take minutes on a disk that syncs, and would not change the results.

import type { Env } from '../worker/env.ts';
import registry from '../worker/index.ts';
import { catalogOf } from '../worker/stubs.ts';

export * from '../worker/index.ts';

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    if (request.method !== 'POST' || !request.url.endsWith('/bench/catalog'))
      return registry.fetch(request, env, ctx);
    const catalog = catalogOf(env);
    const names: string[] = await request.json();
    await Promise.all(names.map((name) => catalog.announce(name, true, 1)));
    return new Response(null, { status: 204 });
  },
};
