/** `sluice kv where`: which instances hold a block, or the prompt of a request. */
import type { KvPlace, KvWhere } from '../../router/index.ts';
import { count } from '../amounts.ts';
import type { Context } from '../context.ts';
import { type Column, type Paint, table } from '../terminal.ts';
import { askAndShow, FLAGS_HELP } from './asking.ts';

const HELP = `Tells which instances hold a block of KV, or the blocks of a request's prompt, and in which tier, now.

Usage: sluice kv where <key or request> [--name NAME | --router URL] [--json]

  key               32 hex digits, as sluice kv ls shows them
  request           the id of a request, as sluice explain takes it; the router keeps the newest

${FLAGS_HELP}

Counts are leading blocks: KV of a block is of use only with all blocks before it. "held" is what the instance need not compute, from
whichever tier. The engines are asked; one that cannot be asked shows what the router's directory knows of it.

Example: sluice kv where quickstart-4`;

const COLUMNS: readonly Column[] = [
  { title: 'instance' },
  { title: 'role' },
  { title: 'held', right: true },
  { title: 'HBM', right: true },
  { title: 'host', right: true },
  { title: 'store', right: true },
  { title: 'says' },
];

export function whereCommand(argv: readonly string[], context: Context): Promise<number> {
  return askAndShow(
    {
      name: 'kv where',
      help: HELP,
      words: 1,
      question: ([id]) =>
        id === undefined
          ? 'of what? Give the key of a block or the id of a request: sluice kv where <key or request>'
          : { path: `/admin/kv/where/${encodeURIComponent(id.replace(/^(?:chatcmpl|cmpl)-/, ''))}` },
      lines: (json, { paint }) => whereLines(json as KvWhere, paint),
    },
    argv,
    context,
  );
}

export function whereLines({ kind, id, blocks, places }: KvWhere, paint: Paint): string[] {
  const what = kind === 'key' ? `block ${id}` : `request ${id}: ${count(blocks)} whole blocks of its prompt`;
  if (places.every(({ held }) => held === 0))
    return [what, 'No instance holds it: it was given up, or its instance is gone. It would be computed again.'];
  const sorted = [...places].sort((a, b) => b.held - a.held || (a.id < b.id ? -1 : 1));
  return [
    what,
    '',
    ...table(
      COLUMNS,
      sorted.map((place) => row(place, blocks)),
      paint,
    ),
  ];
}

function row({ id, role, held, hbm, host, store, by }: KvPlace, blocks: number): string[] {
  const cell = (value: number) => (value === 0 ? '–' : value === blocks ? 'all' : count(value));
  return [id, role, cell(held), cell(hbm), cell(host), cell(store), by];
}
