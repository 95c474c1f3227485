// Makes tar archives of any kind, also wrong ones.
export interface TarOptions {
  /** `0` file, `1` hard link, `2` symbolic link, `5` folder, `x` pax header, `L` GNU long name. */
  type?: string;
  link?: string;
  /** Stated in the header in place of the length of the content. */
  size?: number;
  /** The field itself, 12 bytes. */
  sizeField?: Uint8Array;
  prefix?: string;
}

/** A header and its padded content. */
export function entry(name: string, content: Uint8Array | string = '', options: TarOptions = {}): Buffer {
  const bytes = Buffer.from(content);
  const { type = '0', link = '', size = bytes.length, sizeField, prefix = '' } = options;
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(size, 12), 124);
  if (sizeField !== undefined) header.set(sizeField, 124);
  header.write(octal(0, 12), 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157, 100);
  header.write('ustar\x0000', 257);
  header.write(prefix, 345, 155);
  header.write(
    `${octal(
      [...header].reduce((total, byte) => total + byte, 0),
      7,
    )} `,
    148,
  );
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** Entries with the end of an archive. */
export function archive(...entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...entries, Buffer.alloc(1024)]);
}

/** A pax header for the entry that follows. */
export function pax(records: Record<string, string>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    const bytes = Buffer.byteLength(rest);
    let length = bytes + 1;
    while (String(length).length + bytes !== length) length = String(length).length + bytes;
    return `${length}${rest}`;
  });
  return entry('pax', lines.join(''), { type: 'x' });
}

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, '0')}\0`;
}
