export { Leg, type ResponseSink, type UpstreamFailure } from './connection.ts';
export { type BufferedAnswer, FetchError, fetchBuffered } from './fetch.ts';
export type { ResponseHead } from './head.ts';
export { Pool } from './pool.ts';
