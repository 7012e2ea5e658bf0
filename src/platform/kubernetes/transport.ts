/** The way to an API server, so that what is above it can be tried without one. */

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface WireRequest {
  readonly method: Method;
  /** From `/api` or `/apis` on, with its query. */
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
  /** Ends the request and the body of its answer. */
  readonly signal: AbortSignal;
}

export interface WireResponse {
  readonly status: number;
  /** The `Retry-After` header as it came. */
  readonly retryAfter: string | null;
  /** Throws a LostConnection when it breaks. Who stops reading early must abort the request. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Transport {
  /** Resolves when the head of the answer is there. Throws LostConnection, or KubernetesError when the credentials cannot be had. */
  send(request: WireRequest): Promise<WireResponse>;
  /** Closes idle connections; requests that run end by their signal. */
  close(): void;
}

/** The connection could not be made, or broke. */
export class LostConnection extends Error {
  /** False when the API server surely never saw the request. */
  readonly sent: boolean;

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, { cause });
    this.name = 'LostConnection';
    this.sent = sent;
  }
}
