/**
 * What an instance has of one session, and what it does when it is told something about it. Pure.
 *
 * Invariants
 * - An instance never decodes for an owner that was fenced: `generation` only grows, and what is older is refused.
 * - `paused` and `held` end by their lease, whoever is gone.
 * - A command that comes twice has the effect of one.
 */
export type Holding =
  /** Nothing any more; `generation` is the highest that was heard of. */
  | { readonly kind: 'gone'; readonly generation: number }
  | { readonly kind: 'decoding'; readonly generation: number; readonly stopping: boolean; readonly leased: boolean }
  /** It said its last token and keeps its KV. */
  | { readonly kind: 'paused'; readonly generation: number; readonly leased: boolean }
  /** The place of a session that another instance decodes. */
  | { readonly kind: 'held'; readonly generation: number };

export const NOTHING: Holding = { kind: 'gone', generation: 0 };

/** Of the owner of the stream. `generation`: of the owner that the target is to become, but for `begin`, which makes one. */
export type HolderCommand = {
  readonly type: 'begin' | 'reserve' | 'offer' | 'pull' | 'follow' | 'stop' | 'commit' | 'release';
  readonly generation: number;
};

/** What happened here. */
export type HolderNews = { readonly type: 'saidLast' | 'ended' | 'expired' };

export type HolderVerdict =
  | { readonly type: 'do'; readonly next: Holding }
  /** It was done already. */
  | { readonly type: 'done' }
  | { readonly type: 'refuse'; readonly why: string };

export function obey(holding: Holding, { type, generation }: HolderCommand): HolderVerdict {
  switch (type) {
    case 'begin':
      if (generation <= holding.generation) return stale(holding);
      return { type: 'do', next: { kind: 'decoding', generation, stopping: false, leased: false } };
    case 'reserve':
      if (generation <= holding.generation) return stale(holding);
      if (holding.kind !== 'gone') return refuse('the session is here already');
      return { type: 'do', next: { kind: 'held', generation } };
    case 'offer':
      if (holding.kind !== 'decoding') return unknown();
      if (generation <= holding.generation) return stale(holding);
      return { type: 'do', next: { ...holding, leased: true } };
    case 'stop':
      if (holding.kind === 'paused' && generation > holding.generation) return { type: 'done' };
      if (holding.kind !== 'decoding') return unknown();
      if (generation <= holding.generation) return stale(holding);
      return holding.stopping ? { type: 'done' } : { type: 'do', next: { ...holding, stopping: true } };
    case 'pull':
    case 'follow':
      return holding.kind === 'held' && holding.generation === generation ? { type: 'do', next: holding } : unknown();
    case 'commit':
      if (holding.kind !== 'held' || holding.generation !== generation) return unknown();
      return { type: 'do', next: { kind: 'decoding', generation, stopping: false, leased: false } };
    case 'release':
      return release(holding, generation);
  }
}

/** The move is over, one way or the other: what was kept for it goes. A session that decodes on goes on. */
function release(holding: Holding, generation: number): HolderVerdict {
  const latest = Math.max(generation, holding.generation);
  switch (holding.kind) {
    case 'gone':
      return latest > holding.generation ? { type: 'do', next: { kind: 'gone', generation: latest } } : { type: 'done' };
    case 'decoding':
      return holding.leased && generation > holding.generation ? { type: 'do', next: { ...holding, leased: false } } : { type: 'done' };
    case 'paused':
      return generation > holding.generation ? { type: 'do', next: { kind: 'gone', generation: latest } } : { type: 'done' };
    case 'held':
      return generation >= holding.generation ? { type: 'do', next: { kind: 'gone', generation: latest } } : { type: 'done' };
  }
}

export function learn(holding: Holding, { type }: HolderNews): Holding {
  const gone: Holding = { kind: 'gone', generation: holding.generation };
  switch (type) {
    case 'saidLast':
      return holding.kind === 'decoding' && holding.stopping
        ? { kind: 'paused', generation: holding.generation, leased: holding.leased }
        : holding;
    case 'ended':
      return holding.kind === 'decoding' ? gone : holding;
    case 'expired':
      if (holding.kind === 'decoding') return { ...holding, leased: false };
      return gone;
  }
}

function stale({ generation }: Holding): HolderVerdict {
  return refuse(`generation ${generation} of the session was here already`);
}

function unknown(): HolderVerdict {
  return refuse('there is no such session here');
}

function refuse(why: string): HolderVerdict {
  return { type: 'refuse', why };
}
