/** An engine process tells what it holds to the servers that its deployment shares: to the directory, to the event log, or to both. */
import type { EngineInfo } from '../engines/index.ts';
import { DirectoryWriter, type EventSource, type Health, type Telling } from '../kv/index.ts';
import { systemClock } from '../shared/index.ts';
import { type Env, type KvSettings, openKvServers } from './kvservers.ts';

/** Nobody waits for what is told to Redis; but one call at a time is under way. */
const WRITE_BUDGET_MS = 1_000;

export interface KvTelling {
  /** Its life ends in the directory. Idempotent. */
  stop(): Promise<void>;
}

export interface KvTold {
  readonly info: Pick<EngineInfo, 'instance' | 'incarnation' | 'bytesPerBlock'>;
  readonly source: EventSource;
}

interface Notices {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/**
 * Tells until it is stopped. Servers that are away are told anew, by themselves, when they are back.
 * @throws RangeError as `openKvServers` does
 */
export async function tellKv(
  settings: KvSettings,
  { info, source }: KvTold,
  { env, logger }: { env: Env; logger: Notices },
): Promise<KvTelling> {
  const servers = await openKvServers(settings, env, WRITE_BUDGET_MS);
  const { directory, bus } = servers;
  const life = { instance: info.instance, incarnation: info.incarnation };
  const say = (server: string, away: string | null) => {
    if (away === null) logger.info({ server }, 'tells what it holds');
    else logger.warn({ server, why: away }, 'cannot tell what it holds; requests go on');
  };
  const common = { life, source, clock: systemClock, random: Math.random };
  const writer =
    directory &&
    new DirectoryWriter({
      ...common,
      directory,
      blockBytes: info.bytesPerBlock,
      onState: (state) => {
        if (state.name === 'published') say('redis', null);
        else if (state.name === 'away') say('redis', state.message);
      },
    });
  const telling: Telling | null = bus?.log.tell(life, source) ?? null;
  const stopHearing = bus?.onHealth((health: Health) => say('nats', health.state === 'up' ? null : health.fault.message));
  return {
    stop: async () => {
      stopHearing?.();
      telling?.stop();
      await writer?.stop();
      await servers.close();
    },
  };
}
