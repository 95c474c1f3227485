// Pulls of blobs: redirected to the blob host, streamed, and in parallel ranges. There is no CDN here, so the blob host is the
// registry itself. The floor has no blob host and answers these requests with a get.
import { createHash } from 'node:crypto';
import { requestHead } from './client.ts';
import { type BenchBlob, type ByteSpan, freshBlob, KiB, MiB } from './content.ts';
import type { Delivery } from './homes.ts';
import { requestsPerSecond } from './load.ts';
import { first, throughput, throughputTogether, warm } from './place.ts';
import type { Group, Place, Row, Scale } from './row.ts';

/** Parts of a blob that are pulled in parallel, as containerd does if configured. */
const SPANS = 4;
/** The smallest blob that Longshore redirects. It shows the cost of a redirect best. */
const REDIRECTED_KIB = 64;

/** Pulls of the blobs of a scale. */
export function pullRows(scale: Scale): Row[] {
  return [...scale.blobMiB.flatMap((mib) => blobRows(mib, scale)), redirectRow(scale)];
}

function blobRows(mib: number, { roundMs }: Scale): Row[] {
  const whole = (name: string, group: Group): Row => ({
    name: `pull ${mib} MiB, ${name}`,
    unit: 'MiB/s',
    group,
    measure: (place) =>
      throughput(
        place,
        roundMs,
        () => first(place.blobs),
        (client, blob) => client.pullBlob(blob),
      ),
  });
  const redirected = groupOf(mib * MiB, 'redirect');
  return [
    whole('redirected', redirected),
    {
      name: `pull ${mib} MiB, ${SPANS} ranges redirected`,
      unit: 'MiB/s',
      group: redirected,
      measure: (place) =>
        throughputTogether(
          SPANS,
          place,
          roundMs,
          () => first(place.blobs),
          async (clients, blob) => {
            const spans = spansOf(blob);
            await Promise.all(clients.map((client, at) => client.pullBlob(blob, spans[at])));
          },
        ),
    },
    whole('streamed', groupOf(mib * MiB, 'stream')),
  ];
}

/** Redirects without the request that follows. The floor sends the bytes. */
function redirectRow({ roundMs }: Scale): Row {
  return {
    name: `pull ${REDIRECTED_KIB} KiB, redirect only`,
    unit: 'requests/s',
    group: groupOf(REDIRECTED_KIB * KiB, 'redirect'),
    measure: (place) => {
      const line = `GET ${pathOf(place, first(place.blobs))}`;
      const requests = [Buffer.from(requestHead(line, new URL(place.url).host))];
      return requestsPerSecond(place.url, requests, {
        durationMs: roundMs,
        status: place.blobStatus,
        bodiless: false,
      });
    },
  };
}

/** One blob. It is first pulled whole, in ranges and in the measured way, and checked. */
function groupOf(size: number, delivery: Delivery): Group {
  return {
    delivery,
    prepare: async (target) => {
      const blob = freshBlob(size);
      const place = await warm(target.url, (client) => client.pushInOnePut(blob));
      const blobStatus = await statusOf(place, blob);
      const wanted = target.delivery === 'redirect' ? 307 : 200;
      if (target.delivery !== undefined && blobStatus !== wanted)
        throw new Error(`a GET of a blob was answered with ${blobStatus}, not ${wanted}`);
      await checkBytes(place, blob, [undefined]);
      await checkBytes(place, blob, spansOf(blob));
      return { ...place, blobStatus, blobs: [blob] };
    },
  };
}

async function statusOf(place: Place, blob: BenchBlob): Promise<number> {
  const answer = await fetch(place.url + pathOf(place, blob), { redirect: 'manual' });
  await answer.body?.cancel();
  return answer.status;
}

/** Throws unless the ranges together hash to the digest. Timed rows only count bytes. */
async function checkBytes(place: Place, blob: BenchBlob, spans: readonly (ByteSpan | undefined)[]) {
  const hash = createHash('sha256');
  for (const span of spans) {
    const headers: Record<string, string> =
      span === undefined ? {} : { Range: `bytes=${span.from}-${span.to - 1}` };
    const answer = await fetch(place.url + pathOf(place, blob), { headers });
    for await (const piece of answer.body ?? []) hash.update(piece);
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== blob.digest)
    throw new Error(`a blob in ${spans.length} answers came as ${digest}, not ${blob.digest}`);
}

function spansOf({ size }: BenchBlob): ByteSpan[] {
  const bound = (at: number) => Math.floor((size * at) / SPANS);
  return Array.from({ length: SPANS }, (_, at) => ({ from: bound(at), to: bound(at + 1) }));
}

function pathOf({ prefix }: Place, { digest }: BenchBlob): string {
  return `/v2/${prefix}/blobs/${digest}`;
}
