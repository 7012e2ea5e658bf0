/** Pods that listen, and pods that try what can be reached. They run the image of Sluice, which has Node and no shell. */
import type { Pod } from '../../../src/platform/kubernetes/index.ts';
import type { Admin } from '../admin.ts';
import { until } from '../bed.ts';
import { IMAGE } from './images.ts';
import { describePods } from './pods.ts';

/** `host:port` -> whether a TCP connection comes about. */
export type Reach = Readonly<Record<string, boolean>>;

/**
 * Rules follow a pod a moment after it has its address, so it tries until what it sees is what is expected, or for a minute: then it says
 * what it saw. What is dropped is never answered.
 */
const PROBE = `import { connect } from 'node:net';
const expected = JSON.parse(process.env.EXPECTED);
const reach = (at) => new Promise((resolve) => {
  const [host, port] = at.split(':');
  const socket = connect({ host, port: Number(port) });
  const end = (answer) => { socket.destroy(); resolve([at, answer]); };
  socket.setTimeout(3_000, () => end(false));
  socket.on('connect', () => end(true)).on('error', () => end(false));
});
const deadline = Date.now() + 60_000;
let seen;
do {
  seen = Object.fromEntries(await Promise.all(Object.keys(expected).map(reach)));
} while (Object.keys(expected).some((at) => seen[at] !== expected[at]) && Date.now() < deadline);
console.log(JSON.stringify(seen));
`;
const LISTENER = `import { createServer } from 'node:net';
for (const port of process.env.PORTS.split(',')) createServer((socket) => socket.end()).listen(Number(port));
`;
const ENDED_WITHIN_MS = 180_000;

export interface Probe {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly expected: Reach;
}

/** What a pod with these labels reaches once that is as expected, else what it reaches after a minute. */
export async function settledReach(admin: Admin, { namespace, labels, expected }: Probe): Promise<Reach> {
  const pod = await start(admin, namespace, { labels, script: PROBE, env: { EXPECTED: JSON.stringify(expected) } });
  const ended = await pod.until(({ status }) => status?.phase === 'Succeeded' || status?.phase === 'Failed');
  const said = (await admin.request('GET', `${pod.path}/log`)).body;
  await admin.demand('DELETE', pod.path);
  if (ended.status?.phase !== 'Succeeded') throw new Error(`the probe failed: ${said}`);
  return JSON.parse(said);
}

export interface Listener {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly number[];
  /** By port. */
  readonly names?: Readonly<Record<number, string>>;
}

/** Address of a pod that takes connections. It goes with its namespace, or when its user deletes it. */
export async function listeningPod(admin: Admin, { namespace, labels, ports, names = {} }: Listener): Promise<string> {
  const named = Object.entries(names).map(([port, name]) => ({ containerPort: Number(port), name }));
  const pod = await start(admin, namespace, { labels, script: LISTENER, env: { PORTS: ports.join(',') }, ports: named });
  const running = await pod.until(({ status }) => status?.phase === 'Running' && status.podIP !== undefined);
  return running.status?.podIP ?? '';
}

interface Work {
  readonly labels: Readonly<Record<string, string>>;
  readonly script: string;
  readonly env: Readonly<Record<string, string>>;
  readonly ports?: readonly { readonly containerPort: number; readonly name: string }[];
}

interface StartedPod {
  readonly path: string;
  until(holds: (pod: Pod) => boolean): Promise<Pod>;
}

async function start(admin: Admin, namespace: string, { labels, script, env, ports = [] }: Work): Promise<StartedPod> {
  const container = {
    name: 'node',
    image: IMAGE,
    imagePullPolicy: 'Never',
    command: ['node', '--input-type=module', '--eval', script],
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
    ports,
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, readOnlyRootFilesystem: true },
  };
  const securityContext = { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } };
  const spec = {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    securityContext,
    containers: [container],
  };
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const made = await admin.demand<Pod>('POST', pods, { body: { metadata: { generateName: 'probe-', labels }, spec } });
  const path = `${pods}/${made.metadata.name}`;
  return {
    path,
    async until(holds) {
      let last = made;
      await until(
        async () => {
          last = await admin.demand('GET', path);
          return holds(last);
        },
        () => describePods({ items: [last] }),
        ENDED_WITHIN_MS,
      );
      return last;
    },
  };
}
