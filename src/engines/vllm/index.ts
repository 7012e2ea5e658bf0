/**
 * vLLM as an engine of ours: started, watched and described by an agent beside it. Only what must be there before vLLM can be started is
 * loaded with this.
 */

export { VllmAgent, type VllmAgentOptions } from './agent.ts';
export { explainOverride, findOverrides } from './checks.ts';
export type { VllmSpec } from './command.ts';
export { type Device, type DeviceWish, takeDevice } from './device.ts';
export { findVllm } from './install/find.ts';
export { pickPorts } from './ports.ts';
export type { OpenView } from './view/view.ts';
