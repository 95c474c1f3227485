/** Bodies of requests without credentials: what is read of them before the client gets its challenge. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';
import { CHUNK_RECOMMENDED_BYTES } from '../../worker/oci/limits.ts';
import { GUARDED } from '../management/api.ts';
import { eachHome } from '../support/homes.ts';
import { open } from '../support/socket.ts';

const UPLOAD = '/v2/own/app/blobs/uploads/a2b0ab3a-0db3-4958-977f-8222f4d063e1';
const HEAD_END = '\r\n\r\n';

eachHome((home) => {
  // The released conformance suite, and other clients, send a chunk before they log in.
  it('a chunk of the recommended size is read whole, and the connection stays open', async () => {
    const answers = await statusesOf(home.url, [
      headOf(CHUNK_RECOMMENDED_BYTES),
      Buffer.alloc(CHUNK_RECOMMENDED_BYTES),
      Buffer.from(`GET /v2/ HTTP/1.1\r\nHost: ${new URL(home.url).host}\r\nConnection: close${HEAD_END}`),
    ]);
    assert.deepEqual(answers, ['401', '401']);
  });

  const headOf = (bytes: number) =>
    Buffer.from(
      `PATCH ${UPLOAD} HTTP/1.1\r\nHost: ${new URL(home.url).host}\r\nConnection: keep-alive\r\nContent-Length: ${bytes}${HEAD_END}`,
    );
}, GUARDED);

/** Sends bytes over one connection, and gives the status of each answer once the registry closes it. */
async function statusesOf(url: string, bytes: Buffer[]): Promise<string[]> {
  const socket = open(url);
  let text = '';
  socket.setEncoding('latin1').on('data', (piece) => {
    text += piece;
  });
  for (const piece of bytes) socket.write(piece);
  await once(socket, 'close');
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status);
}
