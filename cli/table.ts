// Lists as people read them: a column for each property, as wide as its longest value.
import { printable } from '../worker/oci/printable.ts';

/** Empty for an empty list. What could move a terminal's cursor is escaped. */
export function table(rows: Record<string, unknown>[], columns: string[]): string {
  if (rows.length === 0) return '';
  const lines = [
    columns.map((column) => column.toUpperCase()),
    ...rows.map((row) => columns.map((column) => cell(row[column]))),
  ];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const padded = lines.map((line) => line.map((text, at) => text.padEnd(widths[at] ?? 0)).join('  '));
  return padded.map((line) => `${line.trimEnd()}\n`).join('');
}

function cell(value: unknown): string {
  if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) return '-';
  if (Array.isArray(value)) return value.map(cell).join(', ');
  if (typeof value !== 'object') return printable(String(value));
  const { role, repositories, tags } = value as Record<string, unknown>;
  if (role !== undefined) return `${role}:${repositories}${tags ? `:${tags}` : ''}`;
  return Object.entries(value)
    .map(([name, wanted]) => `${name}=${cell(wanted)}`)
    .join(', ');
}
