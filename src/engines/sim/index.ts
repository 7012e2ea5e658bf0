export { createSimEngine, type SimCore } from './engine.ts';
export { nixlDialect } from './nixl/dialect.ts';
export type { SimOptions } from './options.ts';
