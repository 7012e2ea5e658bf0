/** One API server for all test files that neither restart nor freeze it; each works in namespaces of its own. */
import type { TestProject } from 'vitest/node';
import { startCluster } from './apiserver.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Kubeconfig of the shared cluster's admin. */
    readonly kubeconfig: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cluster = await startCluster();
  project.provide('kubeconfig', cluster.kubeconfig);
  return () => cluster.stop();
}
