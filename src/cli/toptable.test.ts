import { expect, it } from 'vitest';
import type { TopInstance } from '../router/index.ts';
import type { Paint } from './terminal.ts';
import { topLines } from './toptable.ts';

const same = (text: string) => text;
const PAINT: Paint = { bold: same, dim: same, green: same, red: same, yellow: same, cyan: same };

const INSTANCE: TopInstance = {
  id: 'decode-0',
  role: 'decode',
  state: 'ready',
  simulated: false,
  inFlight: 2,
  running: 2,
  waiting: 1,
  hbm: { usedBytes: 2 ** 19, cachedBytes: 2 ** 19, capacityBytes: 2 ** 22 },
  host: { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 },
  store: null,
  leases: 0,
  hitRate: 0.5,
  ttftMs: { p50: 12.34, p99: null },
  tpotMs: { p50: 1, p99: 2 },
  lostBecause: null,
};

it('shows one line per instance, sorted, and why one is lost', () => {
  const lost: TopInstance = { ...INSTANCE, id: 'a', state: 'lost', simulated: true, hitRate: null, lostBecause: 'connection refused' };
  expect(topLines('d', { model: 'm', ready: true, inFlight: 2, queued: 0, instances: [INSTANCE, lost] }, PAINT)).toEqual([
    'd  m (simulated)  ready  2 in flight, 0 queued',
    '',
    'instance  role    state  running  queue         KV hbm  KV host  KV store  leases  reused  TTFT p50  p99  TPOT p50      p99',
    'a         decode  lost         2      1  1.00 MiB 25 %        –         –       0       –   12.3 ms    –   1.00 ms  2.00 ms',
    'decode-0  decode  ready        2      1  1.00 MiB 25 %        –         –       0    50 %   12.3 ms    –   1.00 ms  2.00 ms',
    'a: connection refused',
  ]);
});

it('shows the store, and what is wrong with it', () => {
  const store = {
    kind: 'folder',
    reason: 'DiskFull',
    message: 'no room',
    usedBytes: 2 ** 20,
    cachedBytes: 0,
    capacityBytes: 2 ** 21,
  } as const;
  const lines = topLines('d', { model: 'm', ready: true, inFlight: 0, queued: 0, instances: [{ ...INSTANCE, store }] }, PAINT);
  expect(lines[3]).toContain('1.00 MiB 50 %');
  expect(lines.at(-1)).toBe('decode-0: KV store: no room');
});
