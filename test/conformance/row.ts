// One row of the conformance table: a sentence of the specification, and how to see whether a registry
// keeps it. A row passes by returning, fails by throwing, and is declined where an option is refused.

import type { Registry } from './registry.ts';

/** The headings of the specification that ask something of a registry, in its order, and one of our own. */
export const sections = [
  'Determining Support',
  'Pulling manifests',
  'Pulling blobs',
  'Checking if content exists in the registry',
  'Push',
  'Pushing blobs',
  'POST then PUT',
  'Single POST',
  'Pushing a blob in chunks',
  'Cancel a blob upload',
  'Mounting a blob from another repository',
  'Pushing Manifests',
  'Pushing Manifests with Subject',
  'Listing Tags',
  'Listing Referrers',
  'Enabling the Referrers API',
  'Deleting tags',
  'Deleting Manifests',
  'Deleting Blobs',
  'Registry Proxying',
  'API',
  'Catalog',
  'Error Codes',
  'Warnings',
] as const;

export type Section = (typeof sections)[number];

/** MAY marks what the specification leaves open and clients rely on all the same. */
export type Level = 'MUST' | 'SHOULD' | 'MAY';

export interface Row {
  /** The heading in the specification that the sentence stands under. */
  section: Section;
  level: Level;
  /** The endpoint, by its id in the specification's table. */
  end?: string;
  /** `main` where the released 1.1.1 does not ask for it, or asks for less. */
  since?: 'main';
  what: string;
  run: (registry: Registry) => Promise<void>;
}

export interface Result {
  row: Row;
  outcome: 'passed' | 'failed' | 'declined';
  /** Why it failed or was declined. */
  why?: string;
}

/** Thrown by a row when the registry refuses, in a way it may, what the row is about. */
export class Declined extends Error {}

/** Gives a list of rows the section that they belong to. */
export function section(name: Section, rows: Omit<Row, 'section'>[]): Row[] {
  return rows.map((row) => ({ section: name, ...row }));
}

export async function runRow(row: Row, registry: Registry): Promise<Result> {
  try {
    await row.run(registry);
    return { row, outcome: 'passed' };
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return { row, outcome: thrown instanceof Declined ? 'declined' : 'failed', why };
  }
}
