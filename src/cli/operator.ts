/** `sluice operator`: one operator process. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { FIELD_MANAGER, KV_TIERS, Operator, type OperatorPeers, SERVING_DEPLOYMENTS, SERVING_POOLS } from '../controller/operator/index.ts';
import {
  CONTROLLER_REVISIONS,
  connect,
  Election,
  type ElectionNotice,
  KubernetesClient,
  KubernetesError,
  NETWORK_POLICIES,
  PODS,
  type Transport,
} from '../platform/kubernetes/index.ts';
import { systemClock } from '../shared/index.ts';
import { createLogger, type Logger } from '../telemetry/index.ts';
import type { Context } from './context.ts';
import { untilEnded } from './lifetime.ts';
import { OPERATOR_HELP, type OperatorFlags, type OperatorsFrom, readOperatorFlags } from './operatorflags.ts';
import { OperatorHealth } from './operatorhealth.ts';

const USAGE_ERROR = 2;
const FAILED = 1;

const LEASE = 'sluice-operator';
/** For rounds that run when it is asked to end. */
const GRACE_MS = 10_000;

/** Runs until a signal. @returns the exit code */
export async function operatorCommand(argv: readonly string[], context: Context): Promise<number> {
  const read = readOperatorFlags(argv, context.env);
  if (read.kind === 'help') {
    context.stdout.write(OPERATOR_HELP);
    return 0;
  }
  if (read.kind === 'wrong') {
    context.stderr.write(`sluice operator: ${read.message}\nsluice operator --help tells what there is.\n`);
    return USAGE_ERROR;
  }
  // Rounds leave little behind, and their garbage is collected before memory is asked for: it shares its node with what needs memory.
  setFlagsFromString('--optimize-for-size');
  const ended = untilEnded();
  const log = createLogger({ name: 'operator', level: read.flags.logLevel, format: process.stderr.isTTY ? 'pretty' : 'json' });
  try {
    return await run(read.flags, ended.reason, log);
  } catch (thrown) {
    context.stderr.write(`sluice operator: ${explain(thrown)}\n`);
    return FAILED;
  } finally {
    ended.stop();
  }
}

async function run(flags: OperatorFlags, ended: Promise<unknown>, log: Logger): Promise<number> {
  const { kubeconfig, context, leaseNamespace, leaderElect } = flags;
  const access =
    kubeconfig === null
      ? ({ kind: 'in-cluster' } as const)
      : ({ kind: 'kubeconfig', path: kubeconfig, ...(context === null ? {} : { context }) } as const);
  const { transport, namespace } = await connect(access, 'sluice-operator');
  const client = new KubernetesClient({ transport, fieldManager: FIELD_MANAGER });
  const identity = `${hostname()}-${randomBytes(4).toString('hex')}`;
  let operator: Operator | null = null;
  let isLeader = () => false;
  const health = new OperatorHealth({ isLeader: () => isLeader(), state: () => operator?.state() ?? null });
  await Promise.race([demandAccess(client, flags.namespace), ended]);
  const url = await health.listen(flags.healthHost, flags.healthPort);
  log.info({ url, identity, namespace: flags.namespace ?? 'all', image: flags.image, operatorsFrom: flags.operatorsFrom }, 'listens');

  async function lead(signal: AbortSignal): Promise<void> {
    const guarded = new KubernetesClient({ transport: whileLeading(transport, signal, () => isLeader()), fieldManager: FIELD_MANAGER });
    const own = { operatorPeers: peersOf(flags.operatorsFrom, namespace), identity, clock: systemClock, log };
    const options = { client: guarded, namespace: flags.namespace, image: flags.image, ...own };
    operator = new Operator({ ...options, leads: () => isLeader(), onRound: ({ ms, failed }) => health.round(ms, failed) });
    const over = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    const starting = operator.start();
    await over;
    await operator.stop(GRACE_MS);
    await starting;
    operator = null;
  }

  try {
    if (leaderElect) {
      const notice = (said: ElectionNotice) => tell(log, said);
      const lease = { namespace: leaseNamespace ?? namespace, name: LEASE, identity };
      const election = new Election({ client, ...lease, lead: (term) => lead(term.signal), notice });
      isLeader = () => election.isLeader();
      const running = election.start();
      await Promise.race([ended, running]);
      log.info({ graceMs: GRACE_MS }, 'stops');
      await election.stop();
    } else {
      isLeader = () => true;
      const stop = new AbortController();
      void ended.then(() => stop.abort());
      await lead(stop.signal);
    }
  } finally {
    health.close();
    transport.close();
  }
  log.info('ended');
  return 0;
}

