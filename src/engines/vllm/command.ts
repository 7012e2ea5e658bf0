/** The command line and environment of one `vllm serve`. Pure. */
import type { EngineCommand, EngineDevice, EnginePorts, EngineSpec } from '../agent/kind.ts';
import { EVENT_TOPIC, isLocal } from '../agent/kind.ts';

export interface VllmSpec extends EngineSpec {
  readonly tensorParallel: number;
  /** Bytes for KV in each of its accelerators, or in memory on a CPU. */
  readonly hbmBytes: number;
  /** How long finished blocks wait for a peer. */
  readonly leaseMs: number;
  /** The user's own arguments of `vllm serve`. They come last and win. */
  readonly extra: readonly string[];
}

/** Where one life of it is. */
export interface VllmPlace {
  readonly host: string;
  readonly incarnation: string;
  readonly device: EngineDevice;
  readonly ports: EnginePorts;
}

/** Peers can only name each other's blocks when all hash alike. */
export const HASH_ALGORITHM = 'sha256_cbor';
export const HASH_SEED = '0';

const KV_ROLES = { prefill: 'kv_producer', decode: 'kv_consumer' } as const;

export function vllmCommand(spec: VllmSpec, place: VllmPlace): EngineCommand {
  return { args: argumentsOf(spec, place), env: environmentOf(spec, place) };
}

/** vLLM takes whole seconds. */
export function leaseSeconds(leaseMs: number): number {
  return Math.max(1, Math.ceil(leaseMs / 1000));
}

function argumentsOf(spec: VllmSpec, { host, ports, device, incarnation }: VllmPlace): string[] {
  const flags: Record<string, string | number> = {
    'served-model-name': spec.modelName,
    host,
    port: ports.http,
    dtype: spec.dtype,
    'max-model-len': spec.contextTokens,
    'max-num-seqs': spec.maxSequences,
    'block-size': spec.blockTokens,
    'prefix-caching-hash-algo': HASH_ALGORITHM,
    'kv-events-config': JSON.stringify(eventsConfig(ports)),
  };
  if (!isLocal(spec.model) && spec.revision !== null) flags['revision'] = spec.revision;
  if (!saysMemory(spec)) flags['kv-cache-memory-bytes'] = spec.hbmBytes;
  if (spec.tensorParallel > 1) flags['tensor-parallel-size'] = spec.tensorParallel;
  if (spec.role !== 'mixed') {
    flags['kv-transfer-config'] = JSON.stringify({
      kv_connector: 'NixlConnector',
      kv_role: KV_ROLES[spec.role],
      kv_buffer_device: device.kind,
      engine_id: incarnation,
      kv_connector_extra_config: { kv_lease_duration: leaseSeconds(spec.leaseMs) },
    });
  }
  const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  // The agent asks several times a second, and the router records every request.
  const switches = [
    '--enable-prompt-tokens-details',
    '--disable-uvicorn-access-log',
    ...(device.kind === 'cpu' ? ['--enforce-eager'] : []),
  ];
  return ['serve', spec.model, ...words, ...switches, ...spec.extra];
}

/** With `*` its publisher binds; any other host makes it connect, and nothing arrives. */
function eventsConfig({ events, replay }: EnginePorts): object {
  return {
    enable_kv_cache_events: true,
    publisher: 'zmq',
    endpoint: `tcp://*:${events}`,
    replay_endpoint: `tcp://*:${replay}`,
    topic: EVENT_TOPIC,
  };
}

function environmentOf(spec: VllmSpec, { host, ports, device }: VllmPlace): Record<string, string | null> {
  return {
    PYTHONHASHSEED: HASH_SEED,
    PYTHONUNBUFFERED: '1',
    VLLM_NO_USAGE_STATS: '1',
    VLLM_NIXL_SIDE_CHANNEL_HOST: host,
    VLLM_NIXL_SIDE_CHANNEL_PORT: String(ports.sideChannel),
    // Its routes end the engine for whoever asks.
    VLLM_SERVER_DEV_MODE: null,
    ...(isLocal(spec.model) ? { HF_HUB_OFFLINE: '1' } : {}),
    ...(device.kind === 'cpu' ? cpuEnvironment(spec, device.cores) : cudaEnvironment(device.visible)),
  };
}

function cpuEnvironment(spec: VllmSpec, cores: readonly number[] | null): Record<string, string | null> {
  return {
    // Counts in whole GiB and goes before the exact number of bytes.
    VLLM_CPU_KVCACHE_SPACE: null,
    UCX_TLS: 'tcp,shm,self',
    ...(cores === null ? {} : binding(cores, spec.tensorParallel)),
  };
}

function binding(cores: readonly number[], ranks: number): Record<string, string> {
  const shares = coresOfRanks(cores, ranks);
  return {
    VLLM_CPU_OMP_THREADS_BIND: shares.map((share) => share.join(',')).join('|'),
    OMP_NUM_THREADS: String(shares[0]?.length ?? 1),
  };
}

/** Each process that computes gets a share of its own; with fewer processors than processes they share. */
export function coresOfRanks(cores: readonly number[], ranks: number): number[][] {
  const share = Math.max(1, Math.floor(cores.length / ranks));
  return Array.from({ length: ranks }, (_, rank) => {
    const own = cores.slice(rank * share, (rank + 1) * share);
    return own.length > 0 ? own : cores.slice(rank % cores.length, (rank % cores.length) + 1);
  });
}

function cudaEnvironment(visible: readonly number[] | null): Record<string, string | null> {
  return visible === null ? {} : { CUDA_VISIBLE_DEVICES: visible.join(',') };
}

/** A share of an accelerator's memory goes instead of bytes when the user asks for it. */
function saysMemory({ extra }: VllmSpec): boolean {
  return extra.some((word) => /^--gpu[-_]memory[-_]utilization(=|$)/.test(word));
}
