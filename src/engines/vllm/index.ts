/**
 * vLLM as an engine of ours: started, watched and described by an agent beside it. Only what must be there before vLLM can be started is
 * loaded with this.
 */

export type { EngineAgent } from '../agent/agent.ts';
export { type Device, type DeviceWish, takeDevice } from '../agent/device.ts';
export { explainOverride } from '../agent/overrides.ts';
export { pickPorts } from '../agent/ports.ts';
export type { OpenView } from '../agent/view.ts';
export { createVllmAgent, type VllmAgentOptions } from './agent.ts';
export { findOverrides } from './checks.ts';
export type { VllmSpec } from './command.ts';
export { findVllm } from './install/find.ts';
