/**
 * Where the programs of a Kubernetes control plane are on this machine: `KUBEBUILDER_ASSETS` (the habit of the field), then the user's
 * cache folder, then, for etcd alone, PATH. Nothing is fetched or built here; see build.ts.
 */
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Known to work with etcd 3.4, which Debian has. */
export const KUBERNETES_VERSION = '1.35.4';

/** Built from the module of Kubernetes itself. */
export type KubernetesProgram = 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kubectl' | 'kubelet' | 'kube-proxy';
/** Built from modules of their own. Helm renders and installs the chart; its tests are left out where it is missing. */
export type ModuleProgram = 'helm' | 'coredns' | 'kube-router';
/** `pause` is what holds the namespaces of a pod. */
export type Program = KubernetesProgram | ModuleProgram | 'etcd' | 'pause';

export const MODULE_VERSIONS: Readonly<Record<ModuleProgram, string>> = { helm: '3.22.0', coredns: '1.15.0', 'kube-router': '2.1.0' };

export type Tier = 1 | 2 | 3;

/** Tier 1 stores and validates objects; tier 2 also runs the controllers and the scheduler of Kubernetes; tier 3 a node with containers. */
export const TIERS: Readonly<Record<Tier, readonly Program[]>> = {
  1: ['etcd', 'kube-apiserver'],
  2: ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubectl'],
  3: [
    ...(['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const),
    ...(['kubectl', 'kubelet', 'kube-proxy', 'coredns', 'kube-router', 'pause', 'helm'] as const),
  ],
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** `$XDG_CACHE_HOME/sluice/kubernetes/<version>`. */
export function cacheFolder(env: Environment): string {
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sluice', 'kubernetes', KUBERNETES_VERSION);
}

/** Path of `program`, or null when this machine has none. */
export function findProgram(program: Program, env: Environment): string | null {
  const assets = env['KUBEBUILDER_ASSETS'];
  const path = program === 'etcd' ? (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '') : [];
  const folders = [...(assets ? [assets] : []), cacheFolder(env), ...path];
  return folders.map((folder) => join(folder, program)).find(isExecutable) ?? null;
}

/** The tier whose tests run: `SLUICE_TEST_CLUSTER`, which `npm run test:cluster` sets, else 1 where its programs are here, else none. */
export function testedTier(env: Environment): Tier | null {
  if (env['SLUICE_TEST_CLUSTER'] === '3') return 3;
  if (env['SLUICE_TEST_CLUSTER'] === '2') return 2;
  return env['SLUICE_TEST_CLUSTER'] === '1' || missingPrograms(1, env).length === 0 ? 1 : null;
}

/** Whether somebody wants all tests of a tier, those that take minutes too. */
export function asksForTier(env: Environment): boolean {
  return env['SLUICE_TEST_CLUSTER'] !== undefined;
}

/** Whether the chart is tested: with the rest of the cluster, where Helm is here. */
export function testsChart(env: Environment): boolean {
  return testedTier(env) !== null && findProgram('helm', env) !== null;
}

/** What of `tier` this machine lacks. Empty = its tests can run. */
export function missingPrograms(tier: Tier, env: Environment): readonly Program[] {
  return TIERS[tier].filter((program) => findProgram(program, env) === null);
}

/** Path of `program`; throws with what to do when this machine has none. */
export function requireProgram(program: Program, env: Environment): string {
  const found = findProgram(program, env);
  if (found !== null) return found;
  throw new Error(`${program} is not on this machine: npm run test:cluster gets it, or set KUBEBUILDER_ASSETS to a folder that holds it`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us
  }
}
