export { createSimEngine } from './engine.ts';
export { simFace } from './face.ts';
export { nixlDialect } from './nixl/dialect.ts';
export type { SimOptions } from './options.ts';
export type { SimCore } from './simcore.ts';
