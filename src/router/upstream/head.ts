/**
 * Response heads of engines, read strictly (RFC 9112): what is ambiguous about framing is an error, never a guess, because a
 * wrong guess would put the bytes of one answer into another.
 */

/** How the body ends. */
export type Framing = { readonly kind: 'length'; readonly bytes: number } | { readonly kind: 'chunked' } | { readonly kind: 'none' };

export interface ResponseHead {
  readonly status: number;
  readonly framing: Framing;
  readonly keepAlive: boolean;
  readonly contentType: string | null;
  readonly retryAfter: string | null;
  /** `x-sluice-report` as it came: JSON of a PromptReport. */
  readonly report: string | null;
}

/** A head the engine should never have sent. The message is for logs. */
export class HeadError extends Error {}

const NO_BODY: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const LENGTH = /^[0-9]{1,15}$/;

/**
 * Reads one head, without the empty line that ends it.
 * @throws HeadError for a malformed status line or field, for both or repeated framing fields, and for a body without framing.
 */
export function parseHead(text: string): ResponseHead {
  const lineEnd = text.indexOf('\r\n');
  const statusLine = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const match = STATUS_LINE.exec(statusLine);
  if (!match) throw new HeadError('malformed status line');
  const fields = parseFields(lineEnd < 0 ? '' : text.slice(lineEnd + 2));
  const status = Number(match[2]);
  return {
    status,
    framing: framingOf(status, fields),
    keepAlive: keepsAlive(match[1] === '1', fields.connection),
    contentType: fields.contentType,
    retryAfter: fields.retryAfter,
    report: fields.report,
  };
}

interface Fields {
  length: string | null;
  encoding: string | null;
  connection: string | null;
  contentType: string | null;
  retryAfter: string | null;
  report: string | null;
}

function parseFields(text: string): Fields {
  const fields: Fields = { length: null, encoding: null, connection: null, contentType: null, retryAfter: null, report: null };
  let from = 0;
  while (from < text.length) {
    let to = text.indexOf('\r\n', from);
    if (to < 0) to = text.length;
    const colon = text.indexOf(':', from);
    if (colon < 0 || colon >= to) throw new HeadError('a header line has no colon');
    const name = text.slice(from, colon);
    if (!NAME.test(name)) throw new HeadError('malformed header name');
    take(fields, name.toLowerCase(), text.slice(colon + 1, to).trim());
    from = to + 2;
  }
  return fields;
}

function take(fields: Fields, name: string, value: string): void {
  if (value.includes('\n') || value.includes('\r') || value.includes('\0')) throw new HeadError(`malformed value of ${name}`);
  switch (name) {
    case 'content-length':
      if (fields.length !== null && fields.length !== value) throw new HeadError('two content lengths');
      fields.length = value;
      break;
    case 'transfer-encoding':
      if (fields.encoding !== null) throw new HeadError('two transfer encodings');
      fields.encoding = value.toLowerCase();
      break;
    case 'connection':
      fields.connection = value.toLowerCase();
      break;
    case 'content-type':
      fields.contentType = value;
      break;
    case 'retry-after':
      fields.retryAfter = value;
      break;
    case 'x-sluice-report':
      fields.report = value;
      break;
    default:
      break;
  }
}

function framingOf(status: number, fields: Fields): Framing {
  if (status < 200 || status === 204 || status === 304) return NO_BODY;
  if (fields.encoding !== null) {
    if (fields.length !== null) throw new HeadError('both a content length and a transfer encoding');
    if (fields.encoding !== 'chunked') throw new HeadError('a transfer encoding other than chunked');
    return CHUNKED;
  }
  if (fields.length === null) throw new HeadError('a body without length or chunks');
  if (!LENGTH.test(fields.length)) throw new HeadError('malformed content length');
  return { kind: 'length', bytes: Number(fields.length) };
}

function keepsAlive(isHttp11: boolean, connection: string | null): boolean {
  if (connection === null) return isHttp11;
  return isHttp11 ? !connection.includes('close') : connection.includes('keep-alive');
}
