/** Sends bytes over a socket as they are, for requests that no HTTP client would send, and reads one answer. */
import { connect } from 'node:net';
import { Answer } from '../../conformance/answer.ts';

const ANSWER_TIMEOUT_MS = 15_000;

/** Throws where the connection is closed, or nothing comes, before there is a whole answer. */
export function sendRaw(url: string, bytes: string | Buffer, ends = false): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    let received = Buffer.alloc(0);
    const finish = (answer: Answer | null, why: string) => {
      socket.destroy();
      if (answer !== null) resolve(answer);
      else reject(new Error(`${why} after ${JSON.stringify(received.toString('latin1').slice(0, 200))}`));
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => finish(null, `no answer in ${ANSWER_TIMEOUT_MS} ms`));
    socket.on('data', (piece) => {
      received = Buffer.concat([received, piece]);
      const answer = read(received, false);
      if (answer !== null) finish(answer, '');
    });
    socket.on('end', () => finish(read(received, true), 'the connection was closed'));
    socket.on('error', (fault) => finish(read(received, true), fault.message));
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    if (ends) socket.end();
  });
}

/** The answer, once it is whole. `closed` says that no more comes. */
function read(received: Buffer, closed: boolean): Answer | null {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return null;
  const [statusLine = '', ...lines] = received.subarray(0, headEnd).toString('latin1').split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const rest = received.subarray(headEnd + 4);
  if (status < 200) return read(rest, closed); // 100 Continue comes before the answer.
  const headers = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const answer = new Answer('RAW', 'http://socket/', status, headers, rest);
  const length = answer.header('Content-Length');
  if (closed || (length !== undefined && rest.length >= Number(length))) return answer;
  return null;
}
