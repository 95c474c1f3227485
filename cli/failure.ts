// An error that the person who typed the command can correct. The command prints its message and no stack.
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
}
