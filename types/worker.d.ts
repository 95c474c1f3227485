// What the Worker uses of Node, by the compatibility flag nodejs_compat. Node's own types would also declare what Workers do
// not have.

interface Buffer extends Uint8Array<ArrayBuffer> {
  toString(encoding?: 'utf8' | 'hex' | 'base64' | 'base64url' | 'latin1'): string;
  readUInt32BE(offset: number): number;
}

declare module 'node:crypto' {
  type Bytes = string | Uint8Array;

  interface Hash {
    update(data: Bytes): this;
    digest(): Buffer;
    digest(encoding: 'hex' | 'base64' | 'base64url'): string;
    copy(): Hash;
  }

  export type { Hash };
  export function createHash(algorithm: string): Hash;
  export function createHmac(algorithm: string, key: Bytes): Omit<Hash, 'copy'>;
  export function randomBytes(count: number): Buffer;
  export function scryptSync(
    password: Bytes,
    salt: Bytes,
    length: number,
    cost: { N?: number; r?: number; p?: number; maxmem?: number },
  ): Buffer;
  /** Throws if the lengths differ. */
  export function timingSafeEqual(one: Uint8Array, other: Uint8Array): boolean;
}
