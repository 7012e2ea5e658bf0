/** `node test/cluster/tier3/main.ts`: a node to look around in, until Ctrl-C or its own end. Says where its kubeconfig is. */
import { startNode } from './node.ts';

const node = await startNode();
const { keeper, folder, name } = node.namespaces;
process.stdout.write(`${JSON.stringify({ kubeconfig: node.kubeconfig, folder, name, keeper, enter: node.namespaces.enter.join(' ') })}\n`);
const asked = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
});
// Waiting for a signal alone would not keep this process.
const alive = setInterval(() => {}, 60_000);
await asked;
clearInterval(alive);
await node.stop();
