/** Sends the scripted conversation, asks the single engine the same, and puts together what is known of each request. */
import { type Clock, sleep } from '../../shared/index.ts';
import { equalText, failureOf, type RequestReport, type Trace } from './result.ts';
import { harbourLog, type ScriptedRequest, scriptedRequests } from './script.ts';
import { type StreamResult, streamChat } from './stream.ts';

export interface ConversationOptions {
  readonly name: string;
  readonly model: string;
  readonly routerUrl: string;
  readonly referenceUrl: string;
  readonly clock: Clock;
  /** What the router knows of a request; null while it does not know its end yet. */
  readonly trace: (requestId: string) => Promise<Trace | null>;
  readonly onStart: (request: ScriptedRequest) => void;
  readonly onEnd: (request: ScriptedRequest, report: RequestReport) => void;
  readonly signal: AbortSignal;
}

/** Of each request: a machine that does much else needs minutes for the long prompt. */
const TIMEOUT_MS = 300_000;
/** Prompt of the long request, in tokens. */
const LONG_TOKENS = 4_000;
/** How far the single engine goes beyond the text that a cancelled stream had. */
const SPARE_EVENTS = 8;
const TRACE_PATIENCE_MS = 2_000;
const TRACE_LOOK_MS = 20;

export async function converse(options: ConversationOptions): Promise<RequestReport[]> {
  const longText = harbourLog(await charactersFor(LONG_TOKENS, options));
  const reports: RequestReport[] = [];
  let firstAnswer = '';
  for (const [index, script] of scriptedRequests(longText).entries()) {
    if (options.signal.aborted) break;
    const request = script(firstAnswer);
    options.onStart(request);
    const { report, pooled } = await ask(request, `${options.name}-${index + 1}`, options);
    if (index === 0) firstAnswer = pooled.text;
    reports.push(report);
    options.onEnd(request, report);
  }
  return reports;
}

async function ask(request: ScriptedRequest, requestId: string, options: ConversationOptions) {
  const { model, routerUrl, referenceUrl } = options;
  const common = { ...request, requestId, model, timeoutMs: TIMEOUT_MS };
  const pooled = await streamChat({ ...common, baseUrl: routerUrl });
  const alone = request.cancelAfter === null ? null : pooled.outputTokens + SPARE_EVENTS;
  const single = await streamChat({ ...common, baseUrl: referenceUrl, cancelAfter: alone });
  const trace = (await awaitTrace(requestId, options)) ?? UNKNOWN;
  return { pooled, report: reportOf(request, requestId, { model, pooled, single, trace }) };
}

const UNKNOWN: Trace = {
  prefill: null,
  decode: null,
  why: 'the router has no record of it',
  promptTokens: 0,
  reusedTokens: { hbm: 0, host: 0, peer: 0, store: 0 },
  handOff: null,
};

interface Facts {
  readonly model: string;
  readonly pooled: StreamResult;
  readonly single: StreamResult;
  readonly trace: Trace;
}

function reportOf(request: ScriptedRequest, requestId: string, { model, pooled, single, trace }: Facts): RequestReport {
  const { prefill, decode, why, promptTokens, reusedTokens, handOff } = trace;
  return {
    name: request.name,
    requestId,
    model,
    prefill,
    decode,
    why,
    ttftMs: rounded(pooled.ttftMs),
    tokensPerSecond: rounded(pooled.tokensPerSecond),
    promptTokens,
    outputTokens: pooled.outputTokens,
    reusedTokens,
    handOff,
    equalsSingleEngine: equalText(request, pooled, single),
    finishReason: pooled.finishReason,
    error: failureOf(pooled, single),
  };
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 100) / 100;
}

/** The record is complete a moment after the client has its last byte. */
async function awaitTrace(requestId: string, { trace, clock, signal }: ConversationOptions): Promise<Trace | null> {
  const giveUpMs = clock.now() + TRACE_PATIENCE_MS;
  for (;;) {
    const known = await trace(requestId);
    if (known !== null || clock.now() >= giveUpMs || signal.aborted) return known;
    await sleep(clock, TRACE_LOOK_MS, signal);
  }
}

/** How much of the log makes so many tokens, told by the model's own tokenizer. */
async function charactersFor(tokens: number, { routerUrl, model }: ConversationOptions): Promise<number> {
  const sample = harbourLog(2_000);
  const response = await fetch(`${routerUrl}/tokenize`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, prompt: sample }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const answer: unknown = await response.json();
  const count = typeof answer === 'object' && answer !== null && 'count' in answer ? Number(answer.count) : Number.NaN;
  return Number.isFinite(count) && count > 0 ? Math.round((tokens * sample.length) / count) : tokens * 2;
}
