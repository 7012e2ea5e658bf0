/** `sluice kv ls`: blocks per tier, and of one instance their keys. */
import type { KvBlocks, KvInstance, KvView } from '../../router/index.ts';
import { bytes, count } from '../amounts.ts';
import type { Context } from '../context.ts';
import { type Column, type Paint, table } from '../terminal.ts';
import { askAndShow, FLAGS_HELP } from './asking.ts';

const SHOWN_KEYS = 100;

const HELP = `Lists blocks of KV. Without an instance: how many each instance holds in each tier. With one: the keys of its blocks, at most ${SHOWN_KEYS} of
a tier, as sluice kv where takes them.

Usage: sluice kv ls [instance] [--name NAME | --router URL] [--json]

${FLAGS_HELP}

A block that is in two tiers counts in both. Example: sluice kv ls decode-0`;

const COLUMNS: readonly Column[] = [
  { title: 'instance' },
  { title: 'role' },
  { title: 'HBM', right: true },
  { title: 'host', right: true },
  { title: 'store', right: true },
  { title: 'tokens of a block', right: true },
  { title: 'bytes of a block', right: true },
];

export function lsCommand(argv: readonly string[], context: Context): Promise<number> {
  return askAndShow(
    {
      name: 'kv ls',
      help: HELP,
      words: 1,
      question: ([instance]) => ({
        path: instance === undefined ? '/admin/kv' : `/admin/kv/blocks/${encodeURIComponent(instance)}?limit=${SHOWN_KEYS}`,
      }),
      lines: (json, { paint }) => (isOneInstance(json) ? keyLines(json) : instanceLines(json as KvView, paint)),
    },
    argv,
    context,
  );
}

function isOneInstance(json: unknown): json is KvBlocks {
  return typeof json === 'object' && json !== null && 'instance' in json;
}

function instanceLines({ instances }: KvView, paint: Paint): string[] {
  const sorted = [...instances].sort((a, b) => (a.id < b.id ? -1 : 1));
  return [...table(COLUMNS, sorted.map(row), paint), '', 'sluice kv ls <instance> shows keys.'];
}

function row({ id, role, connected, tiers, blockTokens, bytesPerBlock }: KvInstance): string[] {
  if (!connected || bytesPerBlock === null || blockTokens === null) return [id, role, 'not connected', '', '', '', ''];
  const blocks = (load: KvInstance['tiers']['host'] | null) =>
    load === null ? '–' : count(Math.floor((load.usedBytes + load.cachedBytes) / Math.max(1, bytesPerBlock)));
  return [id, role, blocks(tiers.hbm), blocks(tiers.host), blocks(tiers.store), count(blockTokens), bytes(bytesPerBlock)];
}

function keyLines({ instance, tiers, bytesPerBlock, blockTokens }: KvBlocks): string[] {
  const sections = (['hbm', 'host', 'store'] as const).flatMap((tier) => {
    const held = tiers[tier];
    if (held === undefined) return [];
    const more = held.blocks > held.keys.length ? [`  … and ${count(held.blocks - held.keys.length)} more`] : [];
    return ['', `${tier}: ${count(held.blocks)} blocks`, ...held.keys.map((key) => `  ${key}`), ...more];
  });
  return [`${instance}: blocks of ${blockTokens} tokens, ${bytes(bytesPerBlock)} each`, ...sections];
}
