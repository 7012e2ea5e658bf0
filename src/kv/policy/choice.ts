/**
 * Where the KV of a prompt is to come from: what is resident stays, and of the blocks behind it each comes from host memory, a peer or the
 * store, or is computed, so that the expected milliseconds until the last of them is there are the fewest (Fu, arXiv 2405.08944: the four
 * metrics of long contexts are all bytes of KV over some bandwidth; papers.md 1.6.3). Pure.
 */
import { GROUP_BYTES } from '../store/runs.ts';
import { type LinkPrice, moveMs } from './link.ts';

export type Source = 'host' | 'peer' | 'store';

export interface Offer {
  /** Leading blocks of the prompt that it has. */
  readonly blocks: number;
  readonly price: LinkPrice;
  /** Blocks that one copy moves. */
  readonly blocksPerCopy: number;
  /** Milliseconds before it begins, since others are served first. Default 0. */
  readonly waitMs?: number;
}

export interface OnboardQuestion {
  /** Blocks of the prompt that may be reused at all. */
  readonly blocks: number;
  /** Leading ones that need no moving. */
  readonly resident: number;
  readonly offers: Partial<Record<Source, Offer>>;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  /** Milliseconds to compute `tokens` after `context` ones. */
  readonly prefillMs: (tokens: number, context: number) => number;
  /** Moving must be done by then, once it has begun; what cannot be is computed. */
  readonly deadlineMs?: number;
  /** The prompt waits so long for its turn to be computed: what moves meanwhile costs nothing. Default 0. */
  readonly lineMs?: number;
}

export interface OnboardStep {
  readonly from: Source | 'recompute';
  /** Blocks, `start` to before `end`. */
  readonly start: number;
  readonly end: number;
  readonly ms: number;
}

export interface OnboardPlan {
  /** In order of the prompt; they cover the blocks from the first that is not resident. */
  readonly steps: readonly OnboardStep[];
  /** Beyond the wait for its turn; what others' reading is waited for counts a third. */
  readonly totalMs: number;
  /** What computing all of them would take. */
  readonly recomputeMs: number;
  readonly reason: string;
}

/**
 * Of the wait for what is read for others. It holds up one prompt, computing all that wait for the instance: counted in full it drives into computing what
 * the instance cannot keep up with, not at all it lets a link that is slower than what comes hold up everybody (test/simulation/returning.ts).
 */
const WAIT_SHARE = 1 / 3;

const SOURCES: readonly Source[] = ['host', 'peer', 'store'];

export function planOnboard(question: OnboardQuestion): OnboardPlan {
  const best = leastOf(question);
  const recomputeMs = computeStep(question, question.resident)?.ms ?? 0;
  return { ...best, recomputeMs, reason: reasonOf(best.steps, best.totalMs, recomputeMs) };
}

/**
 * What of the plan is read from the store before anything else moves; null = nothing. An engine reads that, pulls what a peer has behind it, and computes the
 * rest. Without the words of a plan: a router asks it of every instance for every request.
 */
export function planReading(question: OnboardQuestion): OnboardStep | null {
  const { blocks, offers } = question;
  const { store, peer, host } = offers;
  if (store === undefined) return null;
  const isPlain = host === undefined && (peer === undefined || peer.blocks >= blocks);
  return isPlain ? readOrNot(question, store, peer) : storeStep(leastOf(question));
}

/** What `leastOf` comes to where there is the store, and no peer or one that offers all, without the lists that it makes. */
function readOrNot(question: OnboardQuestion, store: Offer, peer: Offer | undefined): OnboardStep | null {
  const { blocks, resident, blockTokens, bytesPerBlock, prefillMs, deadlineMs = Number.POSITIVE_INFINITY, lineMs = 0 } = question;
  const end = Math.min(blocks, store.blocks);
  if (end <= resident) return null;
  const computeMs = (from: number) => (from >= blocks ? 0 : prefillMs((blocks - from) * blockTokens, from * blockTokens));
  const movingMs = (ms: number, waitMs: number) =>
    ms > deadlineMs ? Number.POSITIVE_INFINITY : Math.max(0, WAIT_SHARE * waitMs + ms - lineMs);
  const ms = stepMs(store, end - resident, bytesPerBlock);
  const waitMs = store.waitMs ?? 0;
  let reading = movingMs(ms, waitMs) + computeMs(end);
  let otherwise = computeMs(resident);
  if (peer) {
    const peerWaitMs = peer.waitMs ?? 0;
    otherwise = Math.min(otherwise, movingMs(stepMs(peer, blocks - resident, bytesPerBlock), peerWaitMs));
    if (end < blocks && perBlockMs(store, bytesPerBlock) < perBlockMs(peer, bytesPerBlock))
      reading = Math.min(reading, movingMs(ms + stepMs(peer, blocks - end, bytesPerBlock), waitMs + peerWaitMs));
  }
  return reading < otherwise ? { from: 'store', start: resident, end, ms } : null;
}

export function storeStep({ steps }: Pick<OnboardPlan, 'steps'>): OnboardStep | null {
  const [first] = steps;
  return first?.from === 'store' ? first : null;
}

type Way = Pick<OnboardPlan, 'steps' | 'totalMs'>;

