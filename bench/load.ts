// Requests per second. A few connections each send the next request after the answer to the previous one. All requests are
// prepared before the measurement starts.
import { Connection } from './connection.ts';

export const LOAD_CONNECTIONS = 16;

/** Repeats the requests for a time. Throws if a status is not the expected one. */
export async function requestsPerSecond(
  url: string,
  requests: readonly Uint8Array[],
  options: { durationMs: number; status: number; bodiless: boolean },
): Promise<number> {
  const connections = await openAll(url, LOAD_CONNECTIONS);
  let next = 0;
  let answered = 0;
  const start = performance.now();
  const end = start + options.durationMs;
  const one = (connection: Connection) =>
    new Promise<void>((resolve, reject) => {
      const go = () => {
        const bytes = requests[next++ % requests.length];
        if (bytes === undefined) throw new Error('there are no requests to send');
        connection.send(
          bytes,
          options.bodiless,
          ({ status, text }) => {
            if (status !== options.status)
              return reject(new Error(`an answer was ${status}, not ${options.status}: ${text}`));
            answered++;
            if (performance.now() < end) go();
            else resolve();
          },
          reject,
        );
      };
      go();
    });
  try {
    await Promise.all(connections.map(one));
    return (answered / (performance.now() - start)) * 1000;
  } finally {
    for (const connection of connections) connection.close();
  }
}

/** Does each piece of work once, on several connections. Returns the milliseconds that it took. */
export async function workThrough<Work>(
  url: string,
  work: readonly Work[],
  connectionCount: number,
  perform: (connection: Connection, item: Work, worker: number) => Promise<void>,
): Promise<number> {
  const connections = await openAll(url, connectionCount);
  const left = work.values();
  const start = performance.now();
  try {
    await Promise.all(
      connections.map(async (connection, worker) => {
        for (const item of left) await perform(connection, item, worker);
      }),
    );
    return performance.now() - start;
  } finally {
    for (const connection of connections) connection.close();
  }
}

function openAll(url: string, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => Connection.open(url)));
}
