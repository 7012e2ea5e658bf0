/** What a simulated engine is towards its peers: what they can read, and for how long. */
import type { TransferServer, TransferServerOptions } from '../../kv/index.ts';
import type { EngineCosts } from '../port.ts';
import type { Rooms } from './bootstrap/rooms.ts';
import type { SimKv } from './kv.ts';
import type { SimOptions } from './options.ts';

export type Settings = Required<Omit<SimOptions, 'costs'>> & { readonly costs: EngineCosts };

/** Where peers get it. */
export interface Reached {
  readonly server: TransferServer;
  readonly rooms: Rooms | null;
  readonly host: string;
  readonly port: number;
}

/** What peers can read, and how long it stays. */
export function served(kv: SimKv, { dialect, incarnation }: Settings): Pick<TransferServerOptions, 'source' | 'leases'> {
  if (dialect === 'sluice') {
    return {
      source: { block: (key) => kv.host.peek(key) },
      leases: { renew: (id) => kv.host.renew(id), release: (id) => void kv.host.release(id) },
    };
  }
  const mine = `${incarnation}/`;
  return {
    source: { block: (key) => kv.hbm.peek(key) },
    // As in vLLM and SGLang, whoever knows this engine may read, in time or not.
    leases: {
      renew: (id) => {
        kv.pins.renew(id.slice(mine.length));
        return id.startsWith(mine);
      },
      release: (id) => kv.pins.release(id.slice(mine.length)),
    },
  };
}
