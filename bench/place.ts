// Helpers for all rows: the first use of a target, and throughput.
import { randomBytes } from 'node:crypto';
import { BenchClient } from './client.ts';
import { Connection } from './connection.ts';
import { type BenchBlob, freshBlob, KiB, MiB, manifestOf } from './content.ts';
import type { Place } from './row.ts';

/** Uses a target once, so that its Durable Objects exist and its code is compiled. */
export async function warm(
  url: string,
  use: (client: BenchClient) => Promise<void>,
  headers: Record<string, string> = {},
): Promise<Place> {
  const place = {
    url,
    prefix: `bench/${randomBytes(6).toString('hex')}`,
    blobStatus: 200,
    blobs: [],
    images: [],
    manifest: manifestOf([freshBlob(2 * KiB)]),
    headers: {},
  };
  await withClients(1, place, ([client]) => use(of(client)), headers);
  return place;
}

/** MiB per second: repeats the work for one round. The time to make the content does not count. */
export async function throughput(
  place: Place,
  roundMs: number,
  make: () => BenchBlob,
  perform: (client: BenchClient, blob: BenchBlob) => Promise<void>,
): Promise<number> {
  return throughputTogether(1, place, roundMs, make, ([client], blob) => perform(of(client), blob));
}

/** The same with several clients in parallel. */
export async function throughputTogether(
  clients: number,
  place: Place,
  roundMs: number,
  make: () => BenchBlob,
  perform: (clients: readonly BenchClient[], blob: BenchBlob) => Promise<void>,
): Promise<number> {
  let spentMs = 0;
  let bytes = 0;
  await withClients(clients, place, async (opened) => {
    while (spentMs < roundMs) {
      const blob = make();
      const start = performance.now();
      await perform(opened, blob);
      spentMs += performance.now() - start;
      bytes += blob.size;
    }
  });
  return (bytes / MiB / spentMs) * 1000;
}

export function first<Item>(items: readonly Item[]): Item {
  return of(items[0]);
}

function of<Item>(item: Item | undefined): Item {
  if (item === undefined) throw new Error('nothing was prepared');
  return item;
}

/** Clients of the repository with the prefix's name. Each has its own connection. */
async function withClients(
  count: number,
  { url, prefix }: Pick<Place, 'url' | 'prefix'>,
  use: (clients: readonly BenchClient[]) => Promise<void>,
  headers: Record<string, string> = {},
): Promise<void> {
  const connections: Connection[] = [];
  try {
    for (let opened = 0; opened < count; opened++) connections.push(await Connection.open(url));
    await use(connections.map((connection) => new BenchClient(connection, url, prefix, headers)));
  } finally {
    for (const connection of connections) connection.close();
  }
}
