/**
 * A whole cluster of one node, as far as it matters to us: control plane, containerd and runc, kubelet, kube-proxy, DNS, and kube-router
 * for network policies, all in namespaces of their own. This machine reaches API server, pods and Services by their addresses.
 */
import { Resolver } from 'node:dns/promises';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Admin } from '../admin.ts';
import { startCluster, type TestCluster } from '../apiserver.ts';
import { until } from '../bed.ts';
import { type Program, requireProgram } from '../binaries.ts';
import { type RunningProgram, startProgram } from '../program.ts';
import { CONTAINERD_SOCKET, configurationFiles, NODE_NAME } from './configuration.ts';
import { writeImages } from './images.ts';
import { type Namespaces, openNamespaces } from './namespaces.ts';

/** One of those that network policies of charts think of. */
const API_PORT = 6443;
const READY_WITHIN_MS = 240_000;

export interface TestNode {
  readonly namespaces: Namespaces;
  /** File of a kubeconfig whose user may do all. */
  readonly kubeconfig: string;
  readonly admin: Admin;
  /** Idempotent; nothing of the node is left when it resolves. */
  stop(): Promise<void>;
}

/** Resolves when the node is ready, names are resolved and our images are there. */
export async function startNode(): Promise<TestNode> {
  const namespaces = await openNamespaces();
  try {
    const node = new Node(namespaces);
    await node.start();
    return node;
  } catch (error) {
    await namespaces.close();
    throw error;
  }
}

class Node implements TestNode {
  readonly namespaces: Namespaces;
  readonly #programs: RunningProgram[] = [];
  #cluster: TestCluster | null = null;

  constructor(namespaces: Namespaces) {
    this.namespaces = namespaces;
  }

  get kubeconfig(): string {
    return this.#started.kubeconfig;
  }

  get admin(): Admin {
    return this.#started.admin;
  }

  async start(): Promise<void> {
    this.#writeConfiguration();
    this.#begin('containerd', '--config', this.#file('containerd.toml'));
    const images = this.#importImages();
    // Whatever the other one does, it is not to be left alone.
    const [controlled, imported] = await Promise.allSettled([this.#startControlPlane(), images]);
    for (const one of [controlled, imported]) if (one.status === 'rejected') throw one.reason;
    this.#startNodePrograms();
    await this.#announceDns();
    await this.#until('the node', () => this.#isReady());
    this.#startPolicies();
    await this.#until('DNS', () => this.#resolves());
  }

  async stop(): Promise<void> {
    await this.namespaces.close();
  }

  get #started(): TestCluster {
    if (this.#cluster === null) throw new Error('the control plane of the node was not started');
    return this.#cluster;
  }

  #file(name: string): string {
    return join(this.namespaces.folder, name);
  }

  #writeConfiguration(): void {
    const { folder, name, addresses } = this.namespaces;
    const { node, pods, dns } = addresses;
    const kubeconfig = this.#file('control/admin.kubeconfig');
    for (const [file, content] of Object.entries(configurationFiles({ folder, kubeconfig, cgroup: name, node, pods, dns }))) {
      mkdirSync(dirname(this.#file(file)), { recursive: true });
      writeFileSync(this.#file(file), content);
    }
  }

  async #startControlPlane(): Promise<void> {
    const { addresses, enter } = this.namespaces;
    const folder = this.#file('control');
    mkdirSync(folder);
    const place = { enter, address: addresses.node, port: API_PORT, serviceRange: addresses.services, folder };
    // Names of nodes are in no DNS.
    this.#cluster = await startCluster({ tier: 3, place, flags: ['--kubelet-preferred-address-types=InternalIP'] });
  }

  async #importImages(): Promise<void> {
    const files = writeImages(this.namespaces.folder);
    const ctr = (...args: readonly string[]) => this.namespaces.run('ctr', ['--address', CONTAINERD_SOCKET, ...args]);
    await this.#until('containerd', () => ctr('version').then(yes, no));
    for (const file of files) await ctr('--namespace', 'k8s.io', 'images', 'import', file);
  }

  #startNodePrograms(): void {
    const { folder, addresses } = this.namespaces;
    const common = [`--kubeconfig=${this.kubeconfig}`, `--hostname-override=${NODE_NAME}`];
    const program = (name: Program) => requireProgram(name, process.env);
    const folders = [`--root-dir=${join(folder, 'kubelet')}`, `--cert-dir=${join(folder, 'kubelet-pki')}`];
    this.#begin(program('kubelet'), `--config=${this.#file('kubelet.json')}`, ...common, `--node-ip=${addresses.node}`, ...folders);
    this.#begin(program('kube-proxy'), `--config=${this.#file('kube-proxy.json')}`);
    this.#begin(program('coredns'), '-conf', this.#file('Corefile'));
  }

  /** It asks for its node once and ends when there is none. */
  #startPolicies(): void {
    const own = [`--kubeconfig=${this.kubeconfig}`, `--hostname-override=${NODE_NAME}`];
    const parts = ['--run-firewall=true', '--run-router=false', '--run-service-proxy=false'];
    const range = `--service-cluster-ip-range=${this.namespaces.addresses.services}`;
    this.#begin(requireProgram('kube-router', process.env), ...own, ...parts, range);
  }

  #begin(path: string, ...args: readonly string[]): void {
    const name = path.slice(path.lastIndexOf('/') + 1);
    this.#programs.push(startProgram(path, args, this.#file(`${name}.log`), this.namespaces.enter));
  }

  /** It runs beside the pods, not in one. */
  async #announceDns(): Promise<void> {
    const { dns, node } = this.namespaces.addresses;
    const ports = [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ];
    const service = { metadata: { name: 'kube-dns' }, spec: { clusterIP: dns, ports } };
    await this.admin.demand('POST', '/api/v1/namespaces/kube-system/services', { body: service });
    const labels = { 'kubernetes.io/service-name': 'kube-dns' };
    const slice = { metadata: { name: 'kube-dns-1', labels }, addressType: 'IPv4', endpoints: [{ addresses: [node] }], ports };
    await this.admin.demand('POST', '/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices', { body: slice });
  }

  async #isReady(): Promise<boolean> {
    const answer = await this.admin.request('GET', `/api/v1/nodes/${NODE_NAME}`);
    if (answer.status !== 200) return false;
    const { status }: { readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] } } =
      JSON.parse(answer.body);
    return status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
  }

  /** Over the address that pods ask, so kube-proxy works too. */
  #resolves(): Promise<boolean> {
    const resolver = new Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([this.namespaces.addresses.dns]);
    return resolver.resolve4('kubernetes.default.svc.cluster.local').then(yes, no);
  }

  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const alive = async () => {
      const dead = this.#programs.find(({ running }) => !running);
      if (dead) throw new Error(`${dead.name} of the node ended:\n${dead.lastWords()}`);
      return holds();
    };
    const words = () => this.#programs.map((one) => `${one.name}: ${one.lastWords()}`).join('\n');
    await until(alive, () => `${what} is not ready:\n${words()}`, READY_WITHIN_MS);
  }
}

const yes = () => true;
const no = () => false;
