/**
 * Placement: which instance prefills, which decodes. Pure: it reserves nothing, logs nothing and mutates nothing.
 *
 * A pair's price is a part that only the prefill instance decides plus a part that only the decode instance decides (what is pulled
 * depends on what the decode instance lacks), so the best pair is the best of each: instances are priced once, not pairs, and 64
 * instances cost 64 prices. "The decode instance does it alone" is one more candidate for each of them.
 */
import { type Candidate, type InstanceView, MAX_CANDIDATES, type PlacementRequest, type Ranking, totalOf, ttftOf } from './decision.ts';
import { type DecodePrice, type PrefillPrice, priceAlone, priceDecode, pricePrefill } from './price.ts';

interface Ranked<Price> {
  readonly index: number;
  readonly price: Price;
  readonly ms: number;
}

/** Best pairs and best alone that are kept of each kind. */
const KEPT = 3;

/** Null when there is no instance that can decode. */
export function place(request: PlacementRequest): Ranking | null {
  const { instances, held, stored } = request;
  const order = startingAt(instances.length, request.spread);
  const prefills: Ranked<PrefillPrice>[] = [];
  const decodes: Ranked<DecodePrice>[] = [];
  const alone: Ranked<ReturnType<typeof priceAlone>>[] = [];
  const anyPrefill = instances.some((instance) => instance.role === 'prefill');
  for (const index of order) {
    const instance = instances[index];
    if (!instance) continue;
    const blocks = { held: held[index] ?? 0, stored: stored[index] ?? 0 };
    if (instance.role === 'prefill') {
      const price = pricePrefill(instance, blocks, request);
      keep(prefills, { index, price, ms: price.queueMs + price.onboardMs + price.prefillMs }, request);
      continue;
    }
    if (instance.role === 'decode' && anyPrefill) {
      const price = priceDecode(instance, blocks, request);
      keep(decodes, { index, price, ms: totalOf(price.terms) }, request);
    }
    if (!doesAll(request, instance)) continue;
    const price = priceAlone(instance, blocks, request);
    keep(alone, { index, price, ms: totalOf(price.terms) }, request);
  }
  const pairs = prefills.flatMap((prefill) => decodes.map((decode) => pairOf(request, prefill, decode)));
  const singles = request.pairOnly && pairs.length > 0 ? [] : alone.map(({ index, price }) => aloneOf(request, index, price));
  return decide([...pairs, ...singles], pairCount(request) + instances.filter((instance) => doesAll(request, instance)).length);
}

function doesAll({ decodesAlone }: PlacementRequest, { role }: InstanceView): boolean {
  return role === 'mixed' || (role === 'decode' && decodesAlone);
}

/** Keeps the best few, best first. Among equals the less busy instance wins, then the one that came first in `order`. */
function keep<Price>(list: Ranked<Price>[], entry: Ranked<Price>, { instances }: PlacementRequest): void {
  const busy = (ranked: Ranked<Price>) => instances[ranked.index]?.running ?? 0;
  const at = list.findIndex((other) => entry.ms < other.ms || (entry.ms === other.ms && busy(entry) < busy(other)));
  if (at < 0) list.push(entry);
  else list.splice(at, 0, entry);
  if (list.length > KEPT) list.pop();
}

function startingAt(count: number, spread: number): number[] {
  return Array.from({ length: count }, (_, i) => (i + spread) % count);
}

function pairCount({ instances }: PlacementRequest): number {
  const count = (role: string) => instances.filter((instance) => instance.role === role).length;
  return count('prefill') * count('decode');
}

function pairOf({ instances }: PlacementRequest, prefill: Ranked<PrefillPrice>, decode: Ranked<DecodePrice>): Candidate {
  const { queueMs, onboardMs, prefillMs, cachedBlocks, storedBlocks } = prefill.price;
  const terms = { ...decode.price.terms, queueMs, onboardMs, prefillMs };
  return {
    prefill: instances[prefill.index]?.id ?? null,
    decode: instances[decode.index]?.id ?? '',
    terms,
    ttftMs: ttftOf(terms),
    totalMs: totalOf(terms),
    cachedBlocks,
    storedBlocks,
    pulledBlocks: decode.price.pulledBlocks,
  };
}

function aloneOf(
  { instances }: PlacementRequest,
  index: number,
  { terms, cachedBlocks, storedBlocks }: ReturnType<typeof priceAlone>,
): Candidate {
  return {
    prefill: null,
    decode: instances[index]?.id ?? '',
    terms,
    ttftMs: ttftOf(terms),
    totalMs: totalOf(terms),
    cachedBlocks,
    storedBlocks,
    pulledBlocks: 0,
  };
}

function decide(candidates: readonly Candidate[], considered: number): Ranking | null {
  // A stable sort: candidates came in order of preference among equals.
  const sorted = [...candidates].sort((a, b) => a.totalMs - b.totalMs).slice(0, MAX_CANDIDATES);
  const chosen = sorted[0];
  if (!chosen) return null;
  return { chosen, candidates: sorted, considered, why: whyChosen(chosen, sorted[1]) };
}

const TERM_NAMES: Readonly<Record<keyof Candidate['terms'], string>> = {
  queueMs: 'queue',
  onboardMs: 'store',
  prefillMs: 'prefill',
  transferMs: 'transfer',
  admitMs: 'wait for a sequence',
  tailMs: 'tail',
  stallMs: 'stall of other streams',
  decodeMs: 'decode',
};

function whyChosen(chosen: Candidate, next: Candidate | undefined): string {
  if (!next) return 'the only choice';
  const lead = next.totalMs - chosen.totalMs;
  if (lead < 0.005) return `as good as ${nameOf(next)}, taken in turn`;
  return `${lead.toFixed(1)} ms better than ${nameOf(next)}, most of it ${TERM_NAMES[largestGap(chosen, next)]}`;
}

/** The term in which `loser` is worse by most. */
export function largestGap(winner: Candidate, loser: Candidate): keyof Candidate['terms'] {
  const names = Object.keys(TERM_NAMES) as (keyof Candidate['terms'])[];
  return names.reduce((worst, name) => (loser.terms[name] - winner.terms[name] > loser.terms[worst] - winner.terms[worst] ? name : worst));
}

export function nameOf(candidate: Candidate): string {
  return candidate.prefill === null ? `${candidate.decode} alone` : `${candidate.prefill} → ${candidate.decode}`;
}

export function termName(term: keyof Candidate['terms']): string {
  return TERM_NAMES[term];
}
