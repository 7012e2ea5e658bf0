/**
 * Reads the events of a streamed completion. Pure. An event counts as one token when it carries text; the usage event, where asked
 * for, tells the true number.
 */
export class EventReader {
  tokens = 0;
  /** `[DONE]` was seen. */
  done = false;
  /** The first event that reports an error. */
  error: string | null = null;
  /** Completion tokens by the engine's own count, or null. */
  usageTokens: number | null = null;
  #held = '';

  /** Takes a part of the body; says how many tokens it completed. */
  feed(part: string): number {
    const before = this.tokens;
    const text = this.#held + part;
    let start = 0;
    for (;;) {
      const end = text.indexOf('\n\n', start);
      if (end < 0) break;
      this.#event(text.slice(start, end));
      start = end + 2;
    }
    this.#held = text.slice(start);
    return this.tokens - before;
  }

  #event(event: string): void {
    const at = event.startsWith('data:') ? 0 : event.indexOf('\ndata:') + 1;
    if (at === 0 && !event.startsWith('data:')) return;
    const data = event.slice(at + 5).trim();
    if (data === '[DONE]') this.done = true;
    else if (data.includes('"error":{')) this.error ??= data.slice(0, 200);
    else {
      if (data.includes('"usage":{')) this.usageTokens = Number(/"completion_tokens":\s*(\d+)/.exec(data)?.[1] ?? Number.NaN);
      if (/"(?:text|content)":\s*"(?!")/.test(data)) this.tokens += 1;
    }
  }
}
