/** What tests of the operator share: a cluster with our resources, a kubelet, operators in this process or as processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { Operator } from '../../src/controller/operator/index.ts';
import type { Pod } from '../../src/platform/kubernetes/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { Admin } from './admin.ts';
import { type Bed, isSettled, openClient, until } from './bed.ts';
import { ProcessKubelet } from './kubelet.ts';
import { guard } from './program.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const CRD_FOLDER = new URL('../../crds/', import.meta.url);
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const GROUP = '/apis/serving.sluice.dev/v1alpha1';
export const IMAGE = 'sluice:test';
/** No network here enforces what is written for them. */
export const OPERATORS = [{ ipBlock: { cidr: '127.0.0.0/8' } }];
/** Until processes that were started run: seconds, but this machine may have a lot to do. */
export const SLOW_MS = 200_000;

const PLURALS = { ServingDeployment: 'servingdeployments', KVTier: 'kvtiers', PinnedContext: 'pinnedcontexts' } as const;

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
}

export interface Stored {
  readonly metadata: { readonly name: string; readonly uid: string; readonly generation: number; readonly resourceVersion: string };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: {
    readonly observedGeneration?: number;
    readonly conditions?: readonly Condition[];
    readonly url?: string;
    readonly roles?: readonly Readonly<Record<string, unknown>>[];
    readonly replicas?: number;
    readonly readyReplicas?: number;
    readonly selector?: string;
  };
}

export class OperatorBed {
  readonly kubeconfig: string;
  readonly admin: Admin;
  readonly namespace: string;
  readonly kubelet: ProcessKubelet;
  /** Of the operator in this process: what it asked the API server. */
  readonly client: Bed;
  readonly #kubeletClient: Bed;
  readonly #log: string[] = [];
  readonly #rounds = new Map<string, number>();
  readonly #processes: OperatorProcess[] = [];
  #operator: Operator | null = null;

  private constructor(kubeconfig: string, namespace: string, [client, kubeletClient]: readonly [Bed, Bed]) {
    this.kubeconfig = kubeconfig;
    this.admin = new Admin(kubeconfig);
    this.namespace = namespace;
    this.client = client;
    this.#kubeletClient = kubeletClient;
    const programs = { sluice: [process.execPath, MAIN] };
    this.kubelet = new ProcessKubelet({ admin: this.admin, client: kubeletClient.client, namespace, programs, speed: 2 });
  }

  /** @param kubeconfig of an admin; the cluster gets our resources, and a namespace of its own for this bed. */
  static async open(kubeconfig: string, prefix: string): Promise<OperatorBed> {
    const admin = new Admin(kubeconfig);
    await installCrds(admin);
    const namespace = await admin.namespace(prefix);
    const clients = [await openClient(kubeconfig, 'sluice-operator'), await openClient(kubeconfig, 'kubelet')] as const;
    const bed = new OperatorBed(kubeconfig, namespace, clients);
    await bed.kubelet.start();
    return bed;
  }

