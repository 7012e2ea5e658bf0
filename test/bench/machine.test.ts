import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { cpuMsBetween, parseStat, readCpu, treeOf } from './cpu.ts';
import { layOut, parseCoreList } from './machine.ts';
import { formatFigure, renderReport, renderTable } from './report.ts';

describe('cpu', () => {
  it('reads a stat line whose command holds blanks and parentheses', () => {
    const line = '42 (tokio (rt) x) S 7 42 42 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 5 0 1 2 3';
    expect(parseStat(line)).toEqual({ pid: 42, parent: 7, ticks: 281 });
    expect(parseStat('')).toBeNull();
    expect(parseStat('1 (x) S')).toBeNull();
  });

  it('finds all descendants and nobody else', () => {
    const process = (pid: number, parent: number) => ({ pid, parent, ticks: 0 });
    const all = [process(4, 3), process(1, 0), process(2, 1), process(3, 2), process(9, 1)];
    expect(treeOf(2, all).map(({ pid }) => pid)).toEqual([2, 3, 4]);
    expect(treeOf(77, all)).toEqual([]);
  });

  it('takes nanoseconds, but ticks when a thread took its nanoseconds along', () => {
    expect(cpuMsBetween({ runNs: 1e6, ticks: 10 }, { runNs: 26e6, ticks: 12 })).toBe(25);
    expect(cpuMsBetween({ runNs: 5e9, ticks: 500 }, { runNs: 4e9, ticks: 600 })).toBe(1000);
  });

  it('sees the work of a child process', async () => {
    const burn =
      'const { spawnSync } = require("child_process"); const until = Date.now() + 300; while (Date.now() < until); process.stdout.write("x"); setInterval(() => {}, 1000);';
    const child = spawn(process.execPath, ['-e', burn], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const before = readCpu(child.pid ?? -1);
      await once(child.stdout, 'data');
      const used = cpuMsBetween(before, readCpu(child.pid ?? -1));
      expect(used).toBeGreaterThan(30);
      expect(used).toBeLessThan(2000);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
});

describe('cores', () => {
  it('reads core lists', () => {
    expect(parseCoreList('0-2,5\n')).toEqual([0, 1, 2, 5]);
    expect(parseCoreList('3')).toEqual([3]);
    expect(parseCoreList('x,1')).toEqual([1]);
  });

  it('gives the contender a core that nobody else uses', () => {
    for (const cores of [
      [0, 1],
      [2, 3, 6],
      [0, 1, 2, 3],
      [0, 1, 2, 3, 4, 5, 6, 7],
    ]) {
      const { load, engines, router } = layOut(cores);
      expect(router).toHaveLength(1);
      expect([...(load ?? []), ...(engines ?? [])]).not.toContain(router?.[0]);
    }
    expect(layOut([0])).toEqual({ load: null, engines: null, router: null });
  });
});

describe('report', () => {
  it('lines columns up', () => {
    expect(
      renderTable(
        ['metric', 'median'],
        [
          ['a', '1.25'],
          ['longer name', '10'],
        ],
      ),
    ).toEqual(['metric       median', '-----------  ------', 'a              1.25', 'longer name      10']);
  });

  it('keeps three digits', () => {
    expect([12_345.6, 12.345, 1.2345, 0.12345, 0.0123, 0, -2.5, Number.NaN].map(formatFigure)).toEqual([
      '12346',
      '12.3',
      '1.23',
      '0.123',
      '0.0123',
      '0',
      '-2.50',
      '-',
    ]);
  });

  it('shows ratios, absolute figures with units, baselines and notes', () => {
    const spread = { median: 0.5, min: 0.4, max: 0.6 };
    const text = renderReport({
      name: 'router',
      ratio: { 'cpuPerRequest.nginx': spread },
      baseline: { nginx: '1.22.1' },
      runs: 5,
      machine: { cpu: 'c', cores: 2, memoryGiB: 4, kernel: 'k', node: 'v24' },
      absolute: { cpuPerRequest: { sluice: spread } },
      units: { cpuPerRequest: 'µs' },
      notes: ['how'],
    });
    for (const part of ['cpuPerRequest.nginx', '0.500', 'cpuPerRequest (µs)', 'sluice', 'nginx: 1.22.1', 'note: how', '5 runs'])
      expect(text).toContain(part);
  });
});
