/** vLLM beside an agent. */
import { type AgentOptions, EngineAgent } from '../agent/agent.ts';
import { computeMs } from '../agent/effort.ts';
import type { EngineDevice, EngineKind } from '../agent/kind.ts';
import { coresOfRanks, leaseSeconds, type VllmSpec, vllmCommand } from './command.ts';

export interface VllmAgentOptions extends Omit<AgentOptions, 'kind'> {
  readonly spec: VllmSpec;
  readonly device: EngineDevice;
}

export function createVllmAgent(options: VllmAgentOptions): EngineAgent {
  const { spec, host, ports, device } = options;
  const kind: EngineKind = {
    title: 'vLLM',
    engine: 'vllm',
    dialect: 'nixl',
    version: { path: '/version', pattern: /"version"\s*:\s*"([^"]{1,100})"/ },
    deadAt503: true,
    leaseMs: leaseSeconds(spec.leaseMs) * 1000,
    brokenThread: /Exception in thread ((?:nixl|zmq)\S*):/,
    command: (incarnation) => vllmCommand(spec, { host, ports, device, incarnation }),
    page: (text) => text,
    alone: () => ({}),
    busyMs: (group) => (device.kind === 'cpu' ? computeMs(group) : null),
    prepare: () => prepare(options),
  };
  return new EngineAgent({ ...options, kind });
}

/** It brings a native library. */
async function prepare({ device, spec }: VllmAgentOptions): Promise<(group: number) => string | null> {
  const { bindThreads } = await import('./affinity.ts');
  return (group) => {
    if (device.kind !== 'cpu' || device.cores === null) return null;
    const why = bindThreads(group, coresOfRanks(device.cores, spec.tensorParallel));
    return why && `${why}: several engines may compute on one processor and be slow`;
  };
}
