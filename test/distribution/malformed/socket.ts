/** Sends bytes that are no valid request, and reads one answer. */
import { Answer } from '../../conformance/answer.ts';
import { open, parse } from '../../support/socket.ts';

const ANSWER_TIMEOUT_MS = 15_000;

/** Throws if the connection is closed, or nothing arrives, before there is a complete answer. */
export function sendRaw(url: string, bytes: string | Buffer, ends = false): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = open(url, true);
    let received = Buffer.alloc(0);
    const finish = (closed: boolean, why: string) => {
      const answer = parse(received, closed);
      if (answer === null && why === '') return;
      socket.destroy();
      if (answer !== null)
        resolve(new Answer('RAW', 'http://socket/', answer.status, answer.rawHeaders, answer.body));
      else reject(new Error(`${why} after ${JSON.stringify(received.toString('latin1').slice(0, 200))}`));
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => finish(false, `no answer in ${ANSWER_TIMEOUT_MS} ms`));
    socket.on('data', (piece) => {
      received = Buffer.concat([received, piece]);
      finish(false, '');
    });
    socket.on('end', () => finish(true, 'the connection was closed'));
    socket.on('error', (error) => finish(true, error.message));
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    if (ends) socket.end();
  });
}
