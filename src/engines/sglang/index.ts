/**
 * SGLang as an engine of ours: started, watched and described by an agent beside it. Only what must be there before SGLang can be started
 * is loaded with this.
 */
export type { EngineAgent } from '../agent/agent.ts';
export { takeDevice } from '../agent/device.ts';
export { explainOverride } from '../agent/overrides.ts';
export { pickPorts } from '../agent/ports.ts';
export type { OpenView } from '../agent/view.ts';
export { createSglangAgent } from './agent.ts';
export { findOverrides } from './checks.ts';
export type { SglangSpec, TransferBackend } from './command.ts';
export { findSglang } from './find.ts';
