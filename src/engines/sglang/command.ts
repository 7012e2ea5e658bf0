/** The command line and environment of one SGLang server, as of 0.5.18. Pure. */
import { type EngineCommand, type EngineDevice, type EnginePorts, type EngineSpec, EVENT_TOPIC, isLocal } from '../agent/kind.ts';

export type TransferBackend = 'mooncake' | 'nixl';

export interface SglangSpec extends EngineSpec {
  readonly tensorParallel: number;
  /** What carries KV from instance to instance. */
  readonly transferBackend: TransferBackend;
  /** The user's own arguments of the server. They come last and win. */
  readonly extra: readonly string[];
}

/** Where one life of it is. */
export interface SglangPlace {
  readonly host: string;
  readonly device: EngineDevice;
  readonly ports: EnginePorts;
}

export function sglangCommand(spec: SglangSpec, place: SglangPlace): EngineCommand {
  return { args: argumentsOf(spec, place), env: environmentOf(spec, place) };
}

function argumentsOf(spec: SglangSpec, { host, ports }: SglangPlace): string[] {
  const flags: Record<string, string | number> = {
    'model-path': spec.model,
    'served-model-name': spec.modelName,
    host,
    port: ports.http,
    dtype: spec.dtype,
    'context-length': spec.contextTokens,
    'max-running-requests': spec.maxSequences,
    'page-size': spec.blockTokens,
    'tp-size': spec.tensorParallel,
    'kv-events-config': JSON.stringify(eventsConfig(ports)),
    // The agent asks several times a second, and the router records every request.
    'log-level-http': 'warning',
  };
  if (!isLocal(spec.model) && spec.revision !== null) flags['revision'] = spec.revision;
  if (spec.role !== 'mixed') {
    flags['disaggregation-mode'] = spec.role;
    flags['disaggregation-transfer-backend'] = spec.transferBackend;
    flags['disaggregation-bootstrap-port'] = ports.sideChannel;
  }
  const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  return ['-m', 'sglang.launch_server', ...words, '--enable-metrics', '--enable-cache-report', ...spec.extra];
}

/** With `*` its publisher binds; any other host makes it connect, and nothing arrives. */
function eventsConfig({ events, replay }: EnginePorts): object {
  return { publisher: 'zmq', endpoint: `tcp://*:${events}`, replay_endpoint: `tcp://*:${replay}`, topic: EVENT_TOPIC };
}

function environmentOf(spec: SglangSpec, { host, device }: SglangPlace): Record<string, string | null> {
  return {
    PYTHONUNBUFFERED: '1',
    // The address under which a prefill instance's ranks are registered at its bootstrap server; else it guesses one.
    SGLANG_HOST_IP: host,
    // A health check that generates is slow when much else is generated.
    SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: 'false',
    ...(isLocal(spec.model) ? { HF_HUB_OFFLINE: '1' } : {}),
    ...(device.kind === 'cuda' && device.visible !== null ? { CUDA_VISIBLE_DEVICES: device.visible.join(',') } : {}),
  };
}
