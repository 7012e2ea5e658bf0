/** Contexts that are pinned on instances, for whoever looks after them: asks engines, decides nothing. */
import type { PinsView } from '../../engines/index.ts';
import { SluiceError } from '../../shared/index.ts';
import { askInstance } from '../instances/ask.ts';
import type { RouterParts } from '../parts.ts';

export interface PinnedOn {
  readonly id: string;
  readonly role: string;
  readonly incarnation: string | null;
  /** Requests may be placed there. */
  readonly usable: boolean;
  /** Null = it does not say; `why` has the reason. */
  readonly view: PinsView | null;
  readonly why: string | null;
}

export interface PinnedView {
  readonly instances: readonly PinnedOn[];
}

export type PinVerb = 'pin' | 'renew' | 'unpin';

/** A long text takes its time to become tokens. */
const PIN_MS = 10_000;

export async function pinnedView({ registry, context }: RouterParts): Promise<PinnedView> {
  const asked = registry.instances.map(async (instance): Promise<PinnedOn> => {
    const { id, role, info, usable } = instance;
    const told = await askInstance<PinsView>(instance, context.clock, { path: '/sluice/kv/pins', body: null });
    const said = told.ok ? { view: told.json, why: null } : { view: null, why: told.why };
    return { id, role, incarnation: info?.incarnation ?? null, usable, ...said };
  });
  return { instances: await Promise.all(asked) };
}

/** Passes it on to the instance. @throws SluiceError when there is no such instance, or it refuses */
export async function tellPin(parts: RouterParts, id: string, verb: PinVerb, body: object): Promise<object> {
  const instance = parts.registry.instance(id);
  const told = await askInstance<object>(instance, parts.context.clock, { path: `/sluice/kv/${verb}`, body, timeoutMs: PIN_MS });
  if (!told.ok) throw new SluiceError('unavailable', `${id} did not do it: ${told.why}`);
  return told.json;
}
