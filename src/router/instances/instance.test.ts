import { afterEach, expect, it } from 'vitest';
import { FREE_COSTS } from '../../api/facts/index.ts';
import type { EngineInfo, EngineLoad } from '../../engines/index.ts';
import { systemClock } from '../../shared/index.ts';
import { openEndpoint } from './endpoint.ts';
import { Instance } from './instance.ts';

const TIER = { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 };
const ASKED = { prefillTokens: 1000, contextTokens: 1200 };

const NAMELESS = { model: '', revision: '', tokenizer: '', rope: '', adapter: '', dtype: '', layout: '', blockTokens: 32 };
const INFO: EngineInfo = {
  instance: 'prefill-0',
  incarnation: 'a',
  role: 'prefill',
  engine: 'sim',
  dialect: 'sluice',
  requestUrl: null,
  simulated: true,
  model: 'm',
  contextTokens: 4096,
  maxSequences: 1,
  identity: NAMELESS,
  bytesPerBlock: 1,
  tokenizer: { kind: 'bytes4' },
  transfer: { host: '', port: 1 },
  leaseMs: 1,
};

const opened: Instance[] = [];
afterEach(() => {
  for (const instance of opened.splice(0)) instance.closeEndpoints();
});

function prefill(): Instance {
  const published = openEndpoint('http://127.0.0.1:9', systemClock);
  const instance = new Instance({ id: 'prefill-0', incarnation: 'a', role: 'prefill', published, now: 0 });
  opened.push(instance);
  return instance;
}

function load(running: number, pendingPrefillTokens: number, contextTokens = 0): EngineLoad {
  const idle = { waiting: 0, kv: { hbm: TIER, host: TIER }, leases: 0, draining: false, costs: FREE_COSTS };
  return { ...idle, running, pendingPrefillTokens, contextTokens };
}

const seen = ({ running, pendingPrefillTokens, contextTokens }: Instance) => [running, pendingPrefillTokens, contextTokens];

it('a prompt that is done is no queue for the next one, whatever a late report says', () => {
  const instance = prefill();
  instance.reserve(ASKED);
  instance.reported(load(1, 1000));
  expect(seen(instance)).toEqual([1, 1000, 1200]);
  instance.prefilled(ASKED.prefillTokens);
  expect(seen(instance)).toEqual([1, 0, 1200]);
  instance.release({ ...ASKED, prefillTokens: 0 });
  instance.reported(load(1, 1000, 1200));
  expect(seen(instance)).toEqual([0, 0, 0]);
});

it('the work of other routers counts beside ours, until its feed is down', () => {
  const instance = prefill();
  instance.reported(load(2, 300, 500));
  instance.reserve(ASKED);
  expect(seen(instance)).toEqual([3, 1300, 1700]);
  expect([instance.inFlight, instance.reservedTokens]).toEqual([1, 2200]);
  instance.lost('it fell silent');
  expect(seen(instance)).toEqual([1, 1000, 1200]);
  expect(instance).toMatchObject({ connected: false, lostBecause: 'it fell silent' });
});

it('one that is to be emptied can take requests, and is not waited for until one went through it', () => {
  const instance = prefill();
  instance.info = INFO;
  const seenNow = () => [instance.emptied, instance.usable, instance.unproven];
  expect(seenNow()).toEqual([false, false, false]);
  instance.reported(load(0, 0));
  expect(seenNow()).toEqual([false, true, true]);
  instance.reported({ ...load(0, 0), emptied: true });
  expect(seenNow()).toEqual([true, true, false]);
  instance.lost('its process ended');
  expect(instance.emptied).toBe(false);
});
