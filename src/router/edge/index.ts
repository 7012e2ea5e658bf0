export { readBody } from './body.ts';
export { requestIdOf, saltOf, tenantOf, traceparentOf } from './headers.ts';
export { type ParsedRequest, type PromptSource, parseObject, parseRequest, type RequestKind } from './request.ts';
