// Compression of layers: the bytes are valid, the same each time, and independent of how they arrive.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { compress } from '../../cli/transfer/compress.ts';
import { noise } from '../clients/support/layout.ts';

const MIB = 1024 * 1024;
const TEXT = Buffer.concat(
  Array.from({ length: 60_000 }, (_, line) => Buffer.from(`line ${line} of a text, ${line % 97}\n`)),
);

const UNPACK = { gzip: gunzipSync, zstd: zstdDecompressSync };

async function compressed(
  bytes: Buffer,
  compression: 'gzip' | 'zstd',
  pieceBytes = 100_000,
): Promise<Buffer> {
  const pieces = async function* () {
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
  };
  const output: Buffer[] = [];
  for await (const piece of compress(pieces(), compression)) output.push(Buffer.from(piece));
  return Buffer.concat(output);
}

const inputs: { name: string; bytes: Buffer }[] = [
  { name: 'nothing', bytes: Buffer.alloc(0) },
  { name: 'one byte', bytes: Buffer.from('a') },
  { name: 'a block less one byte', bytes: noise(MIB - 1) },
  { name: 'a block', bytes: noise(MIB) },
  { name: 'a block and one byte', bytes: noise(MIB + 1) },
  { name: 'several blocks of text', bytes: Buffer.concat([TEXT, TEXT, TEXT]) },
  {
    name: 'several blocks of noise and zeros',
    bytes: Buffer.concat([noise(5 * MIB), Buffer.alloc(5 * MIB), noise(17)]),
  },
];

for (const compression of ['gzip', 'zstd'] as const) {
  describe(`compression with ${compression}`, () => {
    for (const { name, bytes } of inputs) {
      it(`compression with ${compression} keeps ${name}, and gives the same bytes for other pieces`, async () => {
        const output = await compressed(bytes, compression);
        assert(UNPACK[compression](output).equals(bytes));
        assert((await compressed(bytes, compression, 1_234_567)).equals(output));
      });
    }

    it(`compression with ${compression} throws what its input throws`, async () => {
      const broken = async function* () {
        yield noise(3 * MIB);
        throw new Error('the disk is broken');
      };
      await assert.rejects(async () => {
        for await (const _ of compress(broken(), compression));
      }, /the disk is broken/);
    });

    it(`compression with ${compression} compresses several layers at once`, async () => {
      const outputs = await Promise.all(inputs.map(({ bytes }) => compressed(bytes, compression)));
      for (const [at, output] of outputs.entries()) {
        assert(UNPACK[compression](output).equals(inputs[at]?.bytes ?? Buffer.alloc(0)));
      }
    });
  });
}

describe('a layer in gzip', () => {
  it('a layer in gzip has neither a time nor a name, and is valid for gzip', async () => {
    const output = await compressed(TEXT, 'gzip');
    assert.equal(output.subarray(0, 10).toString('hex'), '1f8b08000000000000ff');
    assert(execFileSync('gzip', ['-dc'], { input: output, maxBuffer: 100 * MIB }).equals(TEXT));
  });

  it('a layer in gzip refers across blocks, so that blocks cost little', async () => {
    const repeated = noise(20_000);
    const output = await compressed(Buffer.concat(Array.from({ length: 200 }, () => repeated)), 'gzip');
    assert(output.length < 60_000, `${output.length} bytes`);
  });
});
