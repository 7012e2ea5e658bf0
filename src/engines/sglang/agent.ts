/** SGLang beside an agent. */
import { randomInt } from 'node:crypto';
import { type AgentOptions, EngineAgent } from '../agent/agent.ts';
import type { EngineDevice, EngineKind } from '../agent/kind.ts';
import { type SglangSpec, sglangCommand } from './command.ts';
import { withOurNames } from './metrics/page.ts';

export interface SglangAgentOptions extends Omit<AgentOptions, 'kind'> {
  readonly spec: SglangSpec;
  readonly device: EngineDevice;
}

/** A host that SGLang takes for none: it computes, or makes up the KV, and hands nothing over. Its own first requests go there too. */
const NO_HOST = '2.2.2.2';
const MOST_ROOM = 2 ** 31;

export function createSglangAgent(options: SglangAgentOptions): EngineAgent {
  const { spec, host, ports, device } = options;
  const kind: EngineKind = {
    title: 'SGLang',
    engine: 'sglang',
    dialect: 'bootstrap',
    version: { path: '/server_info', pattern: /"version"\s*:\s*"([^"]{1,100})"/ },
    deadAt503: false,
    leaseMs: null,
    brokenThread: null,
    command: () => sglangCommand(spec, { host, ports, device }),
    page: (text) => withOurNames(text, spec.modelName),
    alone: () => (spec.role === 'mixed' ? {} : { bootstrap_host: NO_HOST, bootstrap_port: null, bootstrap_room: randomInt(MOST_ROOM) }),
    busyMs: () => null,
    prepare: () => Promise.resolve(() => null),
  };
  return new EngineAgent({ ...options, kind });
}
