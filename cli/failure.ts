/** The exit codes of the command. docs/push.md lists them. */
export const EXIT = {
  failed: 1,
  /** The arguments are wrong. */
  usage: 2,
  /** The registry refused the credentials, or they allow too little (401 and 403). */
  refused: 3,
  /** The registry could not be reached, or the connection was lost too often. */
  network: 4,
} as const;

/** An error that the person who typed the command can correct. The command prints its message and no stack. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}
