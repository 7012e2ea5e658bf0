/** Which HTTP face a simulated engine has. */
import type { Clock } from '../../shared/index.ts';
import type { HttpDialect } from '../openai/dialect.ts';
import { bootstrapDialect } from './bootstrap/dialect.ts';
import { nixlDialect } from './nixl/dialect.ts';
import type { SimCore } from './simcore.ts';

/** As its options have it; nothing = docs/engine-protocol.md. */
export function simFace(core: SimCore, clock: Clock): { readonly dialect?: HttpDialect } {
  switch (core.info.dialect) {
    case 'sluice':
      return {};
    case 'nixl':
      return { dialect: nixlDialect(core, clock) };
    case 'bootstrap':
      return { dialect: bootstrapDialect(core, clock) };
  }
}
