/** How vLLM says no. Pure. */
import type { SluiceError } from '../../../shared/index.ts';

export interface Fault {
  /** HTTP status; also in the body. */
  readonly status: number;
  readonly type: string;
  readonly message: string;
  readonly param: string | null;
}

export const FAILED: Fault = { status: 500, type: 'InternalServerError', message: 'Internal server error', param: null };
export const DEAD: Fault = {
  status: 500,
  type: 'InternalServerError',
  message: 'EngineCore encountered an issue. See stack trace (above) for the root cause.',
  param: null,
};

/** What a code of ours is called there. */
export function faultOf(error: SluiceError): Fault {
  const { message, param } = error;
  switch (error.code) {
    case 'engine_failed':
      return DEAD;
    case 'invalid_json':
      return { status: 400, type: 'Bad Request', message, param: 'body.0' };
    case 'invalid_request':
    case 'unsupported_parameter':
    case 'context_length_exceeded':
      return { status: 400, type: 'BadRequestError', message, param };
    case 'model_not_found':
      return { status: 404, type: 'NotFoundError', message, param };
    case 'body_too_large':
      return { status: 413, type: 'Request Entity Too Large', message, param: null };
    case 'queue_full':
    case 'unavailable':
      return { status: 503, type: 'ServiceUnavailableError', message, param: null };
    default:
      return FAILED;
  }
}

export function faultBody(fault: Fault): string {
  const { message, type, param, status } = fault;
  return JSON.stringify({ error: { message, type, param, code: status } });
}

/** The same in a stream, where Python's own writer leaves blanks. */
export function faultEvent(fault: Fault): string {
  const fields = Object.entries({ message: fault.message, type: fault.type, param: fault.param, code: fault.status });
  const text = fields.map(([name, value]) => `"${name}": ${JSON.stringify(value)}`).join(', ');
  return `data: {"error": {${text}}}\n\n`;
}
