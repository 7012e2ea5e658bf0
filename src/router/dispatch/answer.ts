/** What a record keeps of a whole answer. Two looks into the text instead of a parse of all of it. */
const FINISH = /"finish_reason":\s*"([a-z_]{1,32})"/;
const TOKENS = /"completion_tokens":\s*(\d{1,9})/;
/** Both stand in the last part of an answer, after the text. */
const TAIL_BYTES = 512;

export function readAnswer(body: Buffer): { outputTokens: number; finishReason: string | null } {
  const tail = body.toString('latin1', Math.max(0, body.length - TAIL_BYTES));
  return { outputTokens: Number(TOKENS.exec(tail)?.[1] ?? 0), finishReason: FINISH.exec(tail)?.[1] ?? null };
}
