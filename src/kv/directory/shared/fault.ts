/**
 * - `timeout`: no answer within the call's budget.
 * - `unavailable`: there is no connection, or it broke.
 * - `overloaded`: as many calls as allowed wait already.
 * - `full`: the store has no memory left for more.
 * - `readonly`: the server is a replica.
 * - `denied`: user, password, certificate or rights are not accepted.
 * - `incompatible`: the server is too old, or a key under our prefix is not ours.
 */
export type DirectoryFaultCode = 'timeout' | 'unavailable' | 'overloaded' | 'full' | 'readonly' | 'denied' | 'incompatible';

export interface DirectoryFaultDetail {
  /** False when the call surely changed nothing; true when it may have. */
  readonly maybeApplied: boolean;
  readonly cause?: unknown;
}

/** Why a call of the shared directory failed. The message says what was met, what was expected and what to do; it holds no password. */
export class DirectoryFault extends Error {
  readonly code: DirectoryFaultCode;
  readonly maybeApplied: boolean;

  constructor(code: DirectoryFaultCode, message: string, detail: DirectoryFaultDetail = { maybeApplied: false }) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = 'DirectoryFault';
    this.code = code;
    this.maybeApplied = detail.maybeApplied;
  }

  /** True when the same call may succeed later although nobody changes a setting. */
  get passing(): boolean {
    return this.code !== 'denied' && this.code !== 'incompatible';
  }
}
