/** The router's admin listener, as the platform uses it. */
import type { PublishedInstance, RoutedInstance, RoutedKv } from './port.ts';
import { call, isRecord } from './probe.ts';

/** What a router says of the list of instances that it holds. */
export interface RoutedList {
  /** Of the list that it took last; it takes no older one. */
  readonly generation: number;
  readonly instances: readonly RoutedInstance[];
  readonly kv: RoutedKv;
}

/** Null when the router gave no usable answer. */
export async function readRoutedInstances(adminUrl: string, timeoutMs: number): Promise<RoutedList | null> {
  const answer = await call({ url: `${adminUrl}/admin/instances`, timeoutMs });
  if (!answer.ok || answer.status !== 200 || !isRecord(answer.json)) return null;
  const { generation, instances, kv } = answer.json;
  if (typeof generation !== 'number' || !Array.isArray(instances)) return null;
  return { generation, instances: instances.map(routedInstance).filter((instance) => instance !== null), kv: routedKv(kv) };
}

function routedKv(kv: unknown): RoutedKv {
  const said = (name: 'redis' | 'nats') => {
    const word = isRecord(kv) ? kv[name] : undefined;
    return word === null || typeof word === 'string' ? { [name]: word } : {};
  };
  return { ...said('redis'), ...said('nats') };
}

function routedInstance(line: unknown): RoutedInstance | null {
  if (!isRecord(line)) return null;
  const { id, incarnation, draining, emptied, connected, proven, inFlight } = line;
  if (typeof id !== 'string' || typeof incarnation !== 'string' || typeof inFlight !== 'number') return null;
  // Nothing goes through one that drains or is to be emptied, so it cannot prove itself.
  const serves = connected === true && (proven === true || draining === true || emptied === true);
  return { name: id, incarnation, draining: draining === true, connected: serves, inFlight };
}

/** @returns null, or why the router did not take the list. */
export async function publish(
  adminUrl: string,
  list: { readonly generation: number; readonly model: string; readonly instances: readonly PublishedInstance[] },
  timeoutMs: number,
): Promise<string | null> {
  const answer = await call({ method: 'PUT', url: `${adminUrl}/admin/instances`, body: list, timeoutMs });
  if (!answer.ok) return answer.why;
  return answer.status === 200 ? null : `HTTP ${answer.status}: ${JSON.stringify(answer.json)}`;
}
