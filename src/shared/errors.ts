/**
 * The one registry of errors a client can meet. A code is stable; its HTTP status, OpenAI error type and meaning stand here
 * and nowhere else, so that engines, router and docs agree (a test holds docs/errors.md against it).
 */
export const ERROR_CODES = {
  invalid_request: { status: 400, type: 'invalid_request_error', meaning: 'a field of the request is missing, malformed or out of range' },
  invalid_json: { status: 400, type: 'invalid_request_error', meaning: 'the body is not valid UTF-8 JSON' },
  unsupported_parameter: {
    status: 400,
    type: 'invalid_request_error',
    meaning: 'the parameter is known but this engine does not support it',
  },
  context_length_exceeded: {
    status: 400,
    type: 'invalid_request_error',
    meaning: 'prompt plus max_tokens does not fit the context window',
  },
  model_not_found: { status: 404, type: 'invalid_request_error', meaning: 'no such model is served here' },
  not_found: { status: 404, type: 'invalid_request_error', meaning: 'no such path or object' },
  method_not_allowed: { status: 405, type: 'invalid_request_error', meaning: 'the path exists but not for this method' },
  body_too_large: { status: 413, type: 'invalid_request_error', meaning: 'the body is larger than the limit' },
  queue_full: { status: 429, type: 'rate_limit_error', meaning: 'the bounded queue is full; retry after the Retry-After header' },
  client_closed: { status: 499, type: 'cancelled', meaning: 'the client went away; only seen in logs and records' },
  internal: { status: 500, type: 'server_error', meaning: 'a fault of the server' },
  engine_failed: { status: 502, type: 'server_error', meaning: 'every engine that was tried failed before the first token' },
  unavailable: { status: 503, type: 'server_error', meaning: 'no instance can take the request now, or the process drains' },
  stream_interrupted: {
    status: 503,
    type: 'server_error',
    meaning: 'the engine was lost after the first token and the stream could not be resumed',
  },
  deadline_exceeded: { status: 504, type: 'server_error', meaning: 'a stage did not finish within its deadline' },
} as const satisfies Record<string, { status: number; type: string; meaning: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorDetail {
  /** Name of the offending field as the client wrote it, for example `max_tokens`. */
  readonly param?: string;
  /** Seconds after which a retry makes sense; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An error with a code of the registry. Its message may be shown to clients: it names no address, path or stack. */
export class SluiceError extends Error {
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly retryAfterSeconds: number | null;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = 'SluiceError';
    this.code = code;
    this.param = detail.param ?? null;
    this.retryAfterSeconds = detail.retryAfterSeconds ?? null;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }
}

/** OpenAI's error body. `code` is the registry's code, the HTTP status travels beside it. */
export interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string };
}

export function errorBody(error: SluiceError): ErrorBody {
  return { error: { message: error.message, type: ERROR_CODES[error.code].type, param: error.param, code: error.code } };
}

/** Turns anything thrown into an error that is safe to show: unknown faults become `internal` and keep the original as cause. */
export function toSluiceError(thrown: unknown): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  return new SluiceError('internal', 'internal error', { cause: thrown });
}
