/** One streamed chat completion through an OpenAI endpoint, timed as a client sees it. */
export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface StreamRequest {
  readonly baseUrl: string;
  readonly requestId: string;
  readonly model: string;
  readonly messages: readonly ChatTurn[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
  /** Goes away after this many events with text; null = reads to the end. */
  readonly cancelAfter: number | null;
  readonly timeoutMs: number;
}

export interface StreamResult {
  readonly text: string;
  /** To the first event, which an engine sends with its first token; null when none came. */
  readonly ttftMs: number | null;
  /** Between the first and the last token; null when there was no time between them. */
  readonly tokensPerSecond: number | null;
  readonly outputTokens: number;
  /** OpenAI's reason, `cancelled` when we went away, or null when the stream broke off. */
  readonly finishReason: string | null;
  readonly error: string | null;
}

interface Progress {
  text: string;
  events: number;
  firstMs: number | null;
  lastMs: number;
  finishReason: string | null;
  usageTokens: number | null;
  error: string | null;
}

/** Never throws: what went wrong is in `error`. */
export async function streamChat(request: StreamRequest): Promise<StreamResult> {
  const startMs = performance.now();
  const goAway = new AbortController();
  const progress: Progress = { text: '', events: 0, firstMs: null, lastMs: 0, finishReason: null, usageTokens: null, error: null };
  try {
    const response = await fetch(`${request.baseUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': request.requestId },
      body: JSON.stringify(bodyOf(request)),
      signal: AbortSignal.any([goAway.signal, AbortSignal.timeout(request.timeoutMs)]),
    });
    if (!response.ok || !response.body) progress.error = `HTTP ${response.status}: ${await response.text()}`;
    else await read(response.body, request, progress, () => goAway.abort());
  } catch (error) {
    if (goAway.signal.aborted) progress.finishReason = 'cancelled';
    else progress.error = explain(error, request.timeoutMs);
  }
  return resultOf(progress, startMs);
}

function explain(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'TimeoutError' ? `no end within ${timeoutMs / 1_000} s` : error.message;
}

function bodyOf({ model, messages, maxTokens, temperature, seed }: StreamRequest): object {
  return { model, messages, max_tokens: maxTokens, temperature, seed, stream: true, stream_options: { include_usage: true } };
}

async function read(body: ReadableStream<Uint8Array>, request: StreamRequest, progress: Progress, goAway: () => void): Promise<void> {
  const decoder = new TextDecoder();
  let open = '';
  for await (const chunk of body) {
    const parts = (open + decoder.decode(chunk, { stream: true })).split('\n\n');
    open = parts.pop() ?? '';
    for (const part of parts) take(part, progress);
    if (request.cancelAfter !== null && progress.events >= request.cancelAfter) goAway();
  }
}

function take(event: string, progress: Progress): void {
  const data = event.split('\n').find((line) => line.startsWith('data: '));
  if (data === undefined || data === 'data: [DONE]') return;
  const parsed = JSON.parse(data.slice('data: '.length)) as StreamEvent;
  if (parsed.error) progress.error = parsed.error.message;
  if (parsed.usage) progress.usageTokens = parsed.usage.completion_tokens;
  const choice = parsed.choices?.[0];
  if (!choice) return;
  progress.lastMs = performance.now();
  progress.firstMs ??= progress.lastMs;
  progress.finishReason = choice.finish_reason ?? progress.finishReason;
  if (!choice.delta?.content) return;
  progress.text += choice.delta.content;
  progress.events += 1;
}

/** The parts of a chunk that are read here. */
interface StreamEvent {
  readonly error?: { readonly message: string };
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly choices?: readonly { readonly delta?: { readonly content?: string }; readonly finish_reason?: string | null }[];
}

function resultOf(progress: Progress, startMs: number): StreamResult {
  const { text, events, firstMs, lastMs, finishReason, usageTokens, error } = progress;
  const outputTokens = usageTokens ?? events;
  const spanMs = firstMs === null ? 0 : lastMs - firstMs;
  return {
    text,
    ttftMs: firstMs === null ? null : firstMs - startMs,
    tokensPerSecond: spanMs > 0 && outputTokens > 1 ? ((outputTokens - 1) / spanMs) * 1000 : null,
    outputTokens,
    finishReason,
    error,
  };
}
