// Prints a list as a table without borders.
import Table from 'cli-table3';
import { printable } from '../worker/oci/printable.ts';

const NO_BORDERS = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid']
    .flatMap((side) => [side, ...['mid', 'left', 'right', 'top', 'bottom'].map((end) => `${side}-${end}`)])
    .concat('middle')
    .map((name) => [name, '']),
);

/** Empty for an empty list. Characters that would move the cursor of a terminal are escaped. */
export function table<Row extends object>(rows: Row[], columns: (keyof Row & string)[]): string {
  if (rows.length === 0) return '';
  const drawn = new Table({
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    head: columns.map((column) => column.toUpperCase()),
  });
  drawn.push(...rows.map((row) => columns.map((column) => cell(row[column]))));
  return drawn
    .toString()
    .split('\n')
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

function cell(value: unknown): string {
  if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) return '-';
  if (Array.isArray(value)) return value.map(cell).join(', ');
  if (typeof value !== 'object') return printable(String(value));
  const { role, repositories, tags } = value as Record<string, unknown>;
  if (role !== undefined) return printable(`${role}:${repositories}${tags ? `:${tags}` : ''}`);
  return Object.entries(value)
    .map(([name, wanted]) => `${printable(name)}=${cell(wanted)}`)
    .join(', ');
}
