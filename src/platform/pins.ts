/** Pinned contexts, through the admin listener of a router: what is pinned on its instances, and what they are told of it. */

import type { Role } from './port.ts';
import { call, isRecord } from './probe.ts';

/** One pin as its instance tells of it. */
export interface InstancePin {
  readonly id: string;
  readonly digest: string;
  readonly tier: 'host' | 'store';
  readonly state: 'Computing' | 'Held' | 'Failed';
  readonly tokens: number;
  readonly blocks: number;
  readonly bytes: number;
  /** Milliseconds until it ends. */
  readonly leftMs: number;
  /** Null unless it failed. `reason` is a word of the engine. */
  readonly trouble: { readonly reason: string; readonly message: string } | null;
}

export interface PinningInstance {
  readonly name: string;
  readonly role: Role;
  readonly usable: boolean;
  /** Null = it cannot pin, or does not answer; `why` has the reason. */
  readonly memory: InstanceMemory | null;
  readonly why: string;
}

export interface InstanceMemory {
  readonly capacityBytes: number;
  readonly pinnableBytes: number;
  readonly pinnedBytes: number;
  /** Of its store; null = it has none. */
  readonly storeBytes: number | null;
  readonly pins: readonly InstancePin[];
}

/** As an engine takes it; see docs/engine-protocol.md. */
export interface PinRequest {
  readonly id: string;
  readonly digest: string;
  readonly ttlMs: number;
  readonly tier: 'host' | 'store';
  readonly salt: string;
  readonly prompt?: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
}

export type PinCall =
  | { readonly verb: 'pin'; readonly body: PinRequest }
  | { readonly verb: 'renew'; readonly body: Pick<PinRequest, 'id' | 'digest' | 'ttlMs'> }
  | { readonly verb: 'unpin'; readonly body: Pick<PinRequest, 'id'> };

/** Null when the router gave no usable answer. */
export async function readPins(adminUrl: string, timeoutMs: number): Promise<readonly PinningInstance[] | null> {
  const answer = await call({ url: `${adminUrl}/admin/pins`, timeoutMs });
  if (!answer.ok || answer.status !== 200 || !isRecord(answer.json) || !Array.isArray(answer.json['instances'])) return null;
  return answer.json['instances'].map(pinningInstance).filter((one) => one !== null);
}

/** @returns null, or why it was not done */
export async function tellPins(adminUrl: string, instance: string, { verb, body }: PinCall, timeoutMs: number): Promise<string | null> {
  const url = `${adminUrl}/admin/pins/${encodeURIComponent(instance)}/${verb}`;
  const answer = await call({ method: 'POST', url, body, timeoutMs });
  if (!answer.ok) return answer.why;
  return answer.status === 200 ? null : `HTTP ${answer.status}: ${JSON.stringify(answer.json)}`;
}

function pinningInstance(line: unknown): PinningInstance | null {
  if (!isRecord(line)) return null;
  const { id, role, usable, view, why } = line;
  if (typeof id !== 'string' || (role !== 'prefill' && role !== 'decode' && role !== 'mixed')) return null;
  const said = typeof why === 'string' ? why : 'it says nothing of pins';
  return { name: id, role, usable: usable === true, memory: memoryOf(view), why: said };
}

function memoryOf(view: unknown): InstanceMemory | null {
  if (!isRecord(view)) return null;
  const { capacityBytes, pinnableBytes, pinnedBytes, store, pins } = view;
  if (typeof capacityBytes !== 'number' || typeof pinnableBytes !== 'number' || typeof pinnedBytes !== 'number') return null;
  if (!Array.isArray(pins)) return null;
  const storeBytes = isRecord(store) && typeof store['capacityBytes'] === 'number' ? store['capacityBytes'] : null;
  return { capacityBytes, pinnableBytes, pinnedBytes, storeBytes, pins: pins.map(pinOf).filter((pin) => pin !== null) };
}

function pinOf(line: unknown): InstancePin | null {
  if (!isRecord(line)) return null;
  const { id, digest, tier, state, tokens, blocks, bytes, leftMs, trouble } = line;
  if (typeof id !== 'string' || typeof digest !== 'string' || (tier !== 'host' && tier !== 'store')) return null;
  if (state !== 'Computing' && state !== 'Held' && state !== 'Failed') return null;
  if (typeof tokens !== 'number' || typeof blocks !== 'number' || typeof bytes !== 'number') return null;
  if (typeof leftMs !== 'number') return null;
  const isTold = isRecord(trouble) && typeof trouble['reason'] === 'string' && typeof trouble['message'] === 'string';
  const told = isTold ? { reason: String(trouble['reason']), message: String(trouble['message']) } : null;
  return { id, digest, tier, state, tokens, blocks, bytes, leftMs, trouble: told };
}
