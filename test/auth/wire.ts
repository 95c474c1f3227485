/** Requests whose head no HTTP library sends, and what a visitor is answered. */
import { begin, type Head, parse } from '../support/socket.ts';
import { type Answer, answerOf } from './visitor.ts';

/** Status 0 if the connection is closed without an answer. */
export async function sendHead(origin: string, head: Head): Promise<Answer> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of begin(origin, head)) pieces.push(piece as Buffer);
  } catch {
    // A server that reads no further resets the connection. What arrived before that counts.
  }
  const answer = parse(Buffer.concat(pieces), true);
  const headers = new Headers();
  const { status = 0, rawHeaders = [], body = Buffer.alloc(0) } = answer ?? {};
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '');
  return answerOf(status, headers, body.toString('latin1'));
}
