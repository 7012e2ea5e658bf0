export { readBody } from './body.ts';
export { requestIdOf, saltOf, tenantOf } from './headers.ts';
export { type ParsedRequest, type PromptSource, parseRequest, type RequestKind } from './request.ts';
export { type TraceContext, traceOf } from './trace.ts';
export { PLAIN, type Traits } from './traits.ts';
