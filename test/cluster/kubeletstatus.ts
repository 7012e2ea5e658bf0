/** What a kubelet writes of a pod: pure. */
import type { Exit } from './kubeletcontainer.ts';

export type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
  | { readonly kind: 'running'; readonly startedAt: string }
  | { readonly kind: 'terminated'; readonly terminated: Terminated };

export interface Terminated {
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly containerID: string;
  readonly startedAt: string;
  readonly finishedAt: string;
}

export interface ContainerView {
  readonly name: string;
  readonly image: string;
  readonly containerID: string | null;
  readonly restarts: number;
  readonly started: boolean;
  readonly ready: boolean;
  readonly state: ContainerState;
  readonly last: Terminated | null;
}

export interface PodView {
  readonly podIp: string;
  readonly startTime: string;
  readonly restartPolicy: string;
  readonly container: ContainerView;
  /** Set when the pod has failed as a whole: evicted, its node lost. */
  readonly failed: { readonly reason: string; readonly message: string } | null;
}

export function terminated(
  exit: Exit,
  life: { readonly containerID: string; readonly startedAt: string; readonly finishedAt: string },
): Terminated {
  return { exitCode: exit.code, reason: exit.code === 0 ? 'Completed' : 'Error', message: exit.words, ...life };
}

export function podStatus(view: PodView): Record<string, unknown> {
  const { podIp, startTime, container, failed } = view;
  const ready = container.ready && failed === null;
  const condition = (type: string, holds: boolean, why?: string) => ({
    type,
    status: holds ? 'True' : 'False',
    lastProbeTime: null,
    // The time of the change is not kept here: nobody who is tested reads it.
    lastTransitionTime: startTime,
    ...(holds || why === undefined ? {} : { reason: why, message: `containers with unready status: [${container.name}]` }),
  });
  return {
    phase: phaseOf(view),
    podIP: podIp,
    podIPs: [{ ip: podIp }],
    hostIP: '127.0.0.1',
    startTime,
    reason: failed?.reason ?? null,
    message: failed?.message ?? null,
    conditions: [
      condition('PodScheduled', true),
      condition('Initialized', true),
      condition('ContainersReady', ready, 'ContainersNotReady'),
      condition('Ready', ready, 'ContainersNotReady'),
    ],
    containerStatuses: [
      {
        name: container.name,
        image: container.image,
        imageID: '',
        ...(container.containerID === null ? {} : { containerID: container.containerID }),
        ready,
        started: container.started,
        restartCount: container.restarts,
        state: stateOf(container.state),
        lastState: container.last === null ? {} : { terminated: container.last },
      },
    ],
  };
}

function phaseOf({ container, failed, restartPolicy }: PodView): string {
  if (failed) return 'Failed';
  if (container.state.kind === 'terminated' && restartPolicy !== 'Always')
    return container.state.terminated.exitCode === 0 ? 'Succeeded' : 'Failed';
  return container.containerID === null ? 'Pending' : 'Running';
}

function stateOf(state: ContainerState): Record<string, unknown> {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason, message: state.message } };
    case 'running':
      return { running: { startedAt: state.startedAt } };
    case 'terminated':
      return { terminated: state.terminated };
  }
}
