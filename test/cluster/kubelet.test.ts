/** The process kubelet, since other tests believe what it writes. */
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { type Draft, PODS, type Pod } from '../../src/platform/kubernetes/index.ts';
import { Admin } from './admin.ts';
import { type Bed, openClient, until } from './bed.ts';
import { ProcessKubelet } from './kubelet.ts';

/** A program that says what it was given, and ends and answers as it is told over HTTP. */
const PROGRAM = `
const { createServer } = require('node:http');
const { POD_IP, MODE = '', TMPDIR } = process.env;
if (MODE === 'crash') { console.error('no such model'); process.exit(3); }
if (MODE === 'deaf') process.on('SIGTERM', () => {});
if (MODE === 'slow') process.on('SIGTERM', () => setTimeout(() => process.exit(0), 1_000));
let well = true;
createServer((request, response) => {
  if (request.url === '/break') well = false;
  response.statusCode = well || request.url === '/environment' ? 200 : 503;
  response.end(JSON.stringify({ ip: POD_IP, tmp: TMPDIR, args: process.argv.slice(1) }));
}).listen(8000, POD_IP);
`;

let admin: Admin;
let bed: Bed;
let namespace = '';
let kubelet: ProcessKubelet;
beforeEach(async () => {
  const kubeconfig = inject('kubeconfig');
  admin = new Admin(kubeconfig);
  bed = await openClient(kubeconfig, 'sluice-test');
  namespace = await admin.namespace('kubelet');
  const programs = { speaker: [process.execPath, '-e', PROGRAM] };
  kubelet = new ProcessKubelet({ admin, client: bed.client, namespace, programs, speed: 20 });
  await kubelet.start();
});
afterEach(async () => {
  const pids = [...kubelet.processes().values()];
  await kubelet.stop();
  bed.close();
  for (const pid of pids) expect(isAlive(pid), `process ${pid} was left behind`).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** A busy machine takes long to start a process. */
const PATIENCE_MS = 100_000;
vi.setConfig({ testTimeout: 2 * PATIENCE_MS });

const PROBE = { httpGet: { path: '/health', port: 8000 }, periodSeconds: 2, timeoutSeconds: 2 };

function draft(name: string, mode = '', graceSeconds = 30): Draft<Pod> {
  const env = [
    { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    { name: 'MODE', value: mode },
    { name: 'TMPDIR', value: '/tmp/speaker' },
  ];
  const container = {
    name: 'main',
    image: 'example.com/speaker',
    command: ['speaker'],
    args: ['--', '$(POD_IP):8000', '$$(POD_IP)', '/tmp/speaker/model'],
    env,
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp/speaker' }],
    startupProbe: { ...PROBE, failureThreshold: 1_000 },
    readinessProbe: PROBE,
    livenessProbe: { ...PROBE, failureThreshold: 5 },
  };
  const spec = { containers: [container], volumes: [{ name: 'tmp', emptyDir: {} }], terminationGracePeriodSeconds: graceSeconds };
  return { metadata: { name, namespace }, spec };
}

async function create(name: string, mode = '', graceSeconds = 30): Promise<void> {
  const made = await bed.client.create(PODS, draft(name, mode, graceSeconds));
  if (made.kind !== 'written') throw new Error(JSON.stringify(made));
}

const read = (name: string) => bed.client.get(PODS, { name, namespace });

/** The pod, once it is as `holds` says. */
async function seen(name: string, holds: (pod: Pod) => boolean): Promise<Pod> {
  let pod: Pod | null = null;
  await until(
    async () => {
      pod = await read(name);
      return pod !== null && holds(pod);
    },
    () => JSON.stringify(pod === null ? null : Object(pod).status, null, 1),
    PATIENCE_MS,
  );
  if (pod === null) throw new Error('gone');
  return pod;
}

const container = (pod: Pod) => pod.status?.containerStatuses?.[0];
const isReady = (pod: Pod) => pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
const ask = async (pod: Pod, path: string): Promise<unknown> => (await fetch(`http://${pod.status?.podIP}:8000${path}`)).json();

describe('a pod on the process kubelet', () => {
  it('gets a node, an address, its arguments and folders, and is ready when its probe says so', async () => {
    await Promise.all([create('one'), create('two')]);
    const pods = await Promise.all(['one', 'two'].map((name) => seen(name, isReady)));
    const [first, second] = pods;
    if (!first || !second) throw new Error('no pods');
    expect(first.spec?.nodeName).toBe(kubelet.nodeName);
    expect(first.status?.podIP).not.toBe(second.status?.podIP);
    expect(container(first)).toMatchObject({ ready: true, started: true, restartCount: 0, state: { running: {} } });
    const said = Object(await ask(first, '/environment'));
    const ip = first.status?.podIP;
    expect(said).toMatchObject({ ip, tmp: expect.stringMatching(/sluice-kubelet-.*\/tmp$/) });
    expect(said.args).toEqual([`${ip}:8000`, '$(POD_IP)', `${said.tmp}/model`]);
  });

  it('is deleted only when its process has ended: by SIGTERM, or SIGKILL after its grace', async () => {
    const names = ['slow', 'deaf'];
    await Promise.all([create('slow', 'slow'), create('deaf', 'deaf', 3)]);
    await Promise.all(names.map((name) => seen(name, isReady)));
    const pids = kubelet.processes();
    const began = performance.now();
    const goneMs: Record<string, number> = {};
    await Promise.all(
      names.map(async (name) => {
        await bed.client.delete(PODS, { name, namespace });
        await until(
          async () => (await read(name)) === null,
          () => `${name} is still there`,
          PATIENCE_MS,
        );
        goneMs[name] = performance.now() - began;
        expect(isAlive(pids.get(name) ?? 0)).toBe(false);
      }),
    );
    // It took the second that it wanted; times in the API are whole seconds, so that a grace of 3 s may be 2.
    expect(goneMs['slow']).toBeGreaterThan(1_000);
    expect(goneMs['deaf']).toBeGreaterThan(2_000);
    expect(kubelet.processes().size).toBe(0);
  });

  it('says how its process ended, and starts it again with a growing pause', async () => {
    await create('crasher', 'crash');
    const pod = await seen('crasher', (one) => (container(one)?.restartCount ?? 0) >= 3 && container(one)?.state?.waiting !== undefined);
    expect(container(pod)).toMatchObject({
      ready: false,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 3, reason: 'Error', message: 'no such model' } },
    });
    expect(pod.status?.phase).toBe('Running');
  });

  it('lives again with the same address and another container after a SIGKILL', async () => {
    await create('victim');
    const before = await seen('victim', isReady);
    kubelet.kill('victim');
    const after = await seen('victim', (pod) => isReady(pod) && container(pod)?.restartCount === 1);
    expect(after.status?.podIP).toBe(before.status?.podIP);
    expect(container(after)?.containerID).not.toBe(container(before)?.containerID);
    expect(container(after)?.lastState?.terminated).toMatchObject({ exitCode: 137 });
  });

  it('loses its readiness and then its container when it does not answer well', async () => {
    await create('sick');
    await ask(await seen('sick', isReady), '/break');
    await seen('sick', (pod) => !isReady(pod));
    const after = await seen('sick', (pod) => isReady(pod) && container(pod)?.restartCount === 1);
    expect(container(after)?.lastState?.terminated).toMatchObject({ exitCode: 143 });
    expect(kubelet.logs('sick')).toMatch('liveness probe failed');
  });

  it('waits without a node, without an image, and fails when it is evicted: as it is told', async () => {
    kubelet.holdScheduling(({ metadata }) => metadata.name === 'late');
    kubelet.failPull(({ metadata }) => metadata.name === 'imageless');
    await Promise.all([create('late'), create('imageless'), create('evicted')]);
    const late = await seen('late', (pod) => pod.status?.conditions?.[0]?.reason === 'Unschedulable');
    expect(late.spec?.nodeName).toBeUndefined();
    const imageless = await seen('imageless', (pod) => container(pod)?.state?.waiting?.reason === 'ImagePullBackOff');
    expect(container(imageless)?.state?.waiting?.message).toMatch('example.com/speaker');
    await seen('evicted', isReady);
    await kubelet.evict('evicted');
    const evicted = await seen('evicted', (pod) => pod.status?.phase === 'Failed');
    expect(evicted.status).toMatchObject({ reason: 'Evicted', message: expect.stringMatching('memory') });
    expect(await answers(evicted)).toBe(false);
    kubelet.holdScheduling(null);
    kubelet.failPull(null);
    await Promise.all([seen('late', isReady), seen('imageless', isReady)]);
  });
});

function answers(pod: Pod): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: pod.status?.podIP ?? '', port: 8000 });
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('close', () => socket.destroy());
  });
}
