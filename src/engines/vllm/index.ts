/** vLLM as an engine of ours: started, watched and described by an agent beside it. */

export { VllmAgent, type VllmAgentOptions } from './agent.ts';
export { explainOverride, findOverrides } from './checks.ts';
export type { VllmSpec } from './command.ts';
export { type Device, type DeviceWish, takeDevice } from './device.ts';
export { findVllm } from './install/index.ts';
export { pickPorts } from './ports.ts';
export { openView } from './view.ts';
