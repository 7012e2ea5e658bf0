/** What a prefill instance of SGLang answers: a whole answer or a stream, as the client asked, of one token that nobody wants. Pure. */
import { endOfEvent, isError, PAYLOAD_AT } from '../events.ts';
import { isRecord, recordOf } from '../openai/json.ts';
import { cachedIn, numberIn } from '../openai/usage.ts';

export interface Prefilled {
  /** 0 = it did not say. */
  readonly promptTokens: number;
  /** Null: it did not say. */
  readonly cachedTokens: number | null;
}

/** Reads a prefill leg's 200. @returns what it says of the prompt, or why the KV did not go to the decode instance */
export function readPrefilled(body: Buffer, stream: boolean): Prefilled | string {
  const answer = stream ? lastOf(body) : recordOf(body);
  if (typeof answer === 'string') return answer;
  if (answer === null) return 'its answer is no JSON object';
  const choices = Array.isArray(answer['choices']) ? answer['choices'].filter(isRecord) : [];
  if (choices.some((choice) => choice['finish_reason'] === 'abort')) return GAVE_UP;
  const { usage } = answer;
  if (!isRecord(usage)) return { promptTokens: 0, cachedTokens: null };
  return { promptTokens: numberIn(usage, 'prompt_tokens'), cachedTokens: cachedIn(usage) };
}

const GAVE_UP = 'it gave the request up';

/** The event of a stream that has usage, or the last one; what is wrong with the stream otherwise. */
function lastOf(body: Buffer): Record<string, unknown> | string | null {
  let last: Record<string, unknown> | null = null;
  let from = 0;
  for (let end = endOfEvent(body, from); end > 0; end = endOfEvent(body, from)) {
    if (isError(body, from)) return messageIn(body.subarray(from + PAYLOAD_AT, end));
    const event = recordOf(body.subarray(from + PAYLOAD_AT, end));
    if (event !== null) {
      if (isAborted(event)) return GAVE_UP;
      last = isRecord(event['usage']) || last === null ? event : last;
    }
    from = end;
  }
  return last ?? 'its stream has no event';
}

function isAborted({ choices }: Record<string, unknown>): boolean {
  return Array.isArray(choices) && choices.some((choice: unknown) => isRecord(choice) && choice['finish_reason'] === 'abort');
}

function messageIn(payload: Buffer): string {
  const error = recordOf(payload)?.['error'];
  const message = isRecord(error) ? error['message'] : null;
  return `it says: ${typeof message === 'string' ? message.slice(0, 300) : 'no reason given'}`;
}
