/** `sluice kv verify`: compares the checksums of all that is held below HBM. */
import type { KvVerified } from '../../router/index.ts';
import { bytes, count } from '../amounts.ts';
import type { Context } from '../context.ts';
import type { Paint } from '../terminal.ts';
import { askAndShow, FLAGS_HELP } from './asking.ts';

const WITHIN_MS = 130_000;
const SHOWN = 5;

const HELP = `Compares the checksums of all KV that instances hold in host memory and in the store. What is damaged is removed, and computed again
when it is wanted; requests are served meanwhile. HBM has no checksums.

Usage: sluice kv verify [instance] [--name NAME | --router URL] [--json]

${FLAGS_HELP}

Exit code: 0 all is well, 3 damage was found, 1 an instance could not be asked. A store that instances share is read by each of them:
name one instance to read it once.`;

export function verifyCommand(argv: readonly string[], context: Context): Promise<number> {
  return askAndShow(
    {
      name: 'kv verify',
      help: HELP,
      words: 1,
      question: ([instance]) => {
        const query = instance === undefined ? '' : `?instance=${encodeURIComponent(instance)}`;
        return { path: `/admin/kv/verify${query}`, method: 'POST', withinMs: WITHIN_MS };
      },
      lines: (json, { paint }) => verifyLines(json as KvVerified, paint),
      code: (json) => exitCode(json as KvVerified),
    },
    argv,
    context,
  );
}

export function verifyLines({ instances }: KvVerified, paint: Paint): string[] {
  if (instances.length === 0) return ['there is no instance'];
  return instances.flatMap((instance) => {
    if ('why' in instance) return [paint.yellow(`${instance.id}: not verified: ${instance.why}`)];
    const { host, store } = instance.verdict;
    const bad = host.bad.length + (store?.bad.length ?? 0);
    const below =
      store === null ? 'no store' : `store ${count(store.blocks)} blocks in ${count(store.groups)} groups, ${bytes(store.bytes)}`;
    const state = bad === 0 ? paint.green('all is well') : paint.red(`${count(bad)} damaged, removed`);
    const more = store?.partial ? [`  the store has more than was looked at`] : [];
    const damaged = [
      ...host.bad.map((key) => `  host block ${key}: its checksum is wrong`),
      ...(store?.bad ?? []).map(({ group, why }) => `  store group ${group}: ${why}`),
    ];
    const left = damaged.length > SHOWN ? [`  … and ${count(damaged.length - SHOWN)} more`] : [];
    return [
      `${instance.id}: host ${count(host.blocks)} blocks, ${bytes(host.bytes)}; ${below}: ${state}`,
      ...damaged.slice(0, SHOWN),
      ...left,
      ...more,
    ];
  });
}

export function exitCode({ instances }: KvVerified): number {
  if (instances.some((one) => 'verdict' in one && one.verdict.host.bad.length + (one.verdict.store?.bad.length ?? 0) > 0)) return 3;
  return instances.some((one) => 'why' in one) ? 1 : 0;
}
