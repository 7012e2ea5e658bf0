/** Which instances hold a pinned context, and what each is told about it now. Pure. */
import type { InstanceMemory, InstancePin, PinningInstance } from '../../platform/index.ts';

/** What instances tell one context, and one content of it, from another by. */
export interface PinName {
  readonly id: string;
  readonly digest: string;
}

/** Engines that are told what stays; the others keep their KV themselves. */
export const PINNING_ENGINES: ReadonlySet<string> = new Set(['llamacpp', 'sim']);

/** Milliseconds that an instance keeps it without hearing of it: longer than an operator takes to be replaced by another. */
export const TTL_MS = 120_000;
/** After which it is tried again where it failed: to compute it takes time from requests. */
const RETRY_MS = 10_000;

export interface PinStep {
  readonly verb: 'pin' | 'renew' | 'unpin';
  readonly instance: string;
  readonly reason: string;
}

/** One that could hold it. */
export interface Candidate {
  readonly name: string;
  readonly memory: InstanceMemory;
  /** What it says of the present content; null = nothing. */
  readonly pin: InstancePin | null;
}

/** Those that compute prompts, best first: who has it, who computes it, who has most room, and last those that could not. */
export function candidates(name: PinName, instances: readonly PinningInstance[]): Candidate[] {
  return computing(instances)
    .flatMap(({ name: instance, usable, memory }) =>
      usable && memory !== null ? [{ name: instance, memory, pin: presentPin(name, memory) }] : [],
    )
    .sort((a, b) => rank(a) - rank(b) || room(b) - room(a) || (a.name < b.name ? -1 : 1));
}

/** Those whose place it is: KV of a prompt is computed in a prefill pool where there is one. */
export function computing(instances: readonly PinningInstance[]): readonly PinningInstance[] {
  const prefill = instances.filter(({ role }) => role === 'prefill');
  return prefill.length > 0 ? prefill : instances;
}

export function planPins(name: PinName, replicas: number, instances: readonly PinningInstance[]): PinStep[] {
  const sorted = candidates(name, instances);
  const chosen = sorted.slice(0, replicas);
  const names = new Set(chosen.map((one) => one.name));
  const isWhole = chosen.length === replicas && chosen.every(({ pin }) => pin?.state === 'Held');
  // What is held elsewhere stays until all that are to hold it do.
  const others = isWhole
    ? instances.filter(({ name: instance, memory }) => !names.has(instance) && memory?.pins.some(({ id }) => id === name.id))
    : [];
  return [
    ...chosen.flatMap((one) => stepFor(one) ?? []),
    ...others.map(({ name: instance }): PinStep => ({ verb: 'unpin', instance, reason: 'others hold it' })),
  ];
}

function stepFor({ name: instance, pin }: Candidate): PinStep | null {
  if (pin === null) return { verb: 'pin', instance, reason: 'it does not have it' };
  if (pin.state !== 'Failed') return { verb: 'renew', instance, reason: pin.state === 'Held' ? 'it holds it' : 'it computes it' };
  if (pin.leftMs > TTL_MS - RETRY_MS) return null;
  return { verb: 'pin', instance, reason: `it could not hold it: ${pin.trouble?.message ?? 'it does not say why'}` };
}

function presentPin({ id, digest }: PinName, { pins }: InstanceMemory): InstancePin | null {
  return pins.find((pin) => pin.id === id && pin.digest === digest) ?? null;
}

const RANKS = { Held: 0, Computing: 1, Failed: 3 } as const;
const rank = ({ pin }: Candidate) => (pin === null ? 2 : RANKS[pin.state]);
const room = ({ memory }: Candidate) => memory.pinnableBytes - memory.pinnedBytes;
