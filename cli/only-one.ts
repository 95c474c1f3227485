// Finds what a command names, by name or by id.
import { CommandFailure } from './failure.ts';

/** Throws a CommandFailure if none or several of the entries have the name. */
export function onlyOne<Entry>(
  kind: string,
  wanted: string,
  entries: Entry[],
  namesOf: (entry: Entry) => string[],
): Entry {
  const [found, ...others] = entries.filter((entry) => namesOf(entry).includes(wanted));
  if (found === undefined) throw new CommandFailure(`There is no ${kind} ${wanted}.`);
  if (others.length === 0) return found;
  throw new CommandFailure(`Several ${kind}s are named ${wanted}.\nUse the id of one of them.`);
}
