/** Request heads for engines: plain ones, and those of ours (docs/engine-protocol.md). Pure. */
import type { HandOffTicket } from '../../engines/index.ts';
import type { RequestKind } from '../edge/index.ts';

export interface PlainFields {
  readonly host: string;
  readonly kind: RequestKind;
  readonly id: string;
  /** Header lines of the trace context, each with its line end; '' = none. */
  readonly trace: string;
  readonly bytes: number;
}

export interface HeadFields extends PlainFields {
  readonly created: number;
  readonly salt: string;
  /** Null: the body has one, or none is needed. */
  readonly seed: number | null;
  readonly deadlineMs: number;
  readonly pullMs: number;
}

/** What any OpenAI server understands, without the empty line at the end. */
function openAi({ host, kind, id, trace, bytes }: PlainFields): string {
  const path = kind === 'chat' ? '/v1/chat/completions' : '/v1/completions';
  return `POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\nx-request-id: ${id}\r\n${trace}`;
}

export function plainHead(fields: PlainFields): string {
  return `${openAi(fields)}\r\n`;
}

function common(fields: HeadFields): string {
  const { created, salt, seed, deadlineMs, pullMs } = fields;
  return (
    openAi(fields) +
    `x-sluice-created: ${created}\r\nx-sluice-deadline-ms: ${Math.max(1, Math.ceil(deadlineMs))}\r\n` +
    `x-sluice-pull-ms: ${Math.ceil(pullMs)}\r\n` +
    (salt === '' ? '' : `x-sluice-salt: ${salt}\r\n`) +
    (seed === null ? '' : `x-sluice-seed: ${seed}\r\n`)
  );
}

export function prefillHead(fields: HeadFields & { readonly resumed: readonly number[] }): string {
  return `${common(fields)}${resume(fields.resumed)}x-sluice-leg: prefill\r\n\r\n`;
}

function resume(tokens: readonly number[]): string {
  return tokens.length === 0 ? '' : `x-sluice-resume: ${tokens.join(',')}\r\n`;
}

export interface DecodeFields extends HeadFields {
  /** Name and generation of the stream, `name/generation`; null = it is no stream. */
  readonly session: string | null;
  /** Another instance decodes it as yet. */
  readonly hold: boolean;
  readonly stream: boolean;
  readonly ticket: HandOffTicket | null;
  readonly resumed: readonly number[];
  /** Prompt tokens that the prefill instance had; what the client's usage calls cached. Null: the decode instance knows. */
  readonly cachedTokens: number | null;
}

export function decodeHead(fields: DecodeFields): string {
  const { stream, ticket, resumed, cachedTokens, session, hold } = fields;
  return (
    common(fields) +
    (stream ? 'x-sluice-tokens: 1\r\n' : '') +
    (session === null ? '' : `x-sluice-session: ${session}\r\n`) +
    (hold ? 'x-sluice-leg: hold\r\n' : '') +
    (ticket === null ? '' : `x-sluice-ticket: ${JSON.stringify(ticket)}\r\n`) +
    (cachedTokens === null ? '' : `x-sluice-cached-tokens: ${cachedTokens}\r\n`) +
    resume(resumed) +
    '\r\n'
  );
}

export function sessionHead(host: string, verb: string, bytes: number): string {
  return `POST /sluice/session/${verb} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`;
}

/** Ends a request of SGLang by its name. */
export function abortHead(host: string, bytes: number): string {
  return `POST /abort_request HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`;
}

export function releaseHead(host: string, bytes: number): string {
  return `POST /sluice/release HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`;
}
