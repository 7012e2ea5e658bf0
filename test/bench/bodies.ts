/** Request bodies. Pure; the same seed gives the same bytes. */

/** Stands where the generator writes a number that it never used before; so long that the number always fits. */
export const FRESH_MARK = '#FRESH-NUMBER#';

const WORDS = 'river stone window market garden paper engine signal copper bridge lantern harbour silver meadow thunder compass'.split(' ');

export interface CompletionFields {
  readonly model: string;
  readonly maxTokens: number;
  readonly stream: boolean;
}

export function completionBody(fields: CompletionFields, prompt: string | readonly number[]): string {
  return JSON.stringify({
    model: fields.model,
    prompt,
    max_tokens: fields.maxTokens,
    temperature: 0,
    ignore_eos: true,
    ...(fields.stream ? { stream: true, stream_options: { include_usage: true } } : {}),
  });
}

/** Words up to `length` characters. */
export function prose(length: number, random: () => number): string {
  let text = '';
  while (text.length < length) text += `${WORDS[Math.floor(random() * WORDS.length)]} `;
  return text.slice(0, length);
}

export interface PromptSet {
  readonly prefixes: number;
  readonly prefixLength: number;
  /** Length of the whole prompt. */
  readonly length: number;
  readonly count: number;
}

/** `count` distinct prompts over `prefixes` shared beginnings. With `fresh` the part of its own starts with the mark. */
export function promptSet(set: PromptSet, fresh: boolean, random: () => number): string[] {
  const prefixes = Array.from({ length: set.prefixes }, () => prose(set.prefixLength, random));
  return Array.from({ length: set.count }, (_, index) => {
    const tail = prose(set.length - set.prefixLength, random);
    const own = fresh ? FRESH_MARK + tail.slice(FRESH_MARK.length) : tail;
    return `${prefixes[index % prefixes.length]}${own}`;
  });
}
