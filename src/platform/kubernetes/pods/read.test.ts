import { describe, expect, it } from 'vitest';
import type { Pod } from '../builtin.ts';
import { drainingSince, type Hello, lifeOf, readInstance, readRouter } from './read.ts';

type Status = NonNullable<Pod['status']>;
type Container = NonNullable<Status['containerStatuses']>[number];

const SECOND = 1_000;
/** Wall time of the tests: 12:01:00, at 500,000 ms of the monotonic clock. */
const NOW = { nowMs: 500_000, wallMs: Date.parse('2030-01-01T12:01:00Z') };
const HELLO: Hello = { incarnation: 'i1', transfer: { host: '10.0.0.5', port: 4711 } };

function pod(container: Partial<Container>, status: Partial<Status> = {}, meta: Partial<Pod['metadata']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'chat-decode-1',
      namespace: 'team',
      uid: 'u1',
      resourceVersion: '1',
      creationTimestamp: '2030-01-01T12:00:00Z',
      labels: {
        'serving.sluice.dev/deployment': 'chat',
        'serving.sluice.dev/role': 'decode',
        'serving.sluice.dev/revision': 'r1',
        'serving.sluice.dev/family': 'f1',
        'app.kubernetes.io/component': 'decode',
      },
      annotations: { 'serving.sluice.dev/model-name': 'tiny' },
      ...meta,
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.5',
      containerStatuses: [{ name: 'engine', image: 'example.com/x:1', imageID: '', ready: false, restartCount: 0, ...container }],
      ...status,
    },
  };
}

const RUNNING = { state: { running: { startedAt: '2030-01-01T12:00:30Z' } }, started: true, containerID: 'c1' };
const READY = { conditions: [{ type: 'Ready', status: 'True' }] };
const instance = (one: Pod, hello: Hello | null = HELLO) => readInstance(one, 'chat', hello, NOW);
const ended = (exitCode: number, reason: string, message?: string) => {
  return { exitCode, reason, ...(message === undefined ? {} : { message }), finishedAt: '2030-01-01T12:00:50Z' };
};

