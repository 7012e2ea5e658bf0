/** One node for all tests of tier 3; each works in namespaces of its own, but for the operator's, of which a cluster has one. */
import type { TestProject } from 'vitest/node';
import type { Addresses } from './namespaces.ts';
import { startNode } from './node.ts';

declare module 'vitest' {
  interface ProvidedContext {
    readonly node: {
      /** Kubeconfig of the node's admin. */
      readonly kubeconfig: string;
      readonly addresses: Addresses;
    };
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const started = performance.now();
  const node = await startNode();
  process.stderr.write(`a node of Kubernetes is up after ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  project.provide('node', { kubeconfig: node.kubeconfig, addresses: node.namespaces.addresses });
  return () => node.stop();
}
