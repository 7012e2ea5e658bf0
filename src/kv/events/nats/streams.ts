/** Our stream: made when it is missing, brought up to date when it is ours, left alone when it is not. */
import { DiscardPolicy, nanos, RetentionPolicy, StorageType, type StreamConfig } from 'nats';
import { EventFault } from '../fault.ts';
import type { Place } from './failure.ts';
import type { Attached } from './link.ts';

/** Begins the description of a stream of ours; the number is that of the codec. */
const MARK = 'Sluice KV';

export interface StreamTerms {
  readonly name: string;
  readonly subjects: string;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly replicas: number;
}

/** @throws EventFault incompatible, or what the library throws */
export async function ensureStream({ manager }: Attached, terms: StreamTerms, place: Place): Promise<void> {
  const wanted = configOf(terms);
  const there = await manager.streams.info(terms.name).then(
    ({ config }) => config,
    (error: unknown) => {
      if (isMissing(error)) return null;
      throw error;
    },
  );
  if (there === null) {
    // Another process may make it at the same time: the same one, so that the server agrees.
    await manager.streams.add(wanted);
    return;
  }
  if (!there.description?.startsWith(MARK)) {
    const message = `NATS at ${place.shown}: the stream ${terms.name} is not ours (its description does not begin with "${MARK}"): delete it, or choose another prefix; it was left as it is`;
    throw new EventFault('incompatible', message);
  }
  const keys = ['max_bytes', 'max_age', 'num_replicas'] as const;
  if (keys.some((key) => wanted[key] !== undefined && wanted[key] !== there[key])) await manager.streams.update(terms.name, wanted);
}

function isMissing(error: unknown): boolean {
  if (!(error instanceof Error) || !('api_error' in error)) return false;
  const api = error.api_error;
  return typeof api === 'object' && api !== null && 'err_code' in api && api.err_code === 10_059;
}

function configOf({ name, subjects, maxBytes, maxAgeMs, replicas }: StreamTerms): Partial<StreamConfig> & { name: string } {
  return {
    name,
    description: `${MARK} events, codec E1: what instances told of late`,
    subjects: [subjects],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    // What is lost with the server is told anew.
    storage: StorageType.Memory,
    max_bytes: maxBytes,
    max_age: nanos(maxAgeMs),
    num_replicas: replicas,
    duplicate_window: nanos(1_000),
  };
}
