import { describe, expect, it } from 'vitest';
import type { Dialect, Role } from '../../../engines/index.ts';
import { canServe } from './alone.ts';

const serves = (dialect: Dialect, ...roles: Role[]) =>
  canServe(
    roles.map((role) => ({ role })),
    dialect,
  );

describe('canServe', () => {
  it('takes an instance of the decode pool for one that does all of it, but not SGLang’s', () => {
    expect([serves('nixl', 'decode'), serves('sluice', 'decode'), serves('bootstrap', 'decode')]).toEqual([true, true, false]);
    expect([serves('bootstrap', 'decode', 'prefill'), serves('bootstrap', 'mixed')]).toEqual([true, true]);
    expect([serves('nixl', 'prefill'), serves('bootstrap', 'prefill'), serves('sluice')]).toEqual([false, false, false]);
  });
});
