/** A failure of the set-up that the user can do something about. The message says what failed and what to do. */
export class SetupError extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.name = 'SetupError';
    this.exitCode = exitCode;
  }
}
