/** What one engine of this machine runs on, so that two do not take the same. */
import { SluiceError } from '../../shared/index.ts';
import { allowedCores, type ClaimOptions, claimUnits, MANY_OWNERS, presentAccelerators } from './claims.ts';
import type { EngineDevice } from './kind.ts';

export interface DeviceWish {
  /** Null = the CPU. */
  readonly accelerator: string | null;
  /** Accelerators, or on a CPU processes that compute. */
  readonly tensorParallel: number;
  /** Logical processors of the whole engine. */
  readonly cores: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Device {
  readonly device: EngineDevice;
  /** Something that makes it slow, for the log; null = nothing. */
  readonly warning: string | null;
}

/** What there is; tests bring their own. */
export interface Machine {
  readonly cores: readonly number[];
  readonly accelerators: readonly number[];
  readonly scope?: string;
}

/**
 * Taken until this process ends. A choice that the user made in the environment is left alone.
 * @throws SluiceError unavailable when there are not enough free accelerators
 */
export function takeDevice(wish: DeviceWish, machine: Machine = thisMachine()): Promise<Device> {
  return wish.accelerator === null ? takeCores(wish, machine) : takeAccelerators(wish, machine);
}

function thisMachine(): Machine {
  return { cores: allowedCores(), accelerators: presentAccelerators() };
}

async function takeCores({ cores, tensorParallel, env }: DeviceWish, machine: Machine): Promise<Device> {
  const bound = env['VLLM_CPU_OMP_THREADS_BIND'];
  if (bound !== undefined) return { device: { kind: 'cpu', cores: null }, warning: null };
  const count = Math.min(Math.max(cores, tensorParallel), machine.cores.length);
  const claim = await claimUnits('core', machine.cores, count, claimOptions(machine, MANY_OWNERS));
  if (claim === null)
    return { device: { kind: 'cpu', cores: machine.cores.slice(0, count) }, warning: sharing(machine.cores.slice(0, count)) };
  return { device: { kind: 'cpu', cores: claim.indices }, warning: claim.shared ? sharing(claim.indices) : null };
}

function sharing(cores: readonly number[]): string {
  return `processor ${cores.join(', ')} computes for another engine too: there are more engines than processors, and both are slow`;
}

async function takeAccelerators({ accelerator, tensorParallel, env }: DeviceWish, machine: Machine): Promise<Device> {
  if (env['CUDA_VISIBLE_DEVICES'] !== undefined) return { device: { kind: 'cuda', visible: null }, warning: null };
  const claim = await claimUnits('accelerator', machine.accelerators, tensorParallel, claimOptions(machine, 1));
  if (claim !== null) return { device: { kind: 'cuda', visible: claim.indices }, warning: null };
  throw new SluiceError(
    'unavailable',
    `${tensorParallel} free ${accelerator} wanted, and this machine has ${machine.accelerators.length} in all: lower replicas or parallelism.tensor, or leave accelerator out to run on the CPU`,
  );
}

function claimOptions({ scope }: Machine, maxOwners: number): ClaimOptions {
  return scope === undefined ? { maxOwners } : { scope, maxOwners };
}