  /** Starts an operator in this process. */
  async operate(): Promise<void> {
    const log = createLogger({ name: 'operator', level: 'info', format: 'json', destination: { write: (line) => this.#log.push(line) } });
    const own = { operatorPeers: OPERATORS, identity: 'test', leads: () => true, clock: systemClock, log };
    const options = { client: this.client.client, namespace: this.namespace, image: IMAGE, ...own };
    const onRound = ({ key }: { readonly key: string }) => this.#rounds.set(key, this.rounds(key) + 1);
    this.#operator = new Operator({ ...options, onRound });
    await this.#operator.start();
  }

  /** Deployments that the operator knows of. */
  known(): number {
    return this.#operator?.state().deployments ?? 0;
  }

  /** How often the operator in this process has looked at a deployment, by name or by key. */
  rounds(name: string): number {
    return this.#rounds.get(name.includes('/') ? name : `${this.namespace}/${name}`) ?? 0;
  }

  async rest(): Promise<void> {
    await this.#operator?.stop(5_000);
    this.#operator = null;
  }

  /** An operator as users run it. */
  run(args: readonly string[] = []): OperatorProcess {
    const given = ['--kubeconfig', this.kubeconfig, '--namespace', this.namespace, '--lease-namespace', this.namespace];
    const started = new OperatorProcess([...given, '--image', IMAGE, '--health-port', '0', ...args]);
    this.#processes.push(started);
    return started;
  }

  /** Kills the operators that `run` started. */
  async endAll(): Promise<void> {
    for (const one of this.#processes.splice(0)) await one.end('SIGKILL');
  }

  /** Its newest lines, for messages of tests that fail. */
  log(): string {
    return this.#log.slice(-15).join('');
  }

  async close(): Promise<void> {
    await this.rest();
    await this.endAll();
    await this.kubelet.stop();
    this.client.close();
    this.#kubeletClient.close();
  }

  put(name: string, spec: object): Promise<Stored> {
    return this.#apply('ServingDeployment', name, spec);
  }

  putTier(name: string, spec: object): Promise<Stored> {
    return this.#apply('KVTier', name, spec);
  }

  putPinned(name: string, spec: object): Promise<Stored> {
    return this.#apply('PinnedContext', name, spec);
  }

  #apply(kind: keyof typeof PLURALS, name: string, spec: object): Promise<Stored> {
    const body = JSON.stringify({ apiVersion: 'serving.sluice.dev/v1alpha1', kind, metadata: { name }, spec });
    const path = `${this.path(PLURALS[kind], name)}?fieldManager=user&force=true`;
    return this.admin.demand('PATCH', path, { body, contentType: 'application/apply-patch+yaml' });
  }

  async remove(name: string): Promise<void> {
    await this.admin.demand('DELETE', this.path('servingdeployments', name));
  }

  path(plural: 'servingdeployments' | 'servingpools' | 'kvtiers' | 'pinnedcontexts', name: string): string {
    return `${GROUP}/namespaces/${this.namespace}/${plural}/${name}`;
  }

  deployment(name: string): Promise<Stored> {
    return this.admin.demand('GET', this.path('servingdeployments', name));
  }

  pool(name: string): Promise<Stored> {
    return this.admin.demand('GET', this.path('servingpools', name));
  }

  async condition(name: string, type: string): Promise<Condition | null> {
    const { status } = await this.deployment(name);
    return status?.conditions?.find((one) => one.type === type) ?? null;
  }

  async pods(name: string, component?: string): Promise<Pod[]> {
    const labels = [
      `serving.sluice.dev/deployment=${name}`,
      ...(component === undefined ? [] : [`app.kubernetes.io/component=${component}`]),
    ];
    const path = `/api/v1/namespaces/${this.namespace}/pods?labelSelector=${encodeURIComponent(labels.join(','))}`;
    const { items } = await this.admin.demand<{ readonly items: readonly Pod[] }>('GET', path);
    return [...items].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  async podNames(name: string, component?: string): Promise<string[]> {
    return (await this.pods(name, component)).map(({ metadata }) => metadata.name);
  }

  /** Until the newest spec is served and nothing changes any more. */
  async settled(name: string, withinMs = SLOW_MS): Promise<Stored> {
    let last: Stored | null = null;
    await until(
      async () => {
        last = await this.deployment(name);
        return isSettled(last);
      },
      () => `${JSON.stringify(last?.status, null, 1)}\n${this.log()}`,
      withinMs,
    );
    return this.deployment(name);
  }

  /** Where the Service sends a request now: a router pod that is ready. */
  async endpoint(name: string): Promise<string> {
    const service = await this.admin.demand<{ readonly spec: { readonly selector: Readonly<Record<string, string>> } }>(
      'GET',
      `/api/v1/namespaces/${this.namespace}/services/${name}`,
    );
    const pods = await this.pods(name);
    const ready = pods.filter(
      ({ metadata, status }) =>
        Object.entries(service.spec.selector).every(([key, value]) => metadata.labels?.[key] === value) &&
        metadata.deletionTimestamp === undefined &&
        status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
    const pod = ready[Math.floor(Math.random() * ready.length)];
    const port = pod?.spec?.containers[0]?.ports?.find((one) => one.name === 'http')?.containerPort;
    if (!pod?.status?.podIP || port === undefined)
      throw new Error(`no router of ${name} is ready: ${JSON.stringify(pods.map((one) => one.status))}`);
    return `http://${pod.status.podIP}:${port}`;
  }

  /** Events of the stream; throws unless it ended well. */
  async stream(name: string, tokens: number, model = 'simulated'): Promise<number> {
    const response = await fetch(`${await this.endpoint(name)}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt: 'hello '.repeat(40), max_tokens: tokens, ignore_eos: true, seed: 1, stream: true }),
    });
    const text = await response.text();
    if (!text.endsWith('data: [DONE]\n\n') || text.includes('"error"')) throw new Error(`${response.status}: ${text.slice(-500)}`);
    return text.split('\n\n').filter((event) => event.includes('"text":"') && !event.includes('"text":""')).length;
  }

  /** Requests so far that change something. */
  writes(): string[] {
    return this.client.requests.filter((request) => !request.startsWith('GET '));
  }
}

/** Idempotent. */
export async function installCrds(admin: Admin): Promise<void> {
  for (const file of readdirSync(CRD_FOLDER)) {
    const definition = parse(readFileSync(new URL(file, CRD_FOLDER), 'utf8'));
    const made = await admin.request('POST', CRDS, { body: definition });
    if (made.status !== 201 && made.status !== 409) throw new Error(made.body);
  }
  for (const plural of ['servingdeployments', 'servingpools', 'kvtiers', 'pinnedcontexts']) {
    await until(
      async () => (await admin.request('GET', `${GROUP}/${plural}`)).status === 200,
      () => `${plural} are not served`,
    );
  }
}

export class OperatorProcess {
  readonly exit: Promise<number | null>;
  readonly #child: ChildProcess;
  #stderr = '';

  /** @param env besides that of this process. */
  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const [program = '', ...words] = [...guard(), process.execPath, MAIN, 'operator', ...args];
    this.#child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, KUBECONFIG: '', ...env } });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.exit = new Promise((resolve) => this.#child.on('close', (code) => resolve(code)));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  stderr(): string {
    return this.#stderr;
  }

  lines(): readonly Readonly<Record<string, unknown>>[] {
    return this.#stderr
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line));
  }

  async said(message: string): Promise<Readonly<Record<string, unknown>>> {
    const find = () => this.lines().find(({ msg }) => msg === message);
    await until(
      () => find() !== undefined,
      () => `it never said "${message}": ${this.#stderr.slice(-2_000)}`,
      SLOW_MS,
    );
    return find() ?? {};
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.exit;
  }
}
