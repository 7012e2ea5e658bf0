/**
 * A real kube-apiserver on its own etcd, on loopback and random ports, with all it writes in one temporary folder. Several can run at
 * once. It can be killed and started again with the same port and data, and frozen: what an operator has to live through.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../ports.ts';
import { Admin, call, type Login, writeKubeconfig } from './admin.ts';
import { type Program, requireProgram, type Tier } from './binaries.ts';
import { type RunningProgram, startProgram } from './program.ts';

/** Where a control plane runs that is not on this machine's loopback. */
export interface Place {
  /** Command that runs the one behind it there. */
  readonly enter: readonly string[];
  /** Of the API server, for pods and for us. */
  readonly address: string;
  readonly port: number;
  /** Addresses of Services. */
  readonly serviceRange: string;
  /** Is there and is removed by others. */
  readonly folder: string;
}

export interface ClusterOptions {
  /** Default 1. From 2 on Deployments get pods and pods get nodes; what runs them is in tier3/. */
  readonly tier?: Tier;
  readonly place?: Place;
  /** More flags of kube-apiserver, `--watch-cache=false`. */
  readonly flags?: readonly string[];
}

export interface TestCluster {
  readonly folder: string;
  readonly server: string;
  /** File of a kubeconfig whose user may do all. */
  readonly kubeconfig: string;
  readonly etcd: RunningProgram;
  /** The API server of now; another one after `restart`. */
  readonly apiServer: RunningProgram;
  readonly admin: Admin;
  /** Kills the API server when it runs and starts one with the same port, keys and data. Resolves when it is ready. */
  restart(): Promise<void>;
  /** etcd forgets all that was before now. Watches and lists that go on from there get `410 Gone` where no watch cache still knows. */
  compact(): Promise<void>;
  /** SIGKILL to all, and the folder is removed. Idempotent. */
  stop(): Promise<void>;
}

/** A machine that does much else takes minutes. */
const READY_WITHIN_MS = 240_000;
const POLL_MS = 50;
const START_ATTEMPTS = 3;

/** Resolves when the API server says that it is ready; throws with its last lines when it does not come up. */
export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  for (let attempt = 1; ; attempt += 1) {
    const cluster = await ControlPlane.create(options);
    try {
      await cluster.start();
      return cluster;
    } catch (error) {
      await cluster.stop();
      // Another process may have taken a port that was free a moment ago.
      if (attempt === START_ATTEMPTS || !String(error).includes('address already in use')) throw error;
    }
  }
}

interface Ports {
  readonly api: number;
  readonly etcd: number;
  readonly etcdPeer: number;
}

class ControlPlane implements TestCluster {
  readonly folder: string;
  readonly server: string;
  readonly kubeconfig: string;
  readonly #options: ClusterOptions;
  readonly #ports: Ports;
  readonly #token = randomBytes(16).toString('hex');
  readonly #programs = new Map<Program, RunningProgram>();
  readonly #removeFolder = () => rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });

  private constructor(options: ClusterOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.folder = options.place?.folder ?? mkdtempSync(join(tmpdir(), 'sluice-cluster-'));
    this.kubeconfig = join(this.folder, 'admin.kubeconfig');
    this.server = `https://${this.#address}:${ports.api}`;
    if (!options.place) process.once('exit', this.#removeFolder);
  }

  static async create(options: ClusterOptions): Promise<ControlPlane> {
    // Namespaces of their own have all ports free.
    const [api, etcd, etcdPeer] = await Promise.all([options.place?.port ?? freePort(), freePort(), freePort()]);
    return new ControlPlane(options, { api, etcd, etcdPeer });
  }

  get #address(): string {
    return this.#options.place?.address ?? '127.0.0.1';
  }

  get #controlled(): boolean {
    return (this.#options.tier ?? 1) > 1;
  }

  get etcd(): RunningProgram {
    return this.#program('etcd');
  }

  get apiServer(): RunningProgram {
    return this.#program('kube-apiserver');
  }

