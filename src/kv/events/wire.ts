/** What telling and following need of whatever carries the messages. Each adapter is one of these. */
export interface Wire {
  readonly isUp: boolean;
  /** Calls back when it comes up and when it goes away. */
  onChange(listener: () => void): () => void;
  /** Appends to the log, after all that was appended before. @throws EventFault */
  append(instance: string, message: Uint8Array): Promise<void>;
  read(reader: Reader): () => void;
  /** To whoever listens at this moment; nobody keeps it. */
  beat(instance: string, message: Uint8Array): void;
  onBeat(listener: (instance: string, message: Uint8Array) => void): () => void;
  /** Asks whoever tells of the instance for a snapshot. */
  ask(instance: string): void;
  onAsk(instance: string, listener: () => void): () => void;
}

export interface Reader {
  message(instance: string, message: Uint8Array): void;
  /** It reads from now on, and cannot say what it missed. Comes once at the start, too. */
  anew(): void;
}
