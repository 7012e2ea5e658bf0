/** `sluice kv stat`: bytes per tier and instance. */
import type { KvInstance, KvView } from '../../router/index.ts';
import { bytes, count, percent } from '../amounts.ts';
import type { Context } from '../context.ts';
import { type Column, type Paint, table } from '../terminal.ts';
import { askAndShow, FLAGS_HELP } from './asking.ts';

const HELP = `Shows how much KV every instance holds in each tier, of how much it may, and where the tokens of prompts came from.

Usage: sluice kv stat [--name NAME | --router URL] [--json]

${FLAGS_HELP}

"in use" is what running requests (HBM), hand-offs and pinned contexts (host) need and cannot give way; "pinned" is the part of PinnedContexts. Prompt tokens are those of requests
that went through this router: found in HBM, in host memory, at a peer (a hand-off) or in the store; the rest was computed.`;

const COLUMNS: readonly Column[] = [
  { title: 'instance' },
  { title: 'tier' },
  { title: 'held', right: true },
  { title: 'of', right: true },
  { title: 'full', right: true },
  { title: 'in use', right: true },
  { title: 'pinned', right: true },
  { title: 'prompt tokens', right: true },
];

export function statCommand(argv: readonly string[], context: Context): Promise<number> {
  return askAndShow(
    {
      name: 'kv stat',
      help: HELP,
      words: 0,
      question: () => ({ path: '/admin/kv' }),
      lines: (json, { name, paint }) => statLines(name, json as KvView, paint),
    },
    argv,
    context,
  );
}

export function statLines(name: string, view: KvView, paint: Paint): string[] {
  const sorted = [...view.instances].sort((a, b) => (a.id < b.id ? -1 : 1));
  const unwell = sorted.flatMap(({ id, tiers }) =>
    tiers.store === null || tiers.store.reason === 'Ready'
      ? []
      : [paint.yellow(`${id}: store ${tiers.store.reason}: ${tiers.store.message}`)],
  );
  const { blocks, evicted } = view.directory;
  return [
    `${paint.bold(name)}  ${view.model}  the router knows of ${count(blocks)} blocks, and forgot ${count(evicted)} for want of room`,
    '',
    ...table(COLUMNS, sorted.flatMap(rows), paint),
    ...unwell,
  ];
}

function rows(instance: KvInstance): string[][] {
  const { id, tiers, promptTokens } = instance;
  const row = (name: string, load: KvInstance['tiers']['host'], tokens: number, first: boolean) => [
    first ? id : '',
    name,
    bytes(load.usedBytes + load.cachedBytes),
    bytes(load.capacityBytes),
    load.capacityBytes === 0 ? '–' : percent((load.usedBytes + load.cachedBytes) / load.capacityBytes),
    bytes(load.usedBytes),
    load.pinnedBytes === undefined ? '–' : bytes(load.pinnedBytes),
    count(tokens),
  ];
  const without = (name: string, tokens: number) => ['', name, '–', '–', '–', '–', '–', count(tokens)];
  return [
    row('hbm', tiers.hbm, promptTokens.hbm, true),
    row('host', tiers.host, promptTokens.host, false),
    ...(tiers.store === null ? [] : [row(`store (${tiers.store.kind})`, tiers.store, promptTokens.store, false)]),
    without('peer', promptTokens.peer),
    without('computed', promptTokens.computed),
  ];
}
