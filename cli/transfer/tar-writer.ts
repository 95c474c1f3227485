// Writes a tar archive in the ustar format. IEEE Std 1003.1, "pax: ustar interchange format".
import type { FileHandle } from 'node:fs/promises';

const BLOCK_BYTES = 512;
/** The largest size of 11 octal digits. Larger ones are written in base 256, as GNU tar does. */
const OCTAL_MAX = 8 ** 11 - 1;

export class TarWriter {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** `name` has at most 100 bytes. `bytes` has `size` bytes. */
  async add(name: string, size: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#write(header(name, size));
    for await (const piece of bytes) await this.#write(piece);
    await this.#write(Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES));
  }

  /** Two empty blocks. */
  async end(): Promise<void> {
    await this.#write(Buffer.alloc(2 * BLOCK_BYTES));
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) at += (await this.#file.write(bytes, at)).bytesWritten;
  }
}

/** Without a time and an owner, so that the same image gives the same archive. */
function header(name: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0, 100);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  if (size <= OCTAL_MAX) {
    block.write(`${size.toString(8).padStart(11, '0')} `, 124);
  } else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  block.write('00000000000 ', 136);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\x0000', 257);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
