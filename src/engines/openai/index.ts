export type { HttpDialect } from './dialect.ts';
export {
  createEngineServer,
  type EngineLogger,
  type EngineServer,
  type EngineServerLimits,
  type EngineServerOptions,
} from './server.ts';
