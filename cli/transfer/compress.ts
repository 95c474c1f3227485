/**
 * Compresses layers: the same bytes give the same digest, on all cores. The input is cut into blocks that are compressed in parallel, as
 * pigz and pzstd do. A gzip file has one member, in which each block can refer to the end of the one before. A zstd file has a frame for
 * each block. RFC 1951, RFC 1952, RFC 8878.
 */
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { CommandFailure } from '../failure.ts';
import type { Compression } from './source.ts';

const GZIP_LEVEL = 4;
const GZIP_BLOCK_BYTES = 1024 * 1024;
const GZIP_WINDOW_BYTES = 32 * 1024;
const ZSTD_LEVEL = 3;
const ZSTD_BLOCK_BYTES = 2 * 1024 * 1024;

/** No time, no name, and an unknown system. Node writes the system that it runs on. */
const GZIP_HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
/** An empty last block. */
const DEFLATE_END = Buffer.from([3, 0]);

const deflateRaw = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.deflateRaw);

/** What determines the bytes: another version of the library may compress in another way. */
export function variantOf(compression: Compression): string {
  const { zlib: zlibVersion = '', zstd: zstdVersion = '' } = process.versions;
  return compression === 'gzip'
    ? `gzip-${GZIP_LEVEL}-${zlibVersion}-${process.arch}`
    : `zstd-${ZSTD_LEVEL}-${zstdVersion}-${process.arch}`;
}

/**
 * The compressed bytes of `input`.
 *
 * Throws what `input` throws.
 * Throws a CommandFailure if this version of Node has no zstd.
 */
export function compress(input: AsyncIterable<Uint8Array>, compression: Compression): AsyncGenerator<Buffer> {
  return compression === 'gzip' ? gzip(input) : zstd(input);
}

async function* gzip(input: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let crc = 0;
  let size = 0;
  let window: Uint8Array | null = null;
  yield GZIP_HEADER;
  yield* inParallel(input, GZIP_BLOCK_BYTES, (block) => {
    crc = zlib.crc32(block, crc);
    size += block.length;
    const options: zlib.ZlibOptions = {
      level: GZIP_LEVEL,
      // One piece of output, so that each block is one task for the threads.
      chunkSize: GZIP_BLOCK_BYTES + GZIP_BLOCK_BYTES / 8,
      finishFlush: zlib.constants.Z_SYNC_FLUSH,
      ...(window === null ? {} : { dictionary: window }),
    };
    window = Buffer.from(block.subarray(-GZIP_WINDOW_BYTES));
    return deflateRaw(block, options);
  });
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield Buffer.concat([DEFLATE_END, trailer]);
}

async function* zstd(input: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  if (zlib.zstdCompress === undefined) {
    throw new CommandFailure(
      `Node ${process.versions.node} has no zstd.\nUse Node 22.15 or newer, or leave out --zstd.`,
    );
  }
  const compressBlock = promisify<Uint8Array, zlib.ZstdOptions, Buffer>(zlib.zstdCompress);
  const options: zlib.ZstdOptions = {
    chunkSize: ZSTD_BLOCK_BYTES + ZSTD_BLOCK_BYTES / 8,
    params: {
      [zlib.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL,
      [zlib.constants.ZSTD_c_checksumFlag]: 1,
    },
  };
  yield* inParallel(input, ZSTD_BLOCK_BYTES, (block) => compressBlock(block, options));
}

/** Blocks of one size, but the last one. At least one. */
async function* blocksOf(
  input: AsyncIterable<Uint8Array>,
  blockBytes: number,
  take: () => Buffer,
): AsyncGenerator<Buffer> {
  let block = take();
  let filled = 0;
  let isFirst = true;
  for await (const piece of input) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + blockBytes - filled);
      block.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < blockBytes) continue;
      yield block;
      isFirst = false;
      block = take();
      filled = 0;
    }
  }
  if (filled > 0 || isFirst) yield block.subarray(0, filled);
}

/** The results for the blocks, in their order. The task must not keep a block: its memory is used again. */
async function* inParallel(
  input: AsyncIterable<Uint8Array>,
  blockBytes: number,
  task: (block: Buffer) => Promise<Buffer>,
): AsyncGenerator<Buffer> {
  const free: Buffer[] = [];
  const take = () => free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  const running: Promise<Buffer>[] = [];
  try {
    for await (const block of blocksOf(input, blockBytes, take)) {
      await threads.take();
      const result = task(block).finally(() => {
        threads.give();
        if (block.length === blockBytes) free.push(block);
      });
      // Its error is thrown when its turn comes.
      result.catch(() => {});
      running.push(result);
      for (
        let first = running[0];
        first !== undefined && running.length > threads.count;
        first = running[0]
      ) {
        yield await first;
        running.shift();
      }
    }
    for (const result of running) yield await result;
  } finally {
    await Promise.allSettled(running);
  }
}

/** Threads for compression, for all layers together. One thread of the pool is left for files. */
class Threads {
  readonly count: number;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number) {
    this.count = count;
    this.#free = count;
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

const POOL_THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;
const threads = new Threads(Math.max(1, Math.min(availableParallelism(), POOL_THREADS - 1)));
