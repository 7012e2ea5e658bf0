/**
 * One round over one PinnedContext, wherever its instances run: what they hold, what follows, and telling them. Keeps nothing: pins end by
 * themselves when rounds stop, and are made anew when an instance was.
 */
import { createHash } from 'node:crypto';
import type { PinnedContext } from '../../api/index.ts';
import { type PinCall, tellPins } from '../../platform/index.ts';
import { type PinStep, planPins, TTL_MS } from './plan.ts';
import { type PinReads, READ_MS } from './reads.ts';
import type { PinSeen, PinTold, PinWish } from './status.ts';

/** Between two rounds: while it is computed, while something is waited for that a watch may not show, and while nothing changes. */
const ROUND_MS = { computing: 500, waiting: 2_000, settled: 10_000 } as const;
/** An instance makes tokens of a long text before it answers. */
const TELL_MS = 12_000;

/** Where a context is pinned: the instances of one deployment, by way of its routers. */
export interface PinPlace {
  readonly reads: PinReads;
  /** Of the deployment, for `reads`. */
  readonly name: string;
  readonly adminUrls: readonly string[];
}

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

export async function keepPinned(context: PinnedContext, { reads, name, adminUrls }: PinPlace): Promise<PinRound> {
  const wish = wishOf(context);
  const { url, instances } = await reads.of(name, adminUrls);
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
  if (steps.some(({ verb }) => verb !== 'renew')) reads.forget(name);
  return { seen: { kind: 'instances', wish, instances, refused }, done };
}

/** Lets go of it on all instances that still have it. */
export async function letGo(id: string, { reads, name, adminUrls }: PinPlace): Promise<void> {
  reads.forget(name);
  const { url, instances } = await reads.of(name, adminUrls);
  if (url === null) return;
  const holders = instances.filter(({ memory }) => memory?.pins.some((pin) => pin.id === id));
  await Promise.all(holders.map((holder) => tellPins(url, holder.name, { verb: 'unpin', body: { id } }, READ_MS)));
  reads.forget(name);
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
