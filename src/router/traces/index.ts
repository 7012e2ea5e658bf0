export { type Leg, linesFor, passedOn, type RequestTrace, sampled } from './origin.ts';
export { spansOf } from './spans.ts';
