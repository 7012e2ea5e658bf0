/** Log-probabilities in OpenAI's two shapes. Pure. */
import type { TokenLogprobs } from '../port.ts';
import type { CallKind } from './call.ts';
import type { PieceTable } from './text.ts';

export interface ScoredToken {
  readonly token: number;
  readonly logprobs: TokenLogprobs;
  /** UTF-16 units of the answer's text before this token. */
  readonly offset: number;
}

/** A token's text; bytes that are no whole UTF-8 are shown as OpenAI does, `bytes:\xe2\x82`. */
export function tokenName(pieces: PieceTable, token: number): string {
  const text = pieces.text(token);
  if (text !== null) return text;
  return `bytes:${[...pieces.bytes(token)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
}

function completionLogprobs(scored: readonly ScoredToken[], pieces: PieceTable): unknown {
  return {
    tokens: scored.map(({ token }) => tokenName(pieces, token)),
    token_logprobs: scored.map(({ logprobs }) => logprobs.logprob),
    top_logprobs: scored.map(({ token, logprobs }) => {
      const chosen = [tokenName(pieces, token), logprobs.logprob] as const;
      return Object.fromEntries([...logprobs.top.map((other) => [tokenName(pieces, other.token), other.logprob] as const), chosen]);
    }),
    text_offset: scored.map(({ offset }) => offset),
  };
}

/** `content` of a chat's log-probabilities. */
export function chatContent(scored: readonly ScoredToken[], pieces: PieceTable): object[] {
  const entry = (token: number, logprob: number) => ({ token: tokenName(pieces, token), logprob, bytes: [...pieces.bytes(token)] });
  return scored.map(({ token, logprobs }) => ({
    ...entry(token, logprobs.logprob),
    top_logprobs: logprobs.top.map((other) => entry(other.token, other.logprob)),
  }));
}

export function formatLogprobs(kind: CallKind, scored: readonly ScoredToken[], pieces: PieceTable): unknown {
  return kind === 'chat' ? { content: chatContent(scored, pieces), refusal: null } : completionLogprobs(scored, pieces);
}
