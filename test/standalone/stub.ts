// A Worker that stands in for the registry where the tests are about the machine under it: it answers
// /v2/, counts in every kind of Durable Object, reads and writes the folder, and shows its settings.
import { DurableObject } from 'cloudflare:workers';

interface Env {
  readonly REPOSITORY: DurableObjectNamespace<Repository>;
  readonly UPLOAD_SESSION: DurableObjectNamespace<UploadSession>;
  readonly BLOB_SHARD: DurableObjectNamespace<BlobShard>;
  readonly CATALOG: DurableObjectNamespace<Catalog>;
  readonly ACCOUNTS: DurableObjectNamespace<Accounts>;
  readonly AUDIT: DurableObjectNamespace<AuditLog>;
  readonly DISK: Fetcher;
}

class Counter extends DurableObject {
  /** Counts one more and answers how many that makes since the folder was made. */
  count(): number {
    const { sql } = this.ctx.storage;
    sql.exec('CREATE TABLE IF NOT EXISTS counts (n INTEGER PRIMARY KEY)');
    sql.exec('INSERT INTO counts DEFAULT VALUES');
    return sql.exec<{ n: number }>('SELECT count(*) AS n FROM counts').one().n;
  }
}

export class Repository extends Counter {}
export class UploadSession extends Counter {}
export class BlobShard extends Counter {}
export class Catalog extends Counter {}
export class Accounts extends Counter {}
export class AuditLog extends Counter {}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case '/v2/':
        return Response.json({});
      case '/count':
        return Response.json([
          await env.REPOSITORY.getByName('one').count(),
          await env.UPLOAD_SESSION.getByName('one').count(),
          await env.BLOB_SHARD.getByName('one').count(),
          await env.CATALOG.getByName('one').count(),
          await env.ACCOUNTS.getByName('one').count(),
          await env.AUDIT.getByName('one').count(),
        ]);
      case '/settings':
        return Response.json(
          Object.fromEntries(Object.entries(env).filter(([, value]) => typeof value === 'string')),
        );
      case '/print':
        console.log('the stub prints this');
        return new Response();
      case '/never':
        return new Promise<Response>(() => {});
      default:
        return env.DISK.fetch(`http://disk${pathname}`, request);
    }
  },
} satisfies ExportedHandler<Env>;