function leastOf(question: OnboardQuestion): Way {
  const recompute = computeStep(question, question.resident);
  let least: Way = recompute ? { steps: [recompute], totalMs: recompute.ms } : { steps: [], totalMs: 0 };
  // The first of equals: fewer sources, fewer blocks moved.
  for (const used of subsets(question)) {
    for (const end of ends(question, used)) {
      const way = planOf(question, used, end);
      if (way !== null && way.totalMs < least.totalMs) least = way;
    }
  }
  return least;
}

interface StoreTerms {
  readonly price: LinkPrice;
  readonly waitMs: number;
  readonly bytesPerBlock: number;
}

/** @param blocks leading ones of the prompt, the resident ones included */
export function storeOffer(blocks: number, { price, waitMs, bytesPerBlock }: StoreTerms): Offer {
  return { blocks, price, waitMs, blocksPerCopy: Math.max(1, Math.floor(GROUP_BYTES.wanted / bytesPerBlock)) };
}

/** One pull brings all, whatever the count of blocks. */
export function peerOffer(blocks: number, { pullFixed, pullPerMiB }: { readonly pullFixed: number; readonly pullPerMiB: number }): Offer {
  return { blocks, price: { fixedMs: pullFixed, msPerMiB: pullPerMiB, copyMs: 0 }, blocksPerCopy: Number.MAX_SAFE_INTEGER };
}

/** Whether blocks are worth their room below: reading them back must be faster than computing them, at the least that can cost. */
export function isWorthKeeping(
  blocks: number,
  { offer, blockTokens, bytesPerBlock, prefillMs }: Pick<OnboardQuestion, 'blockTokens' | 'bytesPerBlock' | 'prefillMs'> & { offer: Offer },
): boolean {
  return stepMs(offer, blocks, bytesPerBlock) < prefillMs(blocks * blockTokens, 0);
}

function subsets({ resident, offers }: OnboardQuestion): Source[][] {
  const there = SOURCES.filter((source) => (offers[source]?.blocks ?? 0) > resident);
  if (there.length < 2) return there.length === 0 ? [] : [there];
  return Array.from({ length: 2 ** there.length - 1 }, (_, mask) => there.filter((_source, bit) => ((mask + 1) >> bit) & 1));
}

/** Where moving may end and computing begin: where one of the sources has no more. */
function ends({ blocks, offers }: OnboardQuestion, used: readonly Source[]): number[] {
  const [only] = used;
  if (only !== undefined && used.length === 1) return [Math.min(blocks, offers[only]?.blocks ?? 0)];
  return [...new Set(used.map((source) => Math.min(blocks, offers[source]?.blocks ?? 0)))];
}

/** Every block up to `end` from the cheapest of `used` that has it; null when one of them is not needed. */
function planOf(question: OnboardQuestion, used: readonly Source[], end: number): Way | null {
  const { resident, offers, bytesPerBlock, deadlineMs = Number.POSITIVE_INFINITY, lineMs = 0 } = question;
  const byPrice = used.toSorted((a, b) => perBlockMs(offers[a] as Offer, bytesPerBlock) - perBlockMs(offers[b] as Offer, bytesPerBlock));
  const steps: OnboardStep[] = [];
  let at = resident;
  for (const source of byPrice) {
    const offer = offers[source] as Offer;
    const to = Math.min(end, offer.blocks);
    if (to <= at) return null;
    steps.push({ from: source, start: at, end: to, ms: stepMs(offer, to - at, bytesPerBlock) });
    at = to;
  }
  // What each needs is not waited for one after the other only if links differ; they share the machine, so the sum is what to expect.
  const movingMs = steps.reduce((sum, { ms }) => sum + ms, 0);
  if (movingMs > deadlineMs) return null;
  const rest = computeStep(question, at);
  if (rest) steps.push(rest);
  const waitMs = used.reduce((sum, source) => sum + (offers[source]?.waitMs ?? 0), 0);
  return { steps, totalMs: Math.max(0, WAIT_SHARE * waitMs + movingMs - lineMs) + (rest?.ms ?? 0) };
}

function computeStep({ blocks, blockTokens, prefillMs }: OnboardQuestion, start: number): OnboardStep | null {
  if (start >= blocks) return null;
  return { from: 'recompute', start, end: blocks, ms: prefillMs((blocks - start) * blockTokens, start * blockTokens) };
}

function stepMs({ price, blocksPerCopy }: Offer, blocks: number, bytesPerBlock: number): number {
  return moveMs(price, blocks * bytesPerBlock, Math.ceil(blocks / blocksPerCopy));
}

function perBlockMs(offer: Offer, bytesPerBlock: number): number {
  return (offer.price.msPerMiB * bytesPerBlock) / 2 ** 20 + offer.price.copyMs / offer.blocksPerCopy;
}

function reasonOf(steps: readonly OnboardStep[], totalMs: number, recomputeMs: number): string {
  const moved = steps.filter(({ from }) => from !== 'recompute');
  if (steps.length === 0) return 'all of it is resident';
  if (moved.length === 0) return `computing takes ${recomputeMs.toFixed(2)} ms, and no tier would be faster`;
  const ways = moved.map(({ from, start, end }) => `${end - start} blocks from ${from}`).join(', ');
  return `${ways}: ${totalMs.toFixed(2)} ms in all, computing would take ${recomputeMs.toFixed(2)} ms`;
}
