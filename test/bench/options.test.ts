import { describe, expect, it } from 'vitest';
import { BENCHES, HELP, parseOptions } from './options.ts';

function messageOf(argv: string[]): string {
  const parsed = parseOptions(argv);
  if (parsed.kind !== 'error') throw new Error(`accepted ${argv.join(' ')}`);
  return parsed.message;
}

describe('parseOptions', () => {
  it('fills in defaults', () => {
    expect(parseOptions(['router'])).toEqual({
      kind: 'options',
      options: {
        bench: 'router',
        json: null,
        runs: 5,
        seconds: null,
        against: ['nginx', 'vllmRouter', 'smg', 'node'],
        profile: null,
        pinned: true,
        pools: { prefill: 1, decode: 1 },
        faults: false,
        deployments: 1_000,
      },
    });
  });

  it('reads every option', () => {
    const argv = [
      '--runs',
      '7',
      'router',
      '--seconds',
      '0.5',
      '--json',
      'a.json',
      '--against',
      'smg,nginx,smg',
      '--profile',
      'p',
      '--unpinned',
    ];
    expect(parseOptions(argv)).toEqual({
      kind: 'options',
      options: {
        bench: 'router',
        json: 'a.json',
        runs: 7,
        seconds: 0.5,
        against: ['smg', 'nginx'],
        profile: 'p',
        pinned: false,
        pools: { prefill: 1, decode: 1 },
        faults: false,
        deployments: 1_000,
      },
    });
    const parsed = parseOptions(['vllm', '--faults', '--prefill', '2', '--decode', '3']);
    expect(parsed).toMatchObject({ kind: 'options', options: { bench: 'vllm', pools: { prefill: 2, decode: 3 }, faults: true } });
  });

  it('repeats the operator bench, which takes long, only when asked to', () => {
    expect(parseOptions(['operator'])).toMatchObject({ options: { runs: 1, deployments: 1_000 } });
    expect(parseOptions(['operator', '--runs', '3', '--deployments', '20'])).toMatchObject({ options: { runs: 3, deployments: 20 } });
  });

  it.each([
    [[], 'no bench named'],
    [['ruter'], "unknown bench 'ruter'"],
    [['router', 'disagg'], "'disagg' follows 'router'"],
    [['router', '--runs', '0'], "--runs is '0', expected a whole number from 1 to 100"],
    [['router', '--runs', '2.5'], "--runs is '2.5'"],
    [['router', '--runs', ''], "--runs is ''"],
    [['router', '--seconds', 'NaN'], "--seconds is 'NaN', expected a number from 0.2 to 600"],
    [['router', '--seconds', '1e9'], "--seconds is '1e9'"],
    [['router', '--against', 'haproxy'], "--against names 'haproxy', expected a list out of nginx,vllmRouter,smg,node"],
    [['disagg', '--against', 'nginx'], '--against belongs to the router bench, not to disagg'],
    [['router', '--deployments', '2'], '--deployments belongs to the operator bench, not to router'],
    [['router', '--faults'], '--faults belongs to the vllm bench, not to router'],
    [['start', '--faults'], '--faults belongs to the vllm bench, not to start'],
    [['peers', '--prefill', '2'], '--prefill belongs to the vllm and start bench, not to peers'],
    [['vllm', '--unpinned'], '--unpinned belongs to the router and peers bench, not to vllm'],
    [['vllm', '--decode', '0'], "--decode is '0', expected a whole number from 1 to 16"],
    [['router', '--json', ''], '--json is empty'],
    [['router', '--what'], "'--what'"],
  ])('refuses %j', (argv, reason) => {
    expect(messageOf(argv)).toContain(reason);
  });

  it('knows --help, which names every bench', () => {
    expect(parseOptions(['--help'])).toEqual({ kind: 'help' });
    for (const bench of BENCHES) expect(HELP).toContain(bench);
  });
});
