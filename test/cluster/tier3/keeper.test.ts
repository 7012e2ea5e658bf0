/** A node whose owner is killed without a word leaves nothing on the machine. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { until } from '../bed.ts';
import { cgroupFolders } from './keeper.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

interface Told {
  readonly folder: string;
  readonly name: string;
  readonly keeper: number;
}

/** Process ids in the pid namespace of the first process that the keeper holds. */
function processesIn(namespace: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/ns/pid`) === namespace;
    } catch {
      return false; // it has just ended
    }
  });
}

function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

it('is gone with a SIGKILL to whoever started it: processes, mounts, cgroups, interface and folder', async () => {
  const owner = spawn(process.execPath, [MAIN], { stdio: ['ignore', 'pipe', 'inherit'] });
  let told: Told | null = null;
  for await (const line of createInterface({ input: owner.stdout })) {
    told = JSON.parse(line);
    break;
  }
  if (told === null) throw new Error('it did not start');
  const { folder, name, keeper } = told;
  const [first] = childrenOf(keeper).flatMap(childrenOf);
  const namespace = readlinkSync(`/proc/${first}/ns/pid`);
  const cable = name.replace('sluice-node-', 'sluice');
  expect(processesIn(namespace).length).toBeGreaterThan(8);
  expect(cgroupFolders(name).some((root) => existsSync(root))).toBe(true);
  expect(Object.keys(networkInterfaces())).toContain(cable);
  // What it mounts, nobody else sees.
  expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(folder);

  owner.kill('SIGKILL');
  await until(
    () => !existsSync(`/proc/${keeper}`) && processesIn(namespace).length === 0,
    () => `still there: ${processesIn(namespace).join(' ')}`,
    120_000,
  );
  expect(existsSync(folder)).toBe(false);
  expect(cgroupFolders(name).filter((root) => existsSync(root))).toEqual([]);
  expect(Object.keys(networkInterfaces())).not.toContain(cable);
});
