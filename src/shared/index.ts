export { type BackoffPolicy, backoffMs } from './backoff.ts';
export { type Cancel, type Clock, FakeClock, sleep, systemClock } from './clock.ts';
export { ERROR_CODES, type ErrorBody, type ErrorCode, type ErrorDetail, errorBody, SluiceError, toSluiceError } from './errors.ts';
export { Agent, createServer, request } from './http.ts';
export { type LineRing, lineRing } from './lines.ts';
