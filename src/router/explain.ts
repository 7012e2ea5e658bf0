/** A decision record as text for a person (`sluice explain`). Pure. */
import type { AbortReason } from '../kv/index.ts';
import { type Candidate, type Decision, largestGap, nameOf, type Terms, termName } from './placement/index.ts';
import { type AttemptRecord, type LegReport, type MoveRecord, type RequestRecord, type SpanOrigin, summaryOf } from './record/index.ts';

const TERMS: readonly (keyof Terms)[] = ['queueMs', 'onboardMs', 'prefillMs', 'transferMs', 'admitMs', 'tailMs', 'stallMs', 'decodeMs'];
const GIVEN_UP: Readonly<Record<AbortReason, string>> = {
  full: 'the target had no place',
  refused: 'an instance refused it',
  silent: 'an instance did not answer in time',
  lost: 'an instance was lost',
  ended: 'the request was over before',
};
const COUNTS = [
  ['cached', 'cachedBlocks'],
  ['to read', 'storedBlocks'],
  ['to pull', 'pulledBlocks'],
] as const;
/** Less than this is shown as no difference. */
const EVEN_MS = 0.005;

/** Several lines, without colours and without a line end after the last one. */
export function explainRecord(record: RequestRecord): string {
  const attempts = record.attempts.map((attempt, index) => attemptLines(record, attempt, index));
  const moves = record.moves.map((move) => moveLines(move));
  const sections = [headLines(record), ...attempts, ...moves, outcomeLines(record)];
  return sections.map((lines) => lines.join('\n')).join('\n\n');
}

function headLines(record: RequestRecord): string[] {
  const { prefill, decode, why } = summaryOf(record);
  const where = decode === null ? 'not placed' : prefill === null ? `${decode} alone` : `${prefill} → ${decode}`;
  const way = record.stream ? 'streamed' : 'whole';
  const limit = record.maxTokens > 0 ? `at most ${record.maxTokens} to generate` : 'no limit asked for';
  return [
    `request  ${record.id}`,
    ...(record.traceId === null ? [] : [traceLine(record.traceId, record.span)]),
    `what     ${record.kind} of ${record.model}, ${way}, ${record.promptTokens} prompt tokens, ${limit}`,
    `when     ${new Date(record.startedAt).toISOString()}, ${ms(record.queuedMs)} in the router's queue`,
    `where    ${where}: ${why}`,
  ];
}

/** @param span undefined of a router that does not know of spans yet */
function traceLine(traceId: string, span: SpanOrigin | null | undefined): string {
  return `trace    ${traceId}${span ? `, span ${span.id}` : ''}`;
}

function attemptLines(record: RequestRecord, attempt: AttemptRecord, index: number): string[] {
  const { decision } = attempt;
  const resumed = attempt.resumedTokens > 0 ? `, after ${attempt.resumedTokens} tokens` : '';
  const title = record.attempts.length === 1 ? 'considered' : `attempt ${index + 1} at ${ms(attempt.atMs)}${resumed}: considered`;
  const ways = decision.considered === 1 ? '1 way' : `${decision.considered} ways`;
  const lines = [
    `${title} ${ways}, in ms; the least total wins`,
    ...table(decision),
    ...runnerUp(decision),
    ...asideLines(decision),
    ...measured(attempt),
  ];
  if (attempt.error !== null) lines.push(`lost: ${attempt.error}`);
  return lines;
}

