import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { allowedCores, claimUnits, presentAccelerators } from './claims.ts';
import { takeDevice } from './device.ts';

const WISH = { accelerator: null, tensorParallel: 1, cores: 1, env: {} };
const machine = (cores: number[], accelerators: number[] = []) => ({ cores, accelerators, scope: `test-${randomUUID()}` });

describe('takeDevice', () => {
  it('gives every engine a processor of its own, and says so when they must share', async () => {
    const two = machine([4, 5]);
    expect(await takeDevice(WISH, two)).toEqual({ device: { kind: 'cpu', cores: [4] }, warning: null });
    expect(await takeDevice(WISH, two)).toEqual({ device: { kind: 'cpu', cores: [5] }, warning: null });
    const third = await takeDevice(WISH, two);
    expect(third).toEqual({ device: { kind: 'cpu', cores: [4] }, warning: expect.stringContaining('more engines than processors') });
    // Both have two owners before one has three.
    expect(await takeDevice(WISH, two)).toMatchObject({ device: { cores: [5] } });
  });

  it('takes no more processors than there are', async () => {
    expect(await takeDevice({ ...WISH, cores: 64 }, machine([0, 1]))).toEqual({ device: { kind: 'cpu', cores: [0, 1] }, warning: null });
  });

  it("leaves the user's own binding alone", async () => {
    const bound = { ...WISH, env: { VLLM_CPU_OMP_THREADS_BIND: '0-3' } };
    expect(await takeDevice(bound, machine([0]))).toEqual({ device: { kind: 'cpu', cores: null }, warning: null });
    const visible = { ...WISH, accelerator: 'nvidia-h100', env: { CUDA_VISIBLE_DEVICES: '1' } };
    expect(await takeDevice(visible, machine([0]))).toEqual({ device: { kind: 'cuda', visible: null }, warning: null });
  });

  it('never shares accelerators', async () => {
    const three = machine([0], [0, 1, 2]);
    const wish = { ...WISH, accelerator: 'nvidia-h100', tensorParallel: 2 };
    expect(await takeDevice(wish, three)).toEqual({ device: { kind: 'cuda', visible: [0, 1] }, warning: null });
    await expect(takeDevice(wish, three)).rejects.toThrow('2 free nvidia-h100 wanted, and this machine has 3 in all');
    // What the failed one had taken is free again.
    expect(await takeDevice({ ...wish, tensorParallel: 1 }, three)).toMatchObject({ device: { visible: [2] } });
  });
});

it('frees a unit when its owner lets go', async () => {
  const options = { scope: `test-${randomUUID()}`, maxOwners: 1 };
  const first = await claimUnits('core', [0], 1, options);
  expect(await claimUnits('core', [0], 1, options)).toBeNull();
  first?.release();
  await expect.poll(() => claimUnits('core', [0], 1, options)).not.toBeNull();
});

it('reads what the system says', () => {
  expect(allowedCores('Name:\tnode\nCpus_allowed_list:\t0-2,7\nMems_allowed:\t1\n')).toEqual([0, 1, 2, 7]);
  expect(allowedCores().length).toBeGreaterThan(0);
  expect(presentAccelerators(['nvidia10', 'nvidia2', 'nvidiactl', 'null'])).toEqual([2, 10]);
});
