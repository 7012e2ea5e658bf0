/** Our stream: made when it is missing, brought up to date when it is ours, left alone when it is not. */
import { DiscardPolicy, type JetStreamManager, nanos, RetentionPolicy, StorageType, type StreamConfig } from 'nats';
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

/** As an API of the server numbers what it refuses. */
const MISSING = 10_059;
const NAME_IN_USE = 10_058;
const SUBJECTS_OVERLAP = 10_065;

/** @throws EventFault incompatible, or what the library throws */
export async function ensureStream({ manager }: Pick<Attached, 'manager'>, terms: StreamTerms, place: Place): Promise<void> {
  const wanted = configOf(terms);
  const there = (await find(manager, terms.name)) ?? (await make(manager, wanted));
  if (there === null) return;
  if (!there.description?.startsWith(MARK)) {
    const message = `NATS at ${place.shown}: the stream ${terms.name} is not ours (its description does not begin with "${MARK}"): delete it, or choose another prefix; it was left as it is`;
    throw new EventFault('incompatible', message);
  }
  const keys = ['max_bytes', 'max_age', 'num_replicas'] as const;
  if (keys.some((key) => wanted[key] !== undefined && wanted[key] !== there[key])) await manager.streams.update(terms.name, wanted);
}

async function find(manager: JetStreamManager, name: string): Promise<StreamConfig | null> {
  try {
    return (await manager.streams.info(name)).config;
  } catch (error) {
    if (codeOf(error) === MISSING) return null;
    throw error;
  }
}

/**
 * @returns null, or what another process has made of it at the same time: to one with the same terms the server agrees, but not to one with
 * others, and to none in the moment in which the first is half made
 */
async function make(manager: JetStreamManager, wanted: ReturnType<typeof configOf>): Promise<StreamConfig | null> {
  try {
    await manager.streams.add(wanted);
    return null;
  } catch (error) {
    const code = codeOf(error);
    const there = code === NAME_IN_USE || code === SUBJECTS_OVERLAP ? await find(manager, wanted.name) : null;
    if (there === null) throw error;
    return there;
  }
}

function codeOf(error: unknown): unknown {
  if (!(error instanceof Error) || !('api_error' in error)) return null;
  const api = error.api_error;
  return typeof api === 'object' && api !== null && 'err_code' in api ? api.err_code : null;
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
