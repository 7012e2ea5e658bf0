/** Leader election between processes, by the real API server. */

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ElectionTiming, LEASES } from '../../src/platform/kubernetes/index.ts';
import { startCluster, type TestCluster } from './apiserver.ts';
import { type Bed, openClient, until } from './bed.ts';

const PROGRAM = fileURLToPath(new URL('./contender.ts', import.meta.url));
const TIMING: ElectionTiming = { durationMs: 6_000, renewWithinMs: 3_600, retryMs: 600 };

class Contender {
  readonly identity: string;
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  #text = '';
  code: number | null = null;

  constructor(identity: string, args: readonly string[]) {
    this.identity = identity;
    this.#child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
    this.#gone = new Promise((resolve) =>
      this.#child.on('close', (code) => {
        this.code = code;
        resolve(code);
      }),
    );
  }

  /** Monotonic nanoseconds at which it was the leader. */
  stamps(): bigint[] {
    return [...this.#text.matchAll(/^holds (\d+)$/gm)].map((match) => BigInt(match[1] ?? '0'));
  }

  /** Kinds of its notices, in order, without the stamps. */
  notices(): string[] {
    return [...this.#text.matchAll(/^(\w+) \{/gm)].map((match) => match[1] ?? '');
  }

  leads(): boolean {
    return (
      this.notices()
        .filter((kind) => kind !== 'trouble')
        .at(-1) === 'leading'
    );
  }

  text(): string {
    return `${this.identity}: ${this.#text.replace(/^holds .*\n/gm, '')}`;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.signal(signal);
    await this.#gone;
  }
}

describe('a lease', () => {
  let cluster: TestCluster;
  let bed: Bed;
  let namespace = '';
  let contenders: Contender[] = [];
  beforeAll(async () => {
    cluster = await startCluster();
    bed = await openClient(cluster.kubeconfig, 'sluice');
  });
  afterAll(async () => {
    bed.close();
    await cluster.stop();
  });
  beforeEach(async () => {
    namespace = await cluster.admin.namespace('lease');
  });
  afterEach(async () => {
    cluster.apiServer.signal('SIGCONT');
    await Promise.all(contenders.map((one) => one.end('SIGKILL')));
    contenders = [];
  });

  function contend(identity: string): Contender {
    const one = new Contender(identity, [cluster.kubeconfig, namespace, 'leader', identity, JSON.stringify(TIMING)]);
    contenders.push(one);
    return one;
  }
  const story = () => contenders.map((one) => one.text()).join('\n');
  const leads = (one: Contender) => until(() => one.leads(), story);
  const spec = async () => (await bed.client.get(LEASES, { namespace, name: 'leader' }))?.spec;

  async function leaderAndNext(): Promise<readonly [Contender, Contender]> {
    const [a, b] = [contend('a'), contend('b')];
    await until(() => (a.leads() && b.notices().includes('waiting')) || (b.leads() && a.notices().includes('waiting')), story);
    return a.leads() ? [a, b] : [b, a];
  }

  /** All instants at which anyone led, in order: whoever comes later never has an earlier one among those of another. */
  function expectOneAtATime(): void {
    const all = contenders.flatMap((one) => one.stamps().map((at) => ({ at, by: one.identity })));
    all.sort((x, y) => (x.at < y.at ? -1 : 1));
    const turns = all.filter(({ by }, index) => all[index - 1]?.by !== by).map(({ by }) => by);
    expect(new Set(turns).size, `turns ${turns.join(' ')}\n${story()}`).toBe(turns.length);
  }

  it('goes to the next when its leader is killed, not before it has expired', async () => {
    const [leader, next] = await leaderAndNext();
    let before = await spec();
    await leader.end('SIGKILL');
    await until(async () => {
      const now = await spec();
      if (now?.holderIdentity === leader.identity) before = now;
      return next.leads();
    }, story);
    expectOneAtATime();
    const after = await spec();
    expect(after).toMatchObject({ holderIdentity: next.identity, leaseTransitions: 1, leaseDurationSeconds: 6 });
    // By wall clocks, which need not run as the monotonic ones do that decide.
    const gap = Date.parse(after?.acquireTime ?? '') - Date.parse(before?.renewTime ?? '');
    expect(gap).toBeGreaterThan(TIMING.durationMs - 100);
  });

  it('goes to the next at once when its leader stops in order', async () => {
    const [leader, next] = await leaderAndNext();
    await leader.end('SIGTERM');
    expect(leader.code).toBe(0);
    expect(leader.notices().at(-1)).toBe('released');
    await leads(next);
    expectOneAtATime();
    const gap = Number((next.stamps()[0] ?? 0n) - (leader.stamps().at(-1) ?? 0n)) / 1e6;
    expect(gap).toBeLessThan(TIMING.durationMs);
  });

  it('is lost by a leader that was frozen, which notices before it does anything', async () => {
    const [leader, next] = await leaderAndNext();
    leader.signal('SIGSTOP');
    await leads(next);
    leader.signal('SIGCONT');
    await until(() => leader.notices().includes('lost') && leader.notices().at(-1) === 'waiting', story);
    expectOneAtATime();
  });

  it('is kept by its leader through an API server that was away for a moment', async () => {
    const [leader, next] = await leaderAndNext();
    cluster.apiServer.signal('SIGSTOP');
    const before = leader.stamps().length;
    await until(() => leader.stamps().length > before + 20, story);
    cluster.apiServer.signal('SIGCONT');
    const renewed = (await spec())?.renewTime;
    await until(async () => (await spec())?.renewTime !== renewed, story);
    expect(leader.notices()).not.toContain('lost');
    expect(next.notices()).not.toContain('leading');
    expectOneAtATime();
  });

  it('is given up while the API server does not answer, and taken again when it does', async () => {
    const [leader] = await leaderAndNext();
    cluster.apiServer.signal('SIGSTOP');
    await until(() => leader.notices().includes('lost'), story);
    const silent = leader.stamps().length;
    cluster.apiServer.signal('SIGCONT');
    await until(() => contenders.some((one) => one.leads()), story);
    const all = contenders.flatMap((one) => one.stamps());
    expect(all.length).toBeGreaterThanOrEqual(silent);
    expect(contenders.filter((one) => one.leads())).toHaveLength(1);
  });

  it('is lost when someone else writes it or deletes it', async () => {
    const leader = contend('a');
    await leads(leader);
    await bed.client.merge(LEASES, { namespace, name: 'leader' }, { spec: { holderIdentity: 'usurper' } });
    await until(() => leader.notices().includes('lost'), story);
    expect(leader.text()).toMatch('taken by \\"usurper\\"');
    await leads(leader);
    await bed.client.delete(LEASES, { namespace, name: 'leader' });
    await until(() => leader.text().includes('the Lease was deleted'), story);
    await leads(leader);
  });

  it('is not lost when someone sets a label on it', async () => {
    const leader = contend('a');
    await leads(leader);
    await bed.client.merge(LEASES, { namespace, name: 'leader' }, { metadata: { labels: { seen: 'yes' } } });
    const before = leader.stamps().length;
    await until(() => leader.stamps().length > before + 450, story);
    expect(leader.notices()).toEqual(['leading']);
  });
});
