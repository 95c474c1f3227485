/** The composition root: reads what is bound, wires the registry, and exports the handlers and the Durable Objects. */
import { createApp } from './app.ts';
import type { Env } from './env.ts';
import { DurableRegistry } from './storage/registry.ts';

export { Accounts } from '../durable-objects/accounts.ts';
export { BlobShard } from '../durable-objects/blob-shard.ts';
export { Catalog } from '../durable-objects/catalog.ts';
export { Repository } from '../durable-objects/repository.ts';
export { UploadSession } from '../durable-objects/upload-session.ts';

type App = ReturnType<typeof createApp>;
const apps = new WeakMap<Env, App>();

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    let app = apps.get(env);
    if (app === undefined) {
      app = createApp(new DurableRegistry(env));
      apps.set(env, app);
    }
    const response = Promise.resolve(app.fetch(request, env, ctx));
    // A client that goes away must not keep us from writing down what it has sent.
    if (request.method !== 'GET' && request.method !== 'HEAD') ctx.waitUntil(response);
    const answer = await response;
    answer.headers.set('Docker-Distribution-API-Version', 'registry/2.0');
    return answer;
  },
};
