/** What tests against an API server share: clients, and waiting for a condition. */

import { setTimeout as delay } from 'node:timers/promises';
import { connect, KubernetesClient, type Transport } from '../../src/platform/kubernetes/index.ts';

export interface Bed {
  readonly client: KubernetesClient;
  /** Every request so far: `GET /api/v1/…`. */
  readonly requests: readonly string[];
  /** Keeps back every watch that is asked for from now on, until what it returns is called. */
  holdWatches(): () => void;
  close(): void;
}

/** A client with the rights of a kubeconfig that writes as `fieldManager`. */
export async function openClient(kubeconfig: string, fieldManager: string): Promise<Bed> {
  const { transport } = await connect({ kind: 'kubeconfig', path: kubeconfig }, 'sluice-test');
  const requests: string[] = [];
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  const recorded: Transport = {
    async send(request) {
      requests.push(`${request.method} ${request.path}`);
      if (request.path.includes('watch=true')) await gate.promise;
      return transport.send(request);
    },
    close: () => transport.close(),
  };
  return {
    client: new KubernetesClient({ transport: recorded, fieldManager }),
    requests,
    holdWatches() {
      gate = Promise.withResolvers();
      return gate.resolve;
    },
    close: () => transport.close(),
  };
}

/** The part of a ServingDeployment that tells whether it is settled. */
interface Settling {
  readonly metadata: { readonly generation?: number };
  readonly status?: {
    readonly observedGeneration?: number | undefined;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | undefined;
  };
}

/** The newest spec is served and nothing changes any more. */
export function isSettled({ metadata, status }: Settling): boolean {
  const is = (type: string, word: string) => status?.conditions?.some((one) => one.type === type && one.status === word) === true;
  return status?.observedGeneration === metadata.generation && is('Ready', 'True') && is('Reconciling', 'False');
}

const POLL_MS = 20;

/** Resolves when `holds` does; throws after `withinMs` with what `describe` says then. */
export async function until(holds: () => boolean | Promise<boolean>, describe: () => string, withinMs = 30_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${describe()}`);
    await delay(POLL_MS);
  }
}
