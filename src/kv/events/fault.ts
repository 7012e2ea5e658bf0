/**
 * - `timeout`: no answer in time.
 * - `unavailable`: there is no connection, or it broke.
 * - `full`: the server has no room left for more.
 * - `denied`: user, password, certificate or rights are not accepted.
 * - `incompatible`: the server is too old or has no JetStream, or a stream of our name is not ours.
 */
export type EventFaultCode = 'timeout' | 'unavailable' | 'full' | 'denied' | 'incompatible';

/** Why the event log cannot be used, or a call of it failed. The message says what was met, what was expected and what to do; it holds no password. */
export class EventFault extends Error {
  readonly code: EventFaultCode;

  constructor(code: EventFaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'EventFault';
    this.code = code;
  }

  /** True when it may pass although nobody changes a setting. */
  get passing(): boolean {
    return this.code !== 'denied' && this.code !== 'incompatible';
  }
}