  async start(): Promise<void> {
    this.#writeKeys();
    this.#startEtcd();
    await this.#startApiServer();
    if (this.#controlled) await this.#startControllers();
  }

  async restart(): Promise<void> {
    await this.apiServer.kill();
    await this.#startApiServer();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#programs.values()].map((program) => program.kill()));
    if (this.#options.place) return;
    this.#removeFolder();
    process.off('exit', this.#removeFolder);
  }

  get admin(): Admin {
    return new Admin(this.kubeconfig);
  }

  async compact(): Promise<void> {
    const post = async (path: string, body: unknown): Promise<unknown> => {
      const answer = await fetch(`http://127.0.0.1:${this.#ports.etcd}${path}`, { method: 'POST', body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`etcd ${path}: ${await answer.text()}`);
      return answer.json();
    };
    const { header } = Object(await post('/v3/kv/range', { key: Buffer.from('x').toString('base64') }));
    await post('/v3/kv/compaction', { revision: header.revision, physical: true });
  }

  #program(name: Program): RunningProgram {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`${name} was not started`);
    return program;
  }

  #start(name: Program, args: readonly string[]): RunningProgram {
    const log = join(this.folder, `${name}.log`);
    const program = startProgram(requireProgram(name, process.env), args, log, this.#options.place?.enter);
    this.#programs.set(name, program);
    return program;
  }

  #startEtcd(): void {
    const client = `http://127.0.0.1:${this.#ports.etcd}`;
    const peer = `http://127.0.0.1:${this.#ports.etcdPeer}`;
    const data = join(this.folder, 'etcd');
    this.#start('etcd', [
      `--data-dir=${data}`,
      '--unsafe-no-fsync',
      '--log-level=warn',
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ]);
  }

  async #startApiServer(): Promise<void> {
    const file = (name: string) => join(this.folder, name);
    const program = this.#start('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${this.#ports.etcd}`,
      // Loopback can not be told to others as an address of the API server, so there is nothing to reconcile.
      ...(this.#options.place ? [] : ['--endpoint-reconciler-type=none']),
      `--bind-address=${this.#address}`,
      `--advertise-address=${this.#address}`,
      `--secure-port=${this.#ports.api}`,
      `--cert-dir=${file('pki')}`,
      `--service-account-key-file=${file('sa.pub')}`,
      `--service-account-signing-key-file=${file('sa.key')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-cluster-ip-range=${this.#options.place?.serviceRange ?? '10.0.0.0/24'}`,
      '--allow-privileged=true',
      '--authorization-mode=Node,RBAC',
      `--token-auth-file=${file('tokens.csv')}`,
      // Without the controller that makes ServiceAccounts no pod would be admitted.
      ...(this.#controlled ? [] : ['--disable-admission-plugins=ServiceAccount']),
      ...(this.#options.flags ?? []),
    ]);
    await this.#until(program, async () => existsSync(file('pki/apiserver.crt')) && (await this.#isReady()));
    writeKubeconfig(this.kubeconfig, this.#login());
  }

  async #startControllers(): Promise<void> {
    const common = [`--kubeconfig=${this.kubeconfig}`, '--leader-elect=false', '--secure-port=0'];
    const keys = [`--service-account-private-key-file=${join(this.folder, 'sa.key')}`, `--root-ca-file=${this.#certificateFile()}`];
    const manager = this.#start('kube-controller-manager', [...common, ...keys, '--use-service-account-credentials']);
    this.#start('kube-scheduler', common);
    const account = '/api/v1/namespaces/default/serviceaccounts/default';
    await this.#until(manager, async () => (await call(this.#login(), 'GET', account)).status === 200);
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await call(this.#login(), 'GET', '/readyz')).status === 200;
    } catch {
      return false; // it does not listen yet
    }
  }

  async #until(program: RunningProgram, holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + READY_WITHIN_MS;
    while (!(await holds())) {
      const dead = [...this.#programs.values()].find(({ running }) => !running);
      if (dead) throw new Error(`${dead.name} ended before it was ready:\n${dead.lastWords()}`);
      if (performance.now() > deadline) throw new Error(`${program.name} was not ready in ${READY_WITHIN_MS} ms:\n${program.lastWords()}`);
      await delay(POLL_MS);
    }
  }

  #certificateFile(): string {
    return join(this.folder, 'pki', 'apiserver.crt');
  }

  #login(): Login {
    const certificate = readFileSync(this.#certificateFile(), 'utf8');
    return { server: this.server, certificate, user: 'admin', token: this.#token, namespace: 'default' };
  }

  #writeKeys(): void {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(join(this.folder, 'sa.key'), privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 });
    writeFileSync(join(this.folder, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    writeFileSync(join(this.folder, 'tokens.csv'), `${this.#token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  }
}
