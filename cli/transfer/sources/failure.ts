// Failures of sources. Their messages often begin with the name of the source: `the archive app.tar`.
import { CommandFailure } from '../../failure.ts';

/** A CommandFailure whose message begins as a sentence does. */
export function sourceFailure(message: string): CommandFailure {
  return new CommandFailure(message.replace(/^the /, 'The '));
}
