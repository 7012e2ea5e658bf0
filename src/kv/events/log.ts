/** The log over any wire. */
import type { Clock } from '../../shared/index.ts';
import { checkLife } from '../directory/shared/bounds.ts';
import type { Life } from '../directory/shared/port.ts';
import { Follower } from './follower.ts';
import type { EventListener, EventLog, EventSource, Following, Telling } from './port.ts';
import { TELLER_LIMITS, Teller, type TellerLimits } from './teller.ts';
import type { Wire } from './wire.ts';

export interface LogOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly limits?: Partial<TellerLimits>;
}

export class WiredLog implements EventLog {
  readonly #wire: Wire;
  readonly #options: LogOptions;

  constructor(wire: Wire, options: LogOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  tell(life: Life, source: EventSource): Telling {
    checkLife(life);
    const { clock, random, limits } = this.#options;
    return new Teller({ wire: this.#wire, life, source, clock, random, limits: { ...TELLER_LIMITS, ...limits } });
  }

  follow(listener: EventListener): Following {
    const { clock, random } = this.#options;
    return new Follower({ wire: this.#wire, clock, random, listener });
  }
}
