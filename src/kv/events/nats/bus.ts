/**
 * The log of one space on NATS. Under `<prefix>.<space>`: `event.<instance>` is in the stream `<PREFIX>_<space>`; `beat.<instance>` and
 * `ask.<instance>` are in none.
 */
import { type BackoffPolicy, type Clock, systemClock } from '../../../shared/index.ts';
import { checkInteger, checkName, checkTtl } from '../../directory/shared/bounds.ts';
import { WiredLog } from '../log.ts';
import { tokenOf } from '../names.ts';
import type { EventBus, Health } from '../port.ts';
import type { TellerLimits } from '../teller.ts';
import { Link } from './link.ts';
import { type NatsServers, readNatsSettings } from './settings.ts';
import { ensureStream } from './streams.ts';
import { NatsWire } from './wire.ts';

export interface NatsEventBusOptions {
  readonly servers: NatsServers;
  /** Those of one space hear each other. 1 to 200 characters out of letters, digits, `._:@-`. */
  readonly space: string;
  /** Before every subject, and of the streams; default `sluice`. 1 to 32 letters, digits and `-`. */
  readonly prefix?: string;
  /** Of the log; the oldest goes when it is full. Default 64 MiB. */
  readonly maxBytes?: number;
  /** Of what is in the log; default 10 min. */
  readonly maxAgeMs?: number;
  /** Of the stream, where NATS is a cluster; default 1. */
  readonly replicas?: number;
  /** For an attempt to connect, and each answer; default 2 s. */
  readonly connectMs?: number;
  /** Milliseconds between pings; three without an answer, and the connection is made anew. Default 1 s. */
  readonly pingMs?: number;
  readonly backoff?: BackoffPolicy;
  readonly limits?: Partial<TellerLimits>;
  readonly clock?: Clock;
  readonly random?: () => number;
}

const BACKOFF: BackoffPolicy = { firstMs: 100, maxMs: 2_000, factor: 2 };
const MIB = 2 ** 20;

/**
 * Connects in the background and again after every loss.
 * @throws RangeError naming the option that is wrong
 */
export function natsEventBus(options: NatsEventBusOptions): EventBus {
  const { prefix = 'sluice', space, connectMs = 2_000, pingMs = 1_000, replicas = 1 } = options;
  const { maxBytes = 64 * MIB, maxAgeMs = 600_000, clock = systemClock, random = Math.random } = options;
  if (!/^[A-Za-z0-9-]{1,32}$/.test(prefix))
    throw new RangeError(`prefix: expected 1 to 32 letters, digits and -, got ${JSON.stringify(prefix)}`);
  checkName('space', space);
  checkTtl(connectMs, 'connectMs');
  checkTtl(pingMs, 'pingMs');
  checkTtl(maxAgeMs, 'maxAgeMs', 24 * 3_600_000);
  checkInteger('replicas', replicas, 5);
  checkInteger('maxBytes', maxBytes, 2 ** 40);
  const root = `${prefix}.${tokenOf(space)}`;
  const stream = `${prefix}_${tokenOf(space)}`;
  const settings = readNatsSettings(options.servers);
  const link = new Link(settings, {
    clock,
    random,
    connectMs,
    pingMs,
    backoff: options.backoff ?? BACKOFF,
    prepare: async (attached) => {
      const place = { shown: settings.shown, usesTls: settings.tls !== null };
      await ensureStream(attached, { name: stream, subjects: `${root}.event.*`, maxBytes, maxAgeMs, replicas }, place);
    },
  });
  const wire = new NatsWire({ link, clock, random, root, stream });
  return {
    log: new WiredLog(wire, { clock, random, limits: options.limits ?? {} }),
    get health() {
      return link.health;
    },
    onHealth: (listener) => onHealth(link, listener),
    ready: (withinMs) => link.ready(withinMs),
    close: () => link.close(),
  };
}

function onHealth(link: Link, listener: (health: Health) => void): () => void {
  let said = wordOf(link.health);
  return link.onChange(() => {
    const { health } = link;
    if (wordOf(health) === said) return;
    said = wordOf(health);
    listener(health);
  });
}

function wordOf(health: Health): string {
  return health.state === 'up' ? 'up' : health.fault.message;
}
