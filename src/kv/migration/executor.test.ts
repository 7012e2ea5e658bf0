import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { MigrationExecutor } from './executor.ts';
import type { MigrationCommand, MigrationMessage } from './machine.ts';

type News = MigrationMessage extends infer M ? (M extends MigrationMessage ? Omit<M, 'migration'> : never) : never;

function bed() {
  const clock = new FakeClock();
  const commands: MigrationCommand[] = [];
  const states: string[] = [];
  const executor = new MigrationExecutor({
    request: { id: 'm', session: 's', from: 'A', to: 'B', generation: 2 },
    clock,
    limits: { replyMs: 100, copyMs: 1_000, switchMs: 300 },
    perform: (command) => commands.push(command),
    onTransition: ({ next }) => states.push(`${next.state}${next.state === 'copying' ? `/${next.step}` : ''}`),
  });
  const tell = (...news: News[]) => {
    for (const one of news) executor.tell({ ...one, migration: 'm' });
  };
  return { clock, commands, states, executor, tell };
}

const COPIED: readonly News[] = [{ type: 'placed' }, { type: 'offered' }, { type: 'pulled', blocks: 3, bytes: 30 }];

describe('MigrationExecutor', () => {
  it('goes from request to release, and catches up until it is close', () => {
    const { commands, states, executor, tell } = bed();
    tell(
      ...COPIED,
      { type: 'followed', behind: 9 },
      { type: 'followed', behind: 1 },
      { type: 'stopped' },
      { type: 'spoke' },
      { type: 'released' },
    );
    expect(commands).toEqual(['reserve', 'offer', 'pull', 'follow', 'follow', 'stop', 'commit', 'releaseSource']);
    expect(states).toEqual([
      'requested',
      'reserved',
      'copying/blocks',
      'copying/difference',
      'copying/difference',
      'copying/stopping',
      'copying/switching',
      'committed',
      'released',
    ]);
    expect(executor.migration).toMatchObject({ blocks: 3, bytes: 30, reason: null });
  });

  it('does not chase a source that is always faster', () => {
    const { commands, tell } = bed();
    tell(...COPIED);
    for (let i = 0; i < 6; i++) tell({ type: 'followed', behind: 50 });
    expect(commands.filter((command) => command === 'follow')).toHaveLength(6);
    expect(commands.at(-1)).toBe('stop');
  });

  it('does nothing for what comes twice, late, or for another move', () => {
    const { commands, tell, executor } = bed();
    tell({ type: 'placed' }, { type: 'placed' }, { type: 'stopped' }, { type: 'spoke' });
    executor.tell({ migration: 'other', type: 'offered' });
    expect(commands).toEqual(['reserve', 'offer']);
    tell({ type: 'failed', reason: 'full' }, { type: 'offered' }, { type: 'failed', reason: 'lost' });
    expect(executor.migration).toMatchObject({ state: 'aborted', reason: 'full' });
    expect(commands).toEqual(['reserve', 'offer', 'cancelTarget', 'releaseSource']);
  });

  it.each([
    [[], 100, false],
    [COPIED, 1_000, false],
    [[...COPIED, { type: 'followed', behind: 0 }], 300, true],
    [[...COPIED, { type: 'followed', behind: 0 }, { type: 'stopped' }], 300, true],
  ] as const)('gives every step its time: %j', (news, ms, resumes) => {
    const { clock, commands, tell, executor } = bed();
    tell(...news);
    clock.advance(ms - 1);
    expect(executor.migration.state).not.toBe('aborted');
    clock.advance(1);
    expect(executor.migration).toMatchObject({ state: 'aborted', reason: 'silent' });
    expect(commands.includes('resume')).toBe(resumes);
    clock.advance(10_000);
    expect(executor.migration.reason).toBe('silent');
  });

  it('is the target once it spoke, whatever becomes of the release', () => {
    const { clock, commands, tell, executor } = bed();
    tell(...COPIED, { type: 'followed', behind: 0 }, { type: 'stopped' }, { type: 'spoke' });
    clock.advance(100);
    expect(executor.migration).toMatchObject({ state: 'released', reason: null });
    expect(commands).not.toContain('resume');
  });
});
