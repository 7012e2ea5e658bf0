/**
 * Pulling blocks from a peer. Whatever the peer does, a pull ends by its deadline with the leading blocks that arrived verified and
 * the reason why no more came; a lost connection is tried again, from the first missing block on, as long as the deadline allows.
 * Only faults of the caller reject: an argument out of range, or an `onBlock` that throws.
 */
import { sleep } from '../../shared/index.ts';
import { isKeyHex } from '../identity/names.ts';
import { PullConnection } from './connection.ts';
import { controlFrame, encodeRequest, FRAME, MAX_NAME_BYTES } from './frames.ts';
import type { PullRequest, PullResult } from './port.ts';
import { MAX_CONNECTIONS, PullReceiver, pullSlabBytes } from './receiver.ts';

/** Milliseconds before the first and the second try to connect again. */
const RECONNECT_DELAYS_MS = [5, 50] as const;
/** Milliseconds that a finished connection may take to say goodbye. */
const GOODBYE_MS = 1000;
const NAME = /^[\x21-\x7e]*$/;

type Ending =
  | { readonly type: 'complete' }
  | { readonly type: 'failed'; readonly reason: string }
  /** The connection was lost; another one may bring the rest. */
  | { readonly type: 'lost'; readonly reason: string };

/**
 * Pulls `request.keys` in order, verifies every block and hands it to `onBlock`; acknowledges when all came, which ends the lease.
 * @throws RangeError for an argument out of range. Whatever `onBlock` throws.
 */
export async function pull(request: PullRequest): Promise<PullResult> {
  checkRequest(request);
  const { clock, keys, blockTokens, bytesPerBlock, signal } = request;
  const startedAt = clock.now();
  const slab = request.slab ?? Buffer.allocUnsafeSlow(pullSlabBytes(keys.length, blockTokens, bytesPerBlock));
  const receiver = new PullReceiver(request, slab);
  const result = (failed: string | null): PullResult => ({
    blocks: receiver.blocks,
    bytes: receiver.blocks * bytesPerBlock,
    ms: clock.now() - startedAt,
    failed,
  });
  const progress = () => `${receiver.blocks} of ${keys.length} blocks`;
  const leftMs = () => startedAt + request.deadlineMs - clock.now();
  for (let connection = 0; ; connection++) {
    if (signal?.aborted) return result(`cancelled after ${progress()}`);
    if (leftMs() <= 0) return result(lateText(request, receiver));
    const ending = await runConnection(request, receiver, leftMs());
    if (ending.type === 'complete') return result(null);
    if (ending.type === 'failed') return result(ending.reason);
    const delayMs = RECONNECT_DELAYS_MS[connection];
    if (delayMs === undefined || connection + 1 >= MAX_CONNECTIONS)
      return result(`${ending.reason} after ${progress()}, ${connection + 1} times tried`);
    receiver.restart();
    await sleep(clock, Math.max(0, Math.min(delayMs, leftMs())), signal);
  }
}

/** One connection, from taking it to its end or the deadline. Rejects only with what `onBlock` throws. */
function runConnection(request: PullRequest, receiver: PullReceiver, leftMs: number): Promise<Ending> {
  const { clock, signal, budget, connections } = request;
  return new Promise((resolve, reject) => {
    let open = true;
    let cancelResume: (() => void) | null = null;
    const connection = connections?.take(request) ?? new PullConnection(request, () => undefined);
    /** True for the one caller that ends this use of the connection. */
    const settle = (): boolean => {
      if (!open) return false;
      open = false;
      cancelDeadline();
      cancelResume?.();
      signal?.removeEventListener('abort', onAbort);
      return true;
    };
    const end = (ending: Ending) => {
      if (!settle()) return;
      if (ending.type === 'complete') acknowledge(request, connection, receiver);
      else connection.destroy();
      resolve(ending);
    };
    const onBytes = (count: number): boolean => {
      if (!open) return true;
      try {
        const verdict = receiver.advance(count);
        if (verdict) end(verdict);
      } catch (thrown) {
        settle();
        connection.destroy();
        reject(thrown);
      }
      const waitMs = open && budget ? budget.take(count, clock.now()) : 0;
      if (waitMs > 0) cancelResume = clock.after(waitMs, () => connection.resume());
      return waitMs === 0;
    };
    const onAbort = () => end({ type: 'failed', reason: `cancelled after ${receiver.blocks} of ${request.keys.length} blocks` });
    const cancelDeadline = clock.after(leftMs, () => end({ type: 'failed', reason: lateText(request, receiver) }));
    signal?.addEventListener('abort', onAbort, { once: true });
    connection.use({
      room: () => receiver.room(),
      took: onBytes,
      lost: (reason, connected) => end({ type: connected ? 'lost' : 'failed', reason }),
    });
    connection.write(wantedFrame(request, receiver.blocks));
  });
}

function wantedFrame(request: PullRequest, from: number): Buffer {
  const { lease, peer = '', blockTokens, bytesPerBlock } = request;
  return encodeRequest({ lease, peer, from, keys: request.keys.slice(from), blockTokens, bytesPerBlock });
}

/** Ends the lease at the peer; the connection is kept for the next pull where there is a store, else closed. */
function acknowledge(request: PullRequest, connection: PullConnection, receiver: PullReceiver): void {
  const ack = controlFrame(FRAME.ack, receiver.blocks, 0);
  const owed = receiver.owedBytes;
  if (owed >= 0 && request.connections?.keep(request, connection, owed)) connection.write(ack);
  else connection.endWith(ack, { clock: request.clock, graceMs: GOODBYE_MS });
}

function lateText(request: PullRequest, receiver: PullReceiver): string {
  return `deadline of ${Math.round(request.deadlineMs)} ms passed after ${receiver.blocks} of ${request.keys.length} blocks`;
}

function checkRequest(request: PullRequest): void {
  const { lease, peer = '', keys, tokens, blockTokens, bytesPerBlock, deadlineMs, slab } = request;
  const expect = (holds: boolean, field: string, expectation: string) => {
    if (!holds) throw new RangeError(`${field}: expected ${expectation}`);
  };
  const integer = (value: number, least: number, most: number) => Number.isInteger(value) && value >= least && value <= most;
  expect(lease.length >= 1 && lease.length <= MAX_NAME_BYTES && NAME.test(lease), 'lease', `1 to ${MAX_NAME_BYTES} ASCII characters`);
  expect(peer.length <= MAX_NAME_BYTES && NAME.test(peer), 'peer', `up to ${MAX_NAME_BYTES} ASCII characters`);
  expect(integer(blockTokens, 1, 0xffff), 'blockTokens', 'an integer from 1 to 65535');
  expect(integer(bytesPerBlock, 1, 0x3fffffff), 'bytesPerBlock', 'an integer from 1 to 2^30 - 1');
  expect(tokens.length >= keys.length * blockTokens, 'tokens', `${keys.length * blockTokens} token ids or more, got ${tokens.length}`);
  expect(keys.every(isKeyHex), 'keys', '32 lower-case hex digits each');
  expect(deadlineMs >= 0 && deadlineMs <= 0x7fffffff, 'deadlineMs', `0 to 2^31 - 1, got ${deadlineMs}`);
  const needed = pullSlabBytes(keys.length, blockTokens, bytesPerBlock);
  expect(slab === undefined || slab.byteLength >= needed, 'slab', `${needed} bytes or more`);
  expect(slab === undefined || slab.byteOffset % 4 === 0, 'slab', `an address that is a multiple of 4, got ${slab?.byteOffset}`);
}
