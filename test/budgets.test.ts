/**
 * What a request may cost: the budgets of docs/architecture.md, counted at the bindings, with nothing remembered where a row
 * is not called warm. On R2 every row is held to its budget; on one machine the same table is printed, with the requests to
 * the disk.
 *
 * Messages that are sent after an answer (to the catalog, to a shard that a link is gone, to the audit log) are listed
 * apart, because no client waits for them. Their rows count, and those of alarms do not. The keys that prove upload ids and
 * URLs are fetched once by each isolate, and each has a row of its own, before all others that need it. Shards have been used
 * before, and so have repositories that a row does not call new: otherwise the rows of new tables would count.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Registry } from './budgets/client.ts';
import { ADMIN, GUARDED_ROWS } from './budgets/guarded.ts';
import { PULLS } from './budgets/pulls.ts';
import { PUSHES } from './budgets/pushes.ts';
import { type Cost, cost, type Row } from './budgets/row.ts';
import type { Counts } from './support/counts.ts';
import { blob, digest } from './support/fixtures.ts';
import { eachHome, type Home, type HomeOptions } from './support/homes.ts';
import { basic } from './support/visitor.ts';

const BACKGROUND = ['CATALOG.announce', 'BLOB_SHARD.release', 'AUDIT.record', 'UPLOAD_SESSION.published'];

const ROWS: Row[] = [
  {
    name: 'POST+PUT, the first of an isolate',
    given: async (registry) => () => registry.pushWhole(blob()),
    budget: cost(3, 1, 0, 20),
  },
  ...PULLS,
  ...PUSHES,
];

/** On Cloudflare, clients can store bytes in the bucket themselves. */
const DIRECT: HomeOptions = { s3Double: { accessKeyId: '0123456789abcdef', secretAccessKey: 'a secret' } };

const GUARDED: HomeOptions = { vars: { AUTH: 'on', ADMIN_PASSWORD: ADMIN.slice('admin:'.length) } };

/** A row of the table that is printed. */
type Printed = Cost & { rowsRead: number; deletes: number; disk: number; later: string };

eachHome((home) => {
  const table: Record<string, Printed> = {};
  before(async () => {
    await useShards(home);
    await useSessions(home);
    await home.restart(); // The isolate that answers now has fetched no key.
  });

  describe('the cost of', () => {
    for (const { name, given, budget } of ROWS) {
      it(`the cost is within the budget: ${name}`, async () => {
        const request = await given(new Registry(home));
        table[name] = await counted(home, request, budget);
      });
    }
  });

  if (home.name === 'disk') {
    it('what was read before and has not changed is read again at no cost', async () => {
      const registry = new Registry(home);
      const image = await registry.pushImage('latest');
      const [config = Buffer.alloc(0)] = image.blobs;
      const reads: [method: string, path: string][] = [
        ['HEAD', 'manifests/latest'],
        ['GET', 'manifests/latest'],
        ['GET', `manifests/${image.digest}`],
        ['HEAD', `blobs/${digest(config)}`],
      ];
      for (const [method, path] of reads) await registry.send(method, path, 200);
      await home.reset();
      for (const [method, path] of reads) await registry.send(method, path, 200);
      assert.deepEqual((await home.counts()).calls, []);
    });
  }

  after(() => print(home, table, 'What a request costs'));
}, DIRECT);

eachHome((home) => {
  const table: Record<string, Printed> = {};
  before(() => useShards(home, ADMIN));

  describe('with access control and the audit log, the cost of', () => {
    for (const { name, given, budget } of GUARDED_ROWS) {
      it(`with access control and the audit log, the cost is within the budget: ${name}`, async () => {
        const request = await given(new Registry(home));
        table[name] = await counted(home, request, budget);
      });
    }
  });

  after(() => print(home, table, 'With access control and the audit log'));
}, GUARDED);

/** Makes the requests, and holds what they cost to the budget. */
async function counted(home: Home, request: () => Promise<unknown>, budget: Cost): Promise<Printed> {
  await home.cached();
  await home.settled();
  await home.reset();
  await request();
  await home.settled();
  const counts = await home.counts();
  const { apart, deletes, disk, calls } = counts;
  const rowsRead = counts.rowsRead - apart.read;
  const rowsWritten = counts.rowsWritten - apart.written;
  const later = calls.filter((call) => BACKGROUND.includes(call));
  const found = cost(counts.durableObjects - later.length, counts.classA, counts.classB, rowsWritten);
  // On one machine the bytes cost no R2 operation, and what is asked again no call.
  const wanted = home.name === 'r2' ? budget : { ...budget, classA: 0, classB: 0 };
  const why = [calls.join(' '), ...Object.entries(counts.statements).map(statementText)].join('\n');
  for (const [what, most] of Object.entries(wanted)) {
    const cost = found[what as keyof Cost];
    assert.ok(cost <= most, `${cost} ${what}, of ${most}: ${why}`);
  }
  assert.equal(deletes, 0, 'nothing is written to be deleted');
  assert.deepEqual(await home.violations(), []);
  return { ...found, rowsRead, deletes, disk, later: later.join(' ') };
}

function statementText([statement, { times, read, written }]: [
  string,
  Counts['statements'][string],
]): string {
  return `${read} read, ${written} written, ${times} times: ${statement}`;
}

/** Begins an upload in each of the objects that hold uploads, because the first one makes its tables. */
async function useSessions(home: Home): Promise<void> {
  const start = { algorithm: 'sha256', expiresAt: Date.now() + 1000 };
  for (let at = 0; at < (home.name === 'r2' ? 256 : 1); at++) {
    const id = `${at.toString(16).padStart(2, '0')}-used`;
    const way = { at: 0, reserve: 1, tailMax: 0 };
    await home.call('UPLOAD_SESSION', id, 'begin', id, { ...start, begun: false }, way);
  }
}

/** Pushes a blob into each shard, because the first one makes its tables. On one machine there is one. */
async function useShards(home: Home, user?: string): Promise<void> {
  const registry = new Registry(home, user === undefined ? null : basic(user));
  const blobs = new Map<string, Buffer>();
  for (const shards = home.name === 'r2' ? 256 : 1; blobs.size < shards; ) {
    const bytes = blob(home.name === 'disk' ? 100_000 : 64); // On disk, small blobs reach no shard.
    blobs.set(digest(bytes).slice('sha256:'.length).slice(0, 2), bytes);
  }
  for (const bytes of blobs.values()) await registry.pushAtOnce(bytes);
}

function print(home: Home, table: Record<string, Printed>, title: string): void {
  console.log(`\n${title}, ${home.name === 'r2' ? 'on Cloudflare' : 'on one machine'}:`);
  console.table(table);
}
