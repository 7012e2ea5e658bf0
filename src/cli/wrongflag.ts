/** A mistake in one flag; caught where all flags are read, where it becomes a value. */
export class WrongFlag extends Error {}