/** Terms that are zero for all candidates have no column; what is left adds up to the total all the same. */
function table({ candidates }: Decision): string[] {
  const shown = TERMS.filter((term) => candidates.some((candidate) => candidate.terms[term] > 0));
  const counts = COUNTS.filter(([name, count]) => name !== 'to read' || candidates.some((candidate) => candidate[count] > 0));
  const rows = [
    ['', 'way', ...shown.map(termName), 'total', 'TTFT', ...counts.map(([name]) => name)],
    ...candidates.map((candidate, index) => [
      index === 0 ? '→' : '',
      nameOf(candidate),
      ...cells(candidate, shown),
      ...counts.map(([, count]) => blocksText(candidate[count])),
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) => `  ${row.map((cell, column) => pad(cell, widths[column] ?? 0, column < 2)).join('  ')}`.trimEnd());
}

function cells(candidate: Candidate, shown: readonly (keyof Terms)[]): string[] {
  const terms = shown.map((term) => candidate.terms[term].toFixed(2));
  return [...terms, candidate.totalMs.toFixed(2), candidate.ttftMs.toFixed(2)];
}

function blocksText(count: number): string {
  return count === 1 ? '1 block' : `${count} blocks`;
}

function pad(cell: string, width: number, left: boolean): string {
  return left ? cell.padEnd(width) : cell.padStart(width);
}

function runnerUp({ chosen, candidates }: Decision): string[] {
  const next = candidates[1];
  if (!next) return ['there was no other way'];
  const lead = next.totalMs - chosen.totalMs;
  if (lead < EVEN_MS) return [`${nameOf(next)} was as good; equals are taken in turn`];
  const term = largestGap(chosen, next);
  const gap = next.terms[term] - chosen.terms[term];
  return [`${nameOf(next)} lost by ${ms(lead)}: its ${termName(term)} is ${ms(gap)} more`];
}

function asideLines(decision: Decision): string[] {
  return decision.aside.map(({ instance, why }) => `${instance} was no choice: ${why}`);
}

/** What then happened, beside what was predicted. */
function measured({ decision, prefill, decode }: AttemptRecord): string[] {
  const { chosen } = decision;
  const { terms, ttftMs } = chosen;
  const lines: string[] = [];
  if (prefill) {
    const { reused, computed, prefillMs } = prefill.report;
    const cached = reused === null ? null : reused.hbm + reused.host + reused.peer + reused.store;
    const tokens =
      cached === null ? 'the engine does not say what it reused' : `${cached} tokens reused${tiersText(reused)}, ${computed} computed`;
    const engine = prefillMs === null ? '' : ` (engine ${ms(prefillMs)})`;
    lines.push(
      `prefill: predicted ${ms(terms.queueMs + terms.onboardMs + terms.prefillMs)}, measured ${ms(prefill.ms)}${engine}; ${tokens}`,
    );
  }
  const { onboardMs } = terms;
  const isAlone = chosen.prefill === null;
  lines.push(...storeLines('prefill', prefill?.report ?? null, onboardMs));
  lines.push(...storeLines('decode', decode?.report ?? null, isAlone ? onboardMs : null));
  const handOff = decode?.report?.handOff ?? null;
  if (handOff !== null) {
    const rest = handOff.failed === null ? '' : `; the rest was recomputed: ${handOff.failed}`;
    // Without a time of its own it is our count, not the engine's.
    const counted = handOff.ms === null ? ' by what the directory knew' : '';
    const moved = `${blocksText(handOff.blocks)}, ${handOff.bytes} bytes${counted}`;
    const took = handOff.ms === null ? 'its time is in that of the first token' : `measured ${ms(handOff.ms)}`;
    lines.push(`hand-off: predicted ${ms(terms.transferMs)}, ${took}; ${moved}${rest}`);
  }
  if (decode) {
    lines.push(`first token of this attempt: predicted ${ms(ttftMs)}, measured ${ms(decode.ms + (prefill?.ms ?? 0))}`);
  }
  return lines;
}

/** ` (96 from host, 480 from the store)`: named only where it is more than HBM. */
function tiersText(reused: LegReport['reused']): string {
  if (reused === null || reused.host + reused.peer + reused.store === 0) return '';
  const parts = [
    [reused.hbm, 'in HBM'],
    [reused.host, 'from host memory'],
    [reused.peer, 'from a peer'],
    [reused.store, 'from the store'],
  ] as const;
  return ` (${parts.flatMap(([count, where]) => (count > 0 ? [`${count} ${where}`] : [])).join(', ')})`;
}

/** @param predictedMs beyond the queue; null = it is in the prediction of the hand-off */
function storeLines(leg: string, report: LegReport | null, predictedMs: number | null): string[] {
  const onboard = report?.onboard ?? null;
  if (report === null || (onboard === null && !predictedMs)) return [];
  const predicted = predictedMs === null ? '' : `predicted ${ms(predictedMs)}, `;
  if (onboard === null) return [`store (${leg}): ${predicted}nothing was read`];
  const { blocks, bytes, copies, failed } = onboard;
  const rest = failed === null ? '' : `; the rest was computed: ${failed}`;
  return [`store (${leg}): ${predicted}measured ${ms(onboard.ms)}; ${blocksText(blocks)}, ${bytes} bytes in ${copies} copies${rest}`];
}

function moveLines(move: MoveRecord): string[] {
  const { atMs, from, to, why, way, state, reason, tokens, blocks, bytes, tookMs, pauseMs, interTokenMs } = move;
  const lines = [`move at ${ms(atMs)}: ${from} → ${to}, after ${tokens} tokens: ${why}`];
  if (way === 'recompute') return [...lines, '  the engine does not offer blocks of a running request: computed again by the next attempt'];
  lines.push(`  ${blocksText(blocks)}, ${bytes} bytes pulled while ${from} decoded on; ${ms(tookMs)} in all`);
  if (pauseMs !== null) {
    const ratio =
      interTokenMs === null || interTokenMs <= 0 ? '' : `, ${(pauseMs / interTokenMs).toFixed(1)} times the time between two tokens`;
    lines.push(`  pause in the stream: ${ms(pauseMs)}${ratio}`);
  }
  if (state === 'aborted') lines.push(`  given up: ${reason === null ? 'no reason known' : GIVEN_UP[reason]}`);
  return lines;
}

function outcomeLines(record: RequestRecord): string[] {
  const { outcome, status, error, resumes, attempts } = record;
  if (outcome === null) return ['outcome  still under way'];
  const reason = record.finishReason === null ? '' : `, finish reason ${record.finishReason}`;
  const lines = [`outcome  ${outcome}, HTTP ${status}${reason}`];
  if (error !== null) lines.push(`error    ${error}`);
  const times = [timed('TTFT', record.ttftMs), timed('per token', record.tpotMs), timed('in all', record.totalMs)];
  lines.push(`measured ${[`${record.outputTokens} tokens`, ...times.filter((text) => text !== null)].join(', ')}`);
  if (resumes > 0) lines.push(`resumed  ${resumes} of ${attempts.length - 1} further attempts went on in the middle of the stream`);
  else if (attempts.length > 1) lines.push(`repeated ${attempts.length - 1} times before the first token`);
  return lines;
}

function timed(name: string, value: number | null): string | null {
  return value === null ? null : `${name} ${ms(value)}`;
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
