/**
 * One round over one PinnedContext, wherever its instances run: what they hold, what follows, and telling them. Keeps nothing: pins end by
 * themselves when rounds stop, and are made anew when an instance was.
 */
import { createHash } from 'node:crypto';
import type { PinnedContext } from '../../api/index.ts';
import { type PinCall, type PinningInstance, readPins, tellPins } from '../../platform/index.ts';
import { type PinStep, planPins, TTL_MS } from './plan.ts';
import type { PinSeen, PinTold, PinWish } from './status.ts';

/** Between two rounds: while it is computed, while something is waited for that a watch may not show, and while nothing changes. */
const ROUND_MS = { computing: 500, waiting: 2_000, settled: 10_000 } as const;
/** An instance makes tokens of a long text before it answers. */
const TELL_MS = 12_000;
const READ_MS = 4_000;

export interface PinRound {
  readonly seen: PinSeen & { readonly kind: 'instances' | 'noRouter' };
  /** What was done and took. */
  readonly done: readonly PinStep[];
}

/** Milliseconds to the next round. */
export function pauseMs({ conditions }: Pick<PinTold, 'conditions'>): number {
  const reconciling = conditions.find(({ type }) => type === 'Reconciling');
  if (reconciling?.status !== true) return ROUND_MS.settled;
  return reconciling.reason === 'Computing' ? ROUND_MS.computing : ROUND_MS.waiting;
}

export function wishOf(context: PinnedContext): PinWish {
  const { namespace, name, deployment, replicas, content, tenant, tier } = context;
  const digest = createHash('sha256')
    .update(JSON.stringify([content, tenant, tier]))
    .digest('hex');
  return { id: `${namespace}/${name}`, digest, deployment, replicas, tier };
}

/** @param adminUrls of the routers of its deployment; the first that answers is asked, they have the same instances */
export async function keepPinned(context: PinnedContext, adminUrls: readonly string[]): Promise<PinRound> {
  const wish = wishOf(context);
  const { url, instances } = await firstAnswer(adminUrls);
  if (url === null) return { seen: { kind: 'noRouter', wish }, done: [] };
  const refused = new Map<string, string>();
  const done: PinStep[] = [];
  const steps = planPins(wish, wish.replicas, instances);
  await Promise.all(
    steps.map(async (step) => {
      const why = await tellPins(url, step.instance, callOf(step, context, wish), TELL_MS);
      if (why === null) done.push(step);
      else refused.set(step.instance, why);
    }),
  );
  return { seen: { kind: 'instances', wish, instances, refused }, done };
}

/** Lets go of it on all instances that still have it. */
export async function letGo(id: string, adminUrls: readonly string[]): Promise<void> {
  const { url, instances } = await firstAnswer(adminUrls);
  if (url === null) return;
  const holders = instances.filter(({ memory }) => memory?.pins.some((pin) => pin.id === id));
  await Promise.all(holders.map(({ name }) => tellPins(url, name, { verb: 'unpin', body: { id } }, READ_MS)));
}

interface Answered {
  readonly url: string | null;
  readonly instances: readonly PinningInstance[];
}

async function firstAnswer(adminUrls: readonly string[]): Promise<Answered> {
  for (const url of adminUrls) {
    const instances = await readPins(url, READ_MS);
    if (instances !== null) return { url, instances };
  }
  return { url: null, instances: [] };
}

function callOf({ verb }: PinStep, { content, tenant, tier }: PinnedContext, { id, digest }: PinWish): PinCall {
  switch (verb) {
    case 'pin': {
      const what = content.kind === 'text' ? { prompt: content.text } : { messages: content.messages };
      return { verb, body: { id, digest, ttlMs: TTL_MS, tier, salt: tenant, ...what } };
    }
    case 'renew':
      return { verb, body: { id, digest, ttlMs: TTL_MS } };
    case 'unpin':
      return { verb, body: { id } };
  }
}
