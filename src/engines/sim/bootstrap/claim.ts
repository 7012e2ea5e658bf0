/** The decode instance's way to a prompt that another one computes. */
import { z } from 'zod';
import type { HandOffTicket } from '../../port.ts';

export interface RoomAddress {
  readonly host: string;
  readonly port: number;
  readonly room: string;
}

const OFFER = z.union([
  z.object({
    ticket: z.object({
      instance: z.string(),
      incarnation: z.string(),
      host: z.string(),
      port: z.number(),
      lease: z.string(),
      blocks: z.number(),
      bytes: z.number(),
      leaseMs: z.number(),
    }),
  }),
  z.object({ failed: z.string() }),
]);
const ALL_RANKS = 'prefill_dp_rank=-1&prefill_cp_rank=-1&target_tp_rank=-1&target_pp_rank=-1';

/**
 * Asks the bootstrap server how the prefill instance is built, then waits in the room for what it computes.
 * @returns where the blocks are, or why there will be none, as SGLang says it
 */
export async function claim({ host, port, room }: RoomAddress, signal: AbortSignal): Promise<HandOffTicket | string> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  try {
    const info = await fetch(`${url}/route?${ALL_RANKS}`, { signal });
    await info.arrayBuffer();
    if (!info.ok) throw new Error(`HTTP ${info.status}`);
  } catch {
    return `Could not fetch prefill parallel info from bootstrap_addr: ${host}:${port}`;
  }
  try {
    const offer = OFFER.parse(await (await fetch(`${url}/room/${room}`, { signal })).json());
    return 'ticket' in offer ? offer.ticket : `Decode transfer failed for request with bootstrap_room=${room}: ${offer.failed}`;
  } catch {
    return `Decode transfer failed for request with bootstrap_room=${room}: the prefill instance could be dead`;
  }
}
