/**
 * What happens when the output of a command can no longer be written. `longshore user list | head` closes the pipe, and the command
 * ends. A push or a proxy goes on, because what it prints is not what it is for.
 */
import { EXIT } from './failure.ts';

let goesOn = false;

/** The command that runs has more to do than to print. */
export function goOnWithoutOutput(): void {
  goesOn = true;
}

/** Call it once, before anything is printed. */
export function watchOutputs(): void {
  // Nothing can be said about it.
  process.stderr.on('error', () => {});
  let isSaid = false;
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (!goesOn) process.exit(EXIT.failed);
    // A reader that has gone wants no result. A disk that is full was to keep it.
    if (code === 'EPIPE' || isSaid) return;
    isSaid = true;
    process.stderr.write(
      `The result could not be printed: ${code}.\nCheck where the output of the command goes.\n`,
    );
    process.once('exit', () => {
      process.exitCode ||= EXIT.failed;
    });
  });
}
