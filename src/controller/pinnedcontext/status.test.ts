import { describe, expect, it } from 'vitest';
import { isSettled, pinnedContextStatus } from '../../api/index.ts';
import type { InstancePin, PinningInstance } from '../../platform/index.ts';
import { type PinSeen, pinnedStatus, tellPinned } from './status.ts';

const WISH = { id: 'default/a', digest: 'now', deployment: 'chat', replicas: 2, tier: 'host' } as const;
const MIB = 2 ** 20;
const CONTEXT = { generation: 3, now: '2026-01-02T03:04:05Z', before: null };
const NONE: ReadonlyMap<string, string> = new Map();

function instance(name: string, change: Partial<InstancePin> | null, more: Partial<PinningInstance> = {}): PinningInstance {
  const pin: InstancePin = {
    id: WISH.id,
    digest: WISH.digest,
    tier: 'host',
    state: 'Held',
    tokens: 100,
    blocks: 6,
    bytes: MIB,
    leftMs: 9,
    trouble: null,
    ...change,
  };
  const memory = {
    capacityBytes: 16 * MIB,
    pinnableBytes: 8 * MIB,
    pinnedBytes: MIB,
    storeBytes: 64 * MIB,
    pins: change === null ? [] : [pin],
  };
  return { name, role: 'prefill', usable: true, memory, why: '', ...more };
}

function say(seen: PinSeen) {
  const told = tellPinned(seen);
  const status = pinnedStatus(told, CONTEXT);
  expect(pinnedContextStatus.safeParse(status).error?.issues).toBeUndefined();
  const words = Object.fromEntries(told.conditions.map((one) => [one.type, `${one.status} ${one.reason}`]));
  return { status, words, message: told.conditions[0]?.message ?? '', settled: told.conditions.every(isSettled) };
}
const of = (instances: readonly PinningInstance[], refused = NONE): PinSeen => ({ kind: 'instances', wish: WISH, instances, refused });
const failed = (reason: string) => ({ state: 'Failed', trouble: { reason, message: 'because' } }) as const;

describe('the status of a PinnedContext', () => {
  it('says where it is and what it costs', () => {
    const { status, words, message, settled } = say(
      of([instance('p-1', {}), instance('p-0', {}), instance('d-0', null, { role: 'decode' })]),
    );
    expect(words).toEqual({ Ready: 'true Resident', Stalled: 'false NothingKeepsFailing', Reconciling: 'false Settled' });
    expect([settled, message]).toEqual([true, '2 instances hold it: p-0, p-1']);
    expect(status).toMatchObject({
      observedGeneration: 3,
      tokens: 100,
      blocks: 6,
      bytes: 2 * MIB,
      holders: [
        { instance: 'p-0', tier: 'host', blocks: 6, bytes: MIB, share: '6.3%' },
        { instance: 'p-1', share: '6.3%' },
      ],
      resident: '2/2',
      share: '6.3%',
    });
  });

  it('says what it takes of a store', () => {
    const stored = say({
      kind: 'instances',
      wish: { ...WISH, replicas: 1, tier: 'store' },
      instances: [instance('p-0', { tier: 'store' })],
      refused: NONE,
    });
    expect(stored.status).toMatchObject({ holders: [{ instance: 'p-0', tier: 'store', share: '1.6%' }], share: '1.6%' });
  });

  it('says that it is being computed', () => {
    const { status, words, message } = say(of([instance('p-0', {}), instance('p-1', { state: 'Computing' })]));
    expect(words).toEqual({ Ready: 'false Computing', Stalled: 'false NothingKeepsFailing', Reconciling: 'true Computing' });
    expect(message).toBe('held by 1 of 2 instances; its KV is being computed');
    expect(status).toMatchObject({ resident: '1/2', bytes: MIB, holders: [{ instance: 'p-0' }] });
  });

  it.each([
    ['DoesNotFit', 'raise the capacity of the tier (kv.host.capacity, kv.store.capacity), delete other PinnedContexts, or pin less'],
    ['NoStore', 'give the deployment one (kv.store, or that of its KVTier), or let spec.tier be host'],
    ['TooShort', 'pin more, or delete this'],
    ['ContextExceeded', 'raise engine.contextTokens of the deployment, or pin less'],
  ])('is stalled by %s, with what to do', (reason, remedy) => {
    const { words, message } = say(of([instance('p-0', {}), instance('p-1', failed(reason))]));
    expect(words).toEqual({ Ready: `false ${reason}`, Stalled: `true ${reason}`, Reconciling: 'false Settled' });
    expect(message.startsWith(`held by 1 of 2 instances; p-1: because; ${remedy}`), message).toBe(true);
  });

  it('goes on trying where an instance refuses it now', () => {
    const { words, message } = say(of([instance('p-0', failed('Refused')), instance('p-1', null)], new Map([['p-1', 'HTTP 503']])));
    expect(words).toMatchObject({ Ready: 'false PinRefused', Stalled: 'false NothingKeepsFailing', Reconciling: 'true PinRefused' });
    expect(message).toBe('held by 0 of 2 instances; it is tried again: p-0: because, p-1: HTTP 503');
  });

  it('names the instances that are too few, and why others do not count', () => {
    const silent = instance('p-1', null, { memory: null, why: 'ECONNREFUSED' });
    const { words, message } = say(of([instance('p-0', {}), silent, instance('p-2', {}, { usable: false })]));
    expect(words).toMatchObject({ Ready: 'false TooFewInstances', Reconciling: 'true TooFewInstances' });
    expect(message).toBe(
      'held by 1 of 2 instances, and 1 of chat can hold it: not p-1 (ECONNREFUSED), p-2 (takes no requests now); start more, or lower spec.replicas',
    );
  });

  it.each([
    [{ kind: 'noDeployment', wish: WISH }, 'DeploymentMissing', /ServingDeployment chat is not there: make it/],
    [{ kind: 'noRouter', wish: WISH }, 'RouterSilent', /kubectl describe sd chat/],
  ] as const)('waits for what is not there: %j', (seen, reason, message) => {
    const told = say(seen);
    expect(told.words).toEqual({ Ready: `false ${reason}`, Stalled: 'false NothingKeepsFailing', Reconciling: `true ${reason}` });
    expect(told.message).toMatch(message);
    expect(told.status).toMatchObject({ resident: '0/2', bytes: 0, holders: [] });
  });

  it('does not pretend with an engine that cannot pin, nor with a spec that is not sound', () => {
    const foreign = say({ kind: 'foreignEngine', wish: WISH, engine: 'vllm' });
    expect(foreign.words).toEqual({ Ready: 'false EngineCannotPin', Stalled: 'true EngineCannotPin', Reconciling: 'false Settled' });
    expect(foreign.message).toMatch(/^vllm decides by itself what stays/);
    const invalid = say({ kind: 'invalid', errors: ['spec: expected x'] });
    expect(invalid.words).toEqual({ Ready: 'false InvalidSpec', Stalled: 'true InvalidSpec', Reconciling: 'false InvalidSpec' });
    expect(invalid.status).not.toHaveProperty('resident');
  });
});
