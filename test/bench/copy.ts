/** The two processes of the plain copy, started on the cores that the two engines have. */
import { fileURLToPath } from 'node:url';
import type { Child, Children } from './children.ts';
import { isRecord } from './sluice.ts';

/** Beyond what the sender computes. */
const LIMIT_MS = 30_000;

export interface CopyPair {
  /** Milliseconds for `bytes` bytes, when the sender computed for `burnMs` right before; 0 = it was idle. */
  measure(bytes: number, burnMs: number): Promise<{ readonly socketMs: number; readonly memcpyMs: number }>;
}

export async function startCopyPair(
  children: Children,
  serverCores: readonly number[] | null,
  clientCores: readonly number[] | null,
): Promise<CopyPair> {
  const script = fileURLToPath(new URL('./copy-peer.ts', import.meta.url));
  const server = children.start('copy server', [process.execPath, script, 'serve'], { cores: serverCores, ipc: true });
  const port = Number((await childReply(server, 'listening'))['port']);
  const client = children.start('copy client', [process.execPath, script, 'pull', String(port)], { cores: clientCores, ipc: true });
  await childReply(client, 'listening');
  return {
    async measure(bytes, burnMs) {
      const answer = childReply(client, 'times', burnMs + LIMIT_MS);
      client.process.send({ bytes, burnMs });
      const times = await answer;
      return { socketMs: Number(times['socketMs']), memcpyMs: Number(times['memcpyMs']) };
    },
  };
}

/** The next message of a child, which must be of `type`. */
export function childReply(child: Child, type: string, limitMs = LIMIT_MS): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => {
      clearTimeout(timer);
      reject(new Error(`${child.name}: ${reason} ${child.tail()}`));
    };
    const timer = setTimeout(() => fail(`no answer within ${limitMs} ms`), limitMs);
    const onExit = () => fail('ended');
    child.process.once('exit', onExit);
    child.process.once('message', (message: unknown) => {
      clearTimeout(timer);
      child.process.off('exit', onExit);
      if (isRecord(message) && message['type'] === type) resolve(message);
      else fail(`answered ${JSON.stringify(message)}`);
    });
  });
}