describe('an instance', () => {
  it('that is ready is told with all that it said, and times of ours', () => {
    expect(instance(pod(RUNNING, READY))).toEqual({
      name: 'decode-1',
      role: 'decode',
      modelName: 'tiny',
      family: 'f1',
      revision: 'r1',
      phase: 'ready',
      startedMs: 500_000 - 30 * SECOND,
      failedMs: null,
      failures: 0,
      lastError: null,
      heals: false,
      incarnation: 'i1',
      address: { url: 'http://10.0.0.5:8000', transfer: HELLO.transfer },
      drainingSinceMs: null,
    });
  });

  it('keeps the mark that it drains, and has no address before it said something', () => {
    const annotations = { 'serving.sluice.dev/draining-since': '2030-01-01T12:00:55Z' };
    expect(instance(pod(RUNNING, READY, { annotations }), null)).toMatchObject({
      incarnation: null,
      address: null,
      drainingSinceMs: 500_000 - 5 * SECOND,
    });
  });

  it.each([
    ['its own mark', 500, 500, 500],
    ['that of another whose clock is ahead', 30_500, 600, 600],
    ['that of another whose clock is behind: not as old as it seems', -29_500, 600, 600],
    ['that of another, long ago', -600_000, 600, -540_000],
    ['one that cannot be read', null, 600, 600],
    ['one that was not seen yet', 500, null, 500],
    ['none', null, null, null],
  ])('drains since: %s', (_what, told, seen, since) => {
    expect(drainingSince(told, seen)).toBe(since);
  });

  it('that is asked to go stops, whatever else holds', () => {
    const crashed = { state: { waiting: { reason: 'CrashLoopBackOff' } } };
    const going = { deletionTimestamp: '2030-01-01T12:01:30Z' };
    expect(instance(pod(crashed, READY, going))?.phase).toBe('stopping');
  });

  it.each<readonly [string, Pod, RegExp]>([
    [
      'no node',
      pod({}, { conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes are available.' }] }),
      /^pod team\/chat-decode-1 fits no node: 0\/3 nodes are available\. .*spec\.decode\.resources/,
    ],
    [
      'no image',
      pod({ state: { waiting: { reason: 'ImagePullBackOff', message: 'not found' } } }),
      /cannot get image "example\.com\/x:1" \(ImagePullBackOff\): not found\. .*spec\.engine\.image.*spec\.decode\.podOverrides\.imagePullSecrets/,
    ],
    [
      'no container',
      pod({ state: { waiting: { reason: 'CreateContainerConfigError', message: 'secret "x" not found' } } }),
      /cannot start its container .*secret "x" not found.*kubectl describe pod chat-decode-1 -n team/,
    ],
  ])('that waits for %s starts, and says what to do', (_, one, message) => {
    expect(instance(one)).toMatchObject({ phase: 'starting', heals: false, failures: 0, lastError: expect.stringMatching(message) });
  });

  it('that ended has failed, heals by itself, and says its last words as a person reads them', () => {
    const words = '{"level":30,"msg":"starts"}\nsluice engine: --model /m.gguf: no such file\n';
    const crashed = {
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: ended(1, 'Error', words) },
      restartCount: 4,
    };
    expect(instance(pod(crashed))).toMatchObject({
      phase: 'failed',
      heals: true,
      failures: 5,
      failedMs: 500_000 - 10 * SECOND,
      lastError: 'pod team/chat-decode-1: exit code 1: --model /m.gguf: no such file',
    });
  });

  it('that ran out of memory says which limit to raise', () => {
    const killed = { state: { terminated: ended(137, 'OOMKilled') } };
    expect(instance(pod(killed))?.lastError).toMatch(/exit code 137, OOMKilled.*spec\.decode\.resources\.limits\.memory/);
  });

  it('whose pod is over has failed for good', () => {
    const evicted = pod({ state: { terminated: ended(137, 'Error') } }, { phase: 'Failed', reason: 'Evicted', message: 'low on memory' });
    expect(instance(evicted)).toMatchObject({ phase: 'failed', heals: false, lastError: expect.stringMatching(/Evicted: low on memory/) });
  });

  it('forgets failures after a while of service', () => {
    const before = { restartCount: 2, lastState: { terminated: ended(1, 'Error', 'why') } };
    expect(instance(pod({ ...RUNNING, ...before }, READY))).toMatchObject({ failures: 2, lastError: expect.stringMatching(/why/) });
    const longAgo = { ...RUNNING, ...before, state: { running: { startedAt: '2030-01-01T11:59:59Z' } } };
    expect(instance(pod(longAgo, READY))).toMatchObject({ failures: 0, lastError: null });
  });

  it('of another deployment whose name begins alike is none', () => {
    expect(readInstance(pod(RUNNING, READY), 'chatter', null, NOW)).toBeNull();
  });
});

describe('one life of a container', () => {
  it('is another one after a restart, and none while it does not run', () => {
    const lives = [pod(RUNNING), pod({ ...RUNNING, restartCount: 1, containerID: 'c2' })].map(lifeOf);
    expect(new Set(lives).size).toBe(2);
    expect(lifeOf(pod({ state: { waiting: { reason: 'CrashLoopBackOff' } }, containerID: 'c2' }))).toBeNull();
  });
});

describe('a router', () => {
  const labels = { 'app.kubernetes.io/component': 'router', 'serving.sluice.dev/deployment': 'chat' };
  const router = (container: Partial<Container>, status: Partial<Status> = {}, meta: Partial<Pod['metadata']> = {}) =>
    readRouter(pod(container, status, { name: 'chat-router-0', labels, ...meta }), 'chat', null, NOW);

  it('is up when its container has started, and serves when it says so', () => {
    expect(router(RUNNING)).toMatchObject({ name: 'router-0', phase: 'ready', accepting: true, serving: false });
    expect(router(RUNNING, READY)).toMatchObject({
      serving: true,
      url: 'http://10.0.0.5:8080',
      adminUrl: 'http://10.0.0.5:8081',
      instances: null,
    });
    expect(router({ ...RUNNING, started: false })).toMatchObject({ phase: 'starting', accepting: false });
  });

  it('takes nothing new when it is asked to go', () => {
    expect(router(RUNNING, READY, { deletionTimestamp: '2030-01-01T12:01:30Z' })).toMatchObject({
      phase: 'stopping',
      accepting: false,
      serving: false,
    });
  });

  it('is not taken for an instance', () => {
    expect(readInstance(pod(RUNNING, READY, { name: 'chat-router-0', labels }), 'chat', null, NOW)).toBeNull();
  });
});
