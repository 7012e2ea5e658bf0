/** The table of `sluice top`. Pure. */
import type { TopInstance, TopView } from '../router/index.ts';
import { bytes, count, milliseconds, percent } from './amounts.ts';
import { type Column, type Paint, table } from './terminal.ts';

const COLUMNS: readonly Column[] = [
  { title: 'instance' },
  { title: 'role' },
  { title: 'state' },
  { title: 'running', right: true },
  { title: 'queue', right: true },
  { title: 'KV hbm', right: true },
  { title: 'KV host', right: true },
  { title: 'KV store', right: true },
  { title: 'leases', right: true },
  { title: 'reused', right: true },
  { title: 'TTFT p50', right: true },
  { title: 'p99', right: true },
  { title: 'TPOT p50', right: true },
  { title: 'p99', right: true },
];

export function topLines(name: string, view: TopView, paint: Paint): string[] {
  const simulated = view.instances.some((instance) => instance.simulated) ? paint.yellow(' (simulated)') : '';
  const state = view.ready ? paint.green('ready') : paint.red('not ready');
  const unwell = view.instances.flatMap(({ id, store }) =>
    store === null || store.reason === 'Ready' ? [] : [paint.yellow(`${id}: KV store: ${store.message}`)],
  );
  const load = `${count(view.inFlight)} in flight, ${count(view.queued)} queued`;
  const rows = [...view.instances].sort((a, b) => (a.id < b.id ? -1 : 1)).map((instance) => row(instance, paint));
  const lost = view.instances.flatMap(({ id, lostBecause }) => (lostBecause === null ? [] : [paint.red(`${id}: ${lostBecause}`)]));
  return [`${paint.bold(name)}  ${view.model}${simulated}  ${state}  ${load}`, '', ...table(COLUMNS, rows, paint), ...lost, ...unwell];
}

const STATES: Readonly<Record<TopInstance['state'], { readonly text: string; readonly colour: 'green' | 'yellow' | 'red' }>> = {
  ready: { text: 'ready', colour: 'green' },
  draining: { text: 'draining', colour: 'yellow' },
  lost: { text: 'lost', colour: 'red' },
  open: { text: 'breaker open', colour: 'red' },
  trying: { text: 'trying again', colour: 'yellow' },
};

function row(instance: TopInstance, paint: Paint): string[] {
  const { text, colour } = STATES[instance.state];
  return [
    instance.id,
    instance.role,
    paint[colour](text),
    count(instance.running),
    count(instance.waiting),
    memory(instance.hbm),
    memory(instance.host),
    instance.store === null ? '–' : memory(instance.store),
    count(instance.leases),
    instance.hitRate === null ? '–' : percent(instance.hitRate),
    time(instance.ttftMs.p50),
    time(instance.ttftMs.p99),
    time(instance.tpotMs.p50),
    time(instance.tpotMs.p99),
  ];
}

/** All that is held; what is kept for reuse counts, since it is what hits come from. */
function memory({ usedBytes, cachedBytes, capacityBytes }: TopInstance['hbm']): string {
  const held = usedBytes + cachedBytes;
  return capacityBytes === 0 ? '–' : `${bytes(held)} ${percent(held / capacityBytes)}`;
}

function time(ms: number | null): string {
  return ms === null ? '–' : milliseconds(ms);
}