/** Labels of the pods of operators, however they were installed. */
const OPERATOR_PODS = { 'app.kubernetes.io/name': 'sluice', 'app.kubernetes.io/component': 'operator' };

/** @param namespace that this process is in */
function peersOf(from: OperatorsFrom, namespace: string): OperatorPeers {
  switch (from.kind) {
    case 'pods': {
      // Every namespace has this label of its name.
      const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': namespace } };
      return [{ namespaceSelector, podSelector: { matchLabels: OPERATOR_PODS } }];
    }
    case 'addresses':
      return from.cidrs.map((cidr) => ({ ipBlock: { cidr } }));
    case 'anywhere':
      return null;
  }
}

/** What it cannot do without, asked for before anything else: a missing resource or right is told at once, and the process ends. */
async function demandAccess(client: KubernetesClient, namespace: string | null): Promise<void> {
  const scope = namespace === null ? {} : { namespace };
  await client.list(SERVING_DEPLOYMENTS, scope);
  await client.list(SERVING_POOLS, scope);
  await client.list(KV_TIERS, scope);
  await client.list(NETWORK_POLICIES, scope);
  await client.list(CONTROLLER_REVISIONS, scope);
  await client.list(PODS, { ...scope, labelSelector: 'app.kubernetes.io/managed-by=sluice' });
}

/**
 * Nothing is written by one that may have been deposed, and what it was writing when it was is taken back. A stop in order is no
 * deposition: what runs then ends under the lease.
 */
function whileLeading(transport: Transport, term: AbortSignal, leads: () => boolean): Transport {
  const writing = new Set<AbortController>();
  const takeBack = () => {
    if (!leads()) for (const one of writing) one.abort();
  };
  term.addEventListener('abort', takeBack, { once: true });
  return {
    async send(request) {
      if (request.method === 'GET') return transport.send(request);
      if (!leads()) throw new Error('this process does not lead any more');
      const own = new AbortController();
      if (request.signal.aborted) own.abort();
      request.signal.addEventListener('abort', () => own.abort(), { once: true });
      writing.add(own);
      try {
        return await transport.send({ ...request, signal: own.signal });
      } finally {
        writing.delete(own);
      }
    },
    close: () => transport.close(),
  };
}

function tell(log: Logger, notice: ElectionNotice): void {
  switch (notice.kind) {
    case 'waiting':
      return log.info({ leader: notice.leader }, 'waits: another one leads');
    case 'leading':
      return log.info({ term: notice.term }, 'leads');
    case 'lost':
      return log.warn({ term: notice.term, why: notice.why }, 'does not lead any more');
    case 'released':
      return log.info({ term: notice.term }, 'the lease is given back');
    case 'trouble':
      return log.warn({ err: notice.error }, 'trouble with the lease');
  }
}

function explain(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  if (!(thrown instanceof KubernetesError)) {
    const code = 'code' in thrown ? thrown.code : null;
    if (code === 'EADDRINUSE') return `--health-port: something else listens there; choose another port, or 0 for any free one`;
    return thrown.message;
  }
  switch (thrown.reason) {
    case 'configuration':
      return `${thrown.message} Outside a cluster: --kubeconfig ~/.kube/config`;
    case 'unknown_resource':
      return `${thrown.message} That is: kubectl apply --server-side -f crds/`;
    case 'forbidden':
      return `${thrown.message} All that the operator needs is in manifests/operator/rbac.yaml: kubectl apply -f manifests/operator/rbac.yaml`;
    default:
      return thrown.message;
  }
}
