/** A row of the table of budgets. */
import type { Registry } from './client.ts';

export interface Cost {
  durableObjects: number;
  classA: number;
  classB: number;
  /** Rows that Durable Objects write, messages after the answer included. */
  rowsWritten: number;
}

export interface Row {
  name: string;
  /** Prepares, and gives the requests that are counted. */
  given: (registry: Registry) => Promise<() => Promise<unknown>>;
  budget: Cost;
}

export const cost = (durableObjects: number, classA = 0, classB = 0, rowsWritten = 0): Cost => ({
  durableObjects,
  classA,
  classB,
  rowsWritten,
});
