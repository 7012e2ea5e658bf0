/** The flags of `sluice operator`, checked. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { type FlagDefinition, parseFlags } from './flags.ts';

export interface OperatorFlags {
  /** Null = in-cluster. */
  readonly kubeconfig: string | null;
  readonly context: string | null;
  /** Null = all. */
  readonly namespace: string | null;
  readonly image: string;
  readonly operatorsFrom: OperatorsFrom;
  readonly leaderElect: boolean;
  /** Null = that of the context or pod. */
  readonly leaseNamespace: string | null;
  readonly healthHost: string;
  readonly healthPort: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** Where operators connect from, as NetworkPolicies are to know it. */
export type OperatorsFrom =
  /** Pods of the operator, in the namespace that this process is in. */
  | { readonly kind: 'pods' }
  | { readonly kind: 'addresses'; readonly cidrs: readonly string[] }
  /** Not known: no policies are made. */
  | { readonly kind: 'anywhere' };

export type OperatorArguments =
  | { readonly kind: 'run'; readonly flags: OperatorFlags }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly message: string };

const TEXT = { type: 'string' } as const;
const SWITCH = { type: 'boolean' } as const;
const DEFINITIONS = {
  kubeconfig: TEXT,
  context: TEXT,
  namespace: { type: 'string', short: 'n' },
  image: TEXT,
  'operators-from': TEXT,
  'leader-elect': SWITCH,
  'no-leader-elect': SWITCH,
  'lease-namespace': TEXT,
  'health-host': TEXT,
  'health-port': TEXT,
  'log-level': TEXT,
  help: { type: 'boolean', short: 'h' },
} as const satisfies Record<string, FlagDefinition>;

const HEALTH_PORT = 8081;
const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** @param env `KUBECONFIG` and `SLUICE_IMAGE` stand in for flags that are not given. */
export function readOperatorFlags(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): OperatorArguments {
  const parsed = parseFlags(argv, DEFINITIONS);
  if (!parsed.ok) return { kind: 'wrong', message: parsed.message };
  const { flags } = parsed;
  if (flags.help) return { kind: 'help' };
  const image = flags.image ?? env['SLUICE_IMAGE'] ?? '';
  const kubeconfig = flags.kubeconfig ?? (env['KUBECONFIG'] || null);
  const port = flags['health-port'] ?? String(HEALTH_PORT);
  const from = operatorsFrom(flags['operators-from'] ?? (kubeconfig === null ? 'pods' : 'anywhere'));
  const level = LEVELS.find((one) => one === (flags['log-level'] ?? 'info'));
  const wrong =
    (image === '' &&
      '--image must name the container image of Sluice, which routers and instances run; it is missing (or set SLUICE_IMAGE)') ||
    (flags['leader-elect'] && flags['no-leader-elect'] && '--leader-elect and --no-leader-elect exclude each other; give one of them') ||
    (flags.context !== null && kubeconfig === null && '--context chooses a context of a kubeconfig: give --kubeconfig FILE too') ||
    (from === null &&
      `--operators-from must be "pods", "anywhere" or address blocks such as 10.0.0.0/8,fd00::/8; got "${flags['operators-from']}"`) ||
    wrongNamespace('--namespace', flags.namespace) ||
    wrongNamespace('--lease-namespace', flags['lease-namespace']) ||
    (!(/^\d+$/.test(port) && Number(port) <= 65_535) && `--health-port must be a whole number from 0 to 65535; got "${port}"`) ||
    (level === undefined && `--log-level must be one of ${LEVELS.join(', ')}; got "${flags['log-level']}"`);
  if (wrong || level === undefined || from === null) return { kind: 'wrong', message: wrong || '' };
  return {
    kind: 'run',
    flags: {
      kubeconfig,
      context: flags.context,
      namespace: flags.namespace,
      image,
      operatorsFrom: from,
      leaderElect: !flags['no-leader-elect'],
      leaseNamespace: flags['lease-namespace'],
      healthHost: flags['health-host'] ?? '127.0.0.1',
      healthPort: Number(port),
      logLevel: level,
    },
  };
}

/** Null when it is none of them. */
function operatorsFrom(text: string): OperatorsFrom | null {
  if (text === 'pods' || text === 'anywhere') return { kind: text };
  const cidrs = text.split(',');
  return cidrs.every(isAddressBlock) ? { kind: 'addresses', cidrs } : null;
}

function isAddressBlock(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/');
  if (rest.length > 0 || !/^\d{1,3}$/.test(bits)) return false;
  return (isIPv4(address) && Number(bits) <= 32) || (isIPv6(address) && Number(bits) <= 128);
}

function wrongNamespace(flag: string, name: string | null): string | false {
  if (name === null || NAMESPACE.test(name)) return false;
  return `${flag} must be the name of a namespace: at most 63 lower-case letters, digits and "-"; got "${name}"`;
}

export const OPERATOR_HELP = `Usage: sluice operator --image IMAGE [flags]

Runs the operator: it looks after the ServingDeployments of a Kubernetes cluster. For each it keeps pods of instances and routers, a
ServingPool per role (kubectl scale, HorizontalPodAutoscaler), a Service in front of the routers, and disruption budgets; it rolls and
drains without losing accepted streams, and writes into the status what is so.

  --image IMAGE         container image of Sluice: routers run it, and instances that name no engine.image (or SLUICE_IMAGE)
  --kubeconfig FILE     cluster and user (default: KUBECONFIG; neither: the ServiceAccount of the pod that this runs in)
  --context NAME        context of the kubeconfig (default: its current one)
  --namespace NAME      look after this namespace only (default: all)
  --operators-from FROM where operators connect from, which the NetworkPolicies of deployments let through: "pods", those of the operator
                        in the namespace of this one (default in a pod); address blocks, 10.1.0.0/16,…; or "anywhere", which makes
                        no policies (default with a kubeconfig: what address such an operator comes from is not known)
  --no-leader-elect     do not wait for a Lease: nothing else may run for the same namespaces
  --lease-namespace N   where the Lease "sluice-operator" is (default: namespace of the context, or of the pod)
  --health-host ADDR    address of /healthz, /readyz and /metrics (default 127.0.0.1; in a pod 0.0.0.0)
  --health-port N       their port (default ${HEALTH_PORT}; 0: any free one)
  --log-level LEVEL     debug, info, warn or error (default info); JSON lines on standard error
  --help                this text

Before the first time, as an admin of the cluster:
  kubectl apply --server-side -f crds/               # the resources
  kubectl apply -f manifests/operator/rbac.yaml      # what the operator may do

Then:
  sluice operator --kubeconfig ~/.kube/config --image registry.example.com/sluice:0.1.0
  kubectl apply -f manifests/samples/simulated.yaml && kubectl get sd -w

SIGTERM: rounds that run end (10 s at most), the Lease is given back, exit code 0. Pods stay as they are.
`;
