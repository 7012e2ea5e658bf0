/** One streamed completion as a client sees it, checked to the last token: what is measured must have been the right answer. */
import { isRecord } from './sluice.ts';

export interface Answered {
  readonly kind: 'answered';
  /** From sending to the event of the first token. */
  readonly ttftMs: number;
  /** Between tokens, mean over the answer; null with one token. */
  readonly tpotMs: number | null;
  readonly promptTokens: number;
  readonly tokens: number;
  readonly text: string;
}

export type Outcome = Answered | { readonly kind: 'failed'; readonly reason: string };

export interface Ask {
  /** Without path: `http://host:port`. */
  readonly url: string;
  /** As `completionBody` makes it, with `ignore_eos`: fewer tokens than asked for are a wrong answer. */
  readonly body: string;
  readonly tokens: number;
}

/** Never rejects. */
export async function streamCompletion({ url, body, tokens }: Ask, signal: AbortSignal): Promise<Outcome> {
  const reading = new Reading();
  const startedMs = performance.now();
  try {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body, signal });
    if (response.status !== 200) return failed(`status ${response.status}: ${(await response.text()).slice(0, 160)}`);
    let held = '';
    for await (const part of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      const lines = (held + part).split('\n');
      held = lines.pop() ?? '';
      for (const line of lines) reading.line(line);
    }
  } catch (error) {
    return failed(signal.aborted ? 'not answered in time' : reasonOf(error));
  }
  return reading.outcome(startedMs, tokens);
}

/** What the events of one stream have said so far. */
class Reading {
  #text = '';
  #events = 0;
  #firstMs = 0;
  #lastMs = 0;
  #promptTokens = 0;
  #tokens = 0;
  #finish: unknown = null;
  #error: string | null = null;
  #done = false;

  /** @throws SyntaxError for an event that is no JSON */
  line(line: string): void {
    if (!line.startsWith('data:')) return;
    const data = line.slice(5).trim();
    if (data === '[DONE]') {
      this.#done = true;
      return;
    }
    const event: unknown = JSON.parse(data);
    if (!isRecord(event)) return;
    if (event['error'] !== undefined) this.#error ??= data.slice(0, 160);
    if (isRecord(event['usage'])) this.#usage(event['usage']);
    const choices: unknown = event['choices'];
    for (const choice of Array.isArray(choices) ? choices : []) if (isRecord(choice)) this.#choice(choice);
  }

  #usage(usage: Record<string, unknown>): void {
    this.#promptTokens = Number(usage['prompt_tokens']);
    this.#tokens = Number(usage['completion_tokens']);
  }

  // A token may be a part of a character: its event has no text, and still is the token.
  #choice(choice: Record<string, unknown>): void {
    this.#lastMs = performance.now();
    if (this.#events === 0) this.#firstMs = this.#lastMs;
    this.#events += 1;
    if (typeof choice['text'] === 'string') this.#text += choice['text'];
    this.#finish = choice['finish_reason'] ?? this.#finish;
  }

  outcome(startedMs: number, wanted: number): Outcome {
    if (this.#error !== null) return failed(`error event ${this.#error}`);
    if (!this.#done) return failed('stream without [DONE]');
    if (this.#finish !== 'length') return failed(`finish_reason ${JSON.stringify(this.#finish)}, expected "length"`);
    if (this.#tokens !== wanted) return failed(`${this.#tokens} tokens, expected ${wanted}`);
    return {
      kind: 'answered',
      ttftMs: this.#firstMs - startedMs,
      tpotMs: wanted > 1 ? (this.#lastMs - this.#firstMs) / (wanted - 1) : null,
      promptTokens: this.#promptTokens,
      tokens: this.#tokens,
      text: this.#text,
    };
  }
}

function failed(reason: string): Outcome {
  return { kind: 'failed', reason };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
