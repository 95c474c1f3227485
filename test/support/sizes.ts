/** How many bytes values are when they are sent or stored. */

export function sizeOf(value: unknown): number {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value === 'string') return utf8Length(value);
  if (typeof value !== 'object' || value === null) return 8;
  return Object.entries(value).reduce((sum, [name, field]) => sum + name.length + sizeOf(field), 0);
}

/** Small strings are taken as they are: their bytes decide nothing. */
function utf8Length(text: string): number {
  return text.length < 100_000 ? text.length : new TextEncoder().encode(text).length;
}
