/** The quickstart on paper: a line of columns per request, and under it why. Pure. */
import { bytes, count, milliseconds } from '../amounts.ts';
import { type Paint, width } from '../terminal.ts';
import type { HandOff, QuickstartReport, RequestReport, ReusedTokens } from './result.ts';
import type { ScriptedRequest } from './script.ts';

const COLUMNS = [
  { title: 'request', width: 17 },
  { title: 'prefill → decode', width: 22 },
  { title: 'TTFT', width: 8, right: true },
  { title: 'tokens/s', width: 8, right: true },
  { title: 'prompt', width: 6, right: true },
  { title: 'reused', width: 16 },
  { title: 'KV handed over', width: 31 },
  { title: 'as one engine', width: 13 },
] as const;

function row(cells: readonly string[]): string {
  const padded = COLUMNS.map((column, index) => {
    const cell = cells[index] ?? '';
    const space = ' '.repeat(Math.max(0, column.width - width(cell)));
    return 'right' in column ? space + cell : cell + space;
  });
  return `  ${padded.join('  ')}`.trimEnd();
}

export function headline(paint: Paint): string {
  return paint.dim(row(COLUMNS.map((column) => column.title)));
}

export function requestLines(request: ScriptedRequest, report: RequestReport, paint: Paint): string[] {
  const { name, ttftMs, tokensPerSecond, promptTokens, reusedTokens, handOff, equalsSingleEngine, why, finishReason, error } = report;
  // Of a stream that was left after a few tokens there is no pace to tell.
  const pace = finishReason === 'cancelled' ? null : tokensPerSecond;
  const cells = [
    paint.bold(name),
    pair(report),
    ttftMs === null ? '–' : milliseconds(ttftMs),
    pace === null ? '–' : count(pace),
    count(promptTokens),
    reused(reusedTokens),
    handedOver(handOff),
    equalsSingleEngine ? paint.green('✓ same') : paint.red('✗ differs'),
  ];
  const failure = error === null ? [] : [`    ${paint.red(error)}`];
  return [row(cells), `    ${paint.dim(request.shows)}`, `    ${paint.dim(`router: ${why}`)}`, ...failure];
}

function pair({ prefill, decode }: RequestReport): string {
  if (decode === null) return '–';
  return prefill === null ? `${decode} alone` : `${prefill} → ${decode}`;
}

function reused(tokens: ReusedTokens): string {
  const parts = Object.entries(tokens).filter(([, tokenCount]) => tokenCount > 0);
  return parts.length === 0 ? '–' : parts.map(([tier, tokenCount]) => `${count(tokenCount)} ${tier}`).join(' ');
}

function handedOver(handOff: HandOff | null): string {
  if (handOff === null) return '–';
  const took = handOff.ms === null ? '' : `, ${milliseconds(handOff.ms)}`;
  return `${count(handOff.blocks)} blocks, ${bytes(handOff.bytes)}${took}`;
}

export function verdict({ ok, requests, leftovers }: QuickstartReport, paint: Paint): string[] {
  const left = Object.entries(leftovers).filter(([, leftCount]) => leftCount > 0);
  const remains = left.map(([what, leftCount]) => `${leftCount} ${what}`).join(', ');
  if (ok) {
    return [paint.green(`✓ ${requests.length} requests, every text equal to that of one engine alone, bit for bit; nothing is left over.`)];
  }
  return [
    paint.red('✗ not as it should be:'),
    ...requests.flatMap((request) => wrongWith(request).map((what) => `  ${request.name}: ${what}`)),
    ...(remains === '' ? [] : [`  left over: ${remains}`]),
  ];
}

function wrongWith({ error, equalsSingleEngine, finishReason }: RequestReport): string[] {
  if (error !== null) return [error];
  return [
    ...(equalsSingleEngine ? [] : ['the text is not that of one engine alone']),
    ...(finishReason === null ? ['its stream ended without a finish_reason'] : []),
  ];
}

export function whatNext(url: string, model: string, requestId: string, paint: Paint): string[] {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 40, stream: true });
  const commands: readonly (readonly [string, string])[] = [
    [`npx sluice explain ${requestId}`, 'why that request went where it went'],
    ['npx sluice top', 'instances, queues, KV and latencies, live'],
  ];
  const longest = Math.max(...commands.map(([command]) => command.length));
  return [
    `Serving at ${paint.bold(`${url}/v1`)} for any OpenAI client. Try:`,
    '',
    `  ${paint.cyan(`curl -N ${url}/v1/chat/completions -H 'content-type: application/json' \\`)}`,
    `    ${paint.cyan(`-d '${body}'`)}`,
    ...commands.map(([command, what]) => `  ${paint.cyan(command.padEnd(longest))}  ${paint.dim(what)}`),
    '',
    paint.dim('Ctrl-C ends it.'),
  ];
}
