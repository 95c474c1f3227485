// One keep-alive HTTP/1.1 connection on a plain socket. The client must use less CPU than the server that it measures, so it
// sends prepared bytes and parses only the head of a response.
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  /** The status line and the headers, unchanged. */
  readonly head: string;
  /** Length of the body in bytes. */
  readonly bytes: number;
  /** If the status is an error: the part of the body that arrived with the head. */
  readonly text: string;
}

const READ_BYTES = 256 * 1024;

export class Connection {
  readonly #socket: Socket;
  readonly #reader = new AnswerReader();
  #onAnswer: ((answer: Answer) => void) | null = null;
  #onError: ((error: Error) => void) | null = null;
  #ended: Error | null = null;

  static open(url: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const connection = new Connection(hostname.replace(/^\[|\]$/g, ''), Number(port || 80), () =>
        resolve(connection),
      );
      connection.#onError = reject;
    });
  }

  private constructor(host: string, port: number, onConnected: () => void) {
    // One buffer for all reads: a new buffer costs more than the read.
    const onread = {
      buffer: Buffer.allocUnsafe(READ_BYTES),
      callback: (length: number, buffer: Uint8Array) => this.#read(buffer as Buffer, length),
    };
    this.#socket = connect({ host, port, noDelay: true, onread }, onConnected);
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('close', () => this.#end(new Error('the connection was closed by the other side')));
  }

  /** Sends a request. `bytes` has its head and then its body, if any. */
  send(
    bytes: Uint8Array,
    bodiless: boolean,
    onAnswer: (answer: Answer) => void,
    onError: (error: Error) => void,
  ): void {
    if (this.#ended !== null) {
      onError(this.#ended);
      return;
    }
    this.#reader.begin(bodiless);
    this.#onAnswer = onAnswer;
    this.#onError = onError;
    this.#socket.write(bytes);
  }

  /** Sends a request with a body in pieces. Each piece is written after the previous one. */
  request(
    head: string,
    pieces: Iterable<Uint8Array> = [],
    bodiless = head.startsWith('HEAD'),
  ): Promise<Answer> {
    const answered = new Promise<Answer>((resolve, reject) => {
      this.send(Buffer.from(head, 'latin1'), bodiless, resolve, reject);
    });
    const written = this.#writeAll(pieces);
    // A server may answer and close before it has read everything. The answer is more useful than the error of the write.
    return Promise.all([answered, written.catch(() => undefined)]).then(([answer]) => answer);
  }

  close(): void {
    this.#onError = null;
    this.#socket.destroy();
  }

  async #writeAll(pieces: Iterable<Uint8Array>): Promise<void> {
    for (const piece of pieces) {
      await new Promise<void>((resolve, reject) => {
        this.#socket.write(piece, (error) => (error ? reject(error) : resolve()));
      });
    }
  }

  #read(buffer: Buffer, length: number): boolean {
    if (this.#reader.push(buffer.subarray(0, length))) {
      const onAnswer = this.#onAnswer;
      this.#onAnswer = null;
      this.#onError = null;
      onAnswer?.(this.#reader);
    }
    return true;
  }

  #end(error: Error): void {
    this.#ended ??= error;
    const onError = this.#onError;
    this.#onError = null;
    onError?.(error);
  }
}

/** Finds the end of a response by its Content-Length or its chunks. */
class AnswerReader implements Answer {
  status = 0;
  head = '';
  bytes = 0;
  text = '';
  #bodiless = false;
  #inHead = true;
  /** Missing bytes of the body, or of the current chunk with its line end. */
  #left = 0;
  #chunked = false;
  #lastChunk = false;
  #line = '';

  begin(bodiless: boolean): void {
    this.#bodiless = bodiless;
    this.#inHead = true;
    this.head = '';
    this.text = '';
    this.bytes = 0;
  }

  /** True at the end of the response. */
  push(piece: Buffer): boolean {
    if (!this.#inHead) return this.#body(piece, 0);
    const end = piece.indexOf('\r\n\r\n');
    // A head in two pieces is rare, so joining it may be slow.
    if (end === -1) {
      if (this.head !== '')
        return this.push(Buffer.from(this.#takeHead() + piece.toString('latin1'), 'latin1'));
      this.head = piece.toString('latin1');
      return false;
    }
    if (this.head !== '')
      return this.push(Buffer.from(this.#takeHead() + piece.toString('latin1'), 'latin1'));
    this.head = piece.toString('latin1', 0, end);
    this.#startBody();
    if (this.status >= 400) this.text = piece.toString('utf8', end + 4, end + 504);
    return this.#body(piece, end + 4);
  }

  #takeHead(): string {
    const { head } = this;
    this.head = '';
    return head;
  }

  #startBody(): void {
    this.#inHead = false;
    this.status = Number(this.head.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.head);
    this.#left = length === null ? 0 : Number(length[1]);
    this.#chunked = length === null && /\r\ntransfer-encoding: *chunked/i.test(this.head);
    this.#lastChunk = false;
    this.#line = '';
    if (this.#bodiless || this.status === 204 || this.status === 304) {
      this.#left = 0;
      this.#chunked = false;
    }
  }

  #body(piece: Buffer, from: number): boolean {
    if (this.#chunked) return this.#chunks(piece, from);
    const some = piece.length - from;
    this.bytes += some;
    this.#left -= some;
    return this.#left <= 0;
  }

  #chunks(piece: Buffer, from: number): boolean {
    for (let at = from; at < piece.length; ) {
      const some = Math.min(this.#left, piece.length - at);
      this.#left -= some;
      at += some;
      if (at === piece.length) return false;
      const lineEnd = piece.indexOf(0x0a, at);
      this.#line += piece.toString('latin1', at, lineEnd === -1 ? piece.length : lineEnd + 1);
      if (lineEnd === -1) return false;
      const line = this.#line.trim();
      this.#line = '';
      at = lineEnd + 1;
      if (this.#lastChunk) {
        if (line === '') return true; // Else a trailer.
        continue;
      }
      const size = Number.parseInt(line, 16);
      this.bytes += size;
      this.#lastChunk = size === 0;
      this.#left = size === 0 ? 0 : size + 2;
    }
    return false;
  }
}
